"""The claims of chapter 8: new digits from one picture of each."""

from torch import Tensor

from metasgd.experiments.claims.claim import Claim, paired
from metasgd.experiments.mnist import OWN, SECOND_STEP, by_run
from metasgd.experiments.mnist_comparison import CHOICES, compared
from metasgd.experiments.results import Results, load_results
from metasgd.tasks.folds import NUM_FOLDS

FOLDS, CHOSEN = 3, 3  # differences judged on the held-out digits of all folds, and for the choice
HANDWRITING = "handwriting, deslanted"


def claims() -> list[Claim]:
    """Return the claims of chapter 8, in the order of its table; all are 5-way 1-shot."""
    results = load_results("mnist")
    return [*of_all_folds(results), *of_the_choice(results), *of_methods_on_glyphs(), *of_methods_on_digits()]


def of_all_folds(results: Results) -> list[Claim]:
    """Return the claims about what glyphs and digits teach, on the held-out digits of all five folds."""
    digits, short = by_run(results, "digits alone", 1), by_run(results, "choice", 1, choice=HANDWRITING)
    glyphs, both = by_run(results, "glyphs", 1), by_run(results, "folds", 1)
    second = by_run(results, "glyphs", 1, variant=SECOND_STEP)
    as_long = by_run(results, "more glyphs", 1)
    return [
        Claim(
            "Random glyphs are {verdict} a fold's own five digits, as a source of meta-training tasks.",
            "run",
            paired(short, digits, comparisons=FOLDS),
            "equal network and 1,000 meta-updates; the five folds are in every run, and fold 4 shows no difference",
            "several folds",
        ),
        Claim(
            "Glyphs, then glyphs and the fold's five digits, are {verdict} glyphs alone.",
            "run",
            paired(both, as_long, comparisons=FOLDS),
            "equal start, rates and meta-updates",
            "several folds",
        ),
        Claim(
            "A second step, on the queries, is {verdict} one step alone.",
            "run",
            paired(second, glyphs, comparisons=FOLDS),
            "the same learners and tasks; it reads all queries at once",
            "several folds",
        ),
    ]


def of_the_choice(results: Results) -> list[Claim]:
    """Return the claims about slant and glyphs, on the digits by which they were chosen."""

    def runs(choice: str) -> Tensor:
        return by_run(results, "choice", 1, data=OWN, choice=choice)

    ours, equal = runs(HANDWRITING), "equal seeds and meta-updates; digits that choose, not those that test"
    return [
        Claim(
            "Pictures without slant are {verdict} pictures as they were written.",
            "run",
            paired(ours, runs("handwriting"), comparisons=CHOSEN),
            equal,
            "several folds",
        ),
        Claim(
            "Glyphs like handwriting are {verdict} plain glyphs, where slant is taken out.",
            "run",
            paired(ours, runs("plain glyphs, deslanted"), comparisons=CHOSEN),
            equal,
            "several folds",
        ),
    ]


def of_methods_on_glyphs() -> list[Claim]:
    """Return the claims about methods that have glyphs alone, on the held-out digits of all five folds."""
    accuracies = compared(load_results("mnist-comparison"), 1)
    ours = accuracies["meta-sgd"]
    equal = "equal network, start and 750 meta-updates; the rates of both tuned alike, on other glyphs"

    def claim(text: str, a: Tensor, b: Tensor) -> Claim:
        return Claim(text, "run", paired(a, b, comparisons=len(CHOICES) - 1), equal, "several folds")

    return [
        claim("On glyphs, Meta-SGD is {verdict} MAML.", ours, accuracies["maml"]),
        claim("A rate for each layer is {verdict} a rate for each parameter.", accuracies["layer-rates"], ours),
        claim("A prototypical network is {verdict} Meta-SGD.", accuracies["protonet"], ours),
    ]


def of_methods_on_digits() -> list[Claim]:
    """Return the claims about methods that have a fold's five digits alone."""
    folds = load_results("mnist-folds")
    ours, maml = (
        [
            folds.score(method=method, shots=1, fold=fold, data="held-out digits").mean  # one run a fold
            for fold in range(NUM_FOLDS)
        ]
        for method in ("meta-sgd", "maml")
    )
    return [
        Claim(
            "With the five digits of a fold alone, Meta-SGD is {verdict} MAML.",
            "fold",
            paired(ours, maml),
            "equal start, tasks and 700 meta-updates; one run in each fold",
            "several folds",
        ),
    ]
