"""The claims of chapter 12: Omniglot, and from Omniglot to MNIST."""

from collections.abc import Iterable

from torch import Tensor

from metasgd.experiments.claims.claim import Claim, over, paired
from metasgd.experiments.comparison_table import beside_reference
from metasgd.experiments.omniglot_comparison import compared
from metasgd.experiments.omniglot_mnist import ladder, ten_ways
from metasgd.experiments.published import OMNIGLOT_TO_MNIST
from metasgd.experiments.results import Results, Score, load_results

EQUAL = "equal network, start, tasks and 750 meta-updates; the rates of all tuned alike, on other characters"
EQUAL_TO_MNIST = "equal network, start, redrawn tasks and 750 meta-updates; rates as chosen on Omniglot"
RUNGS = 4  # of the ladder, each beside the one before it
WIDTHS = {"ways": (5, 10), "width": (32, 64)}  # of the learners that were tested with copies


def claims() -> list[Claim]:
    """Return the claims of the chapter, in the order of its sections."""
    return [*of_omniglot(), *to_mnist(), *without_pictures()]


def means(scores: Iterable[Score]) -> list[float]:
    """Return the means of some scores."""
    return [score.mean for score in scores]


def of_omniglot() -> list[Claim]:
    """Return the claims on Omniglot's own test."""
    effects = beside_reference(compared(load_results("omniglot-comparison"), 1))
    return [
        Claim("On Omniglot, 5-way 1-shot, MAML is {verdict} Meta-SGD.", "run", effects["maml"], EQUAL, "several runs"),
        Claim("There, prototypes are {verdict} Meta-SGD.", "run", effects["protonet"], EQUAL, "several runs"),
    ]


def to_mnist() -> list[Claim]:
    """Return the claims on the way from Omniglot to MNIST."""
    across, copied = load_results("omniglot-mnist"), load_results("copies")
    rungs = runs_of_the_ladder(across)
    effects = beside_reference(compared(load_results("omniglot-comparison"), 1, "to MNIST"))
    return [
        Claim(
            "From Omniglot to MNIST, pictures that each have a hand and a pen of their own are {verdict} pictures "
            "that are all redrawn in one way.",
            "run",
            paired(rungs["varied"], rungs["redrawn"], comparisons=RUNGS),
            "equal network, characters, iterations and test tasks; 5-way 1-shot",
            "several runs",
        ),
        Claim(
            "All ten digits are read from one picture each more often than by the published networks, already after "
            "short runs.",
            "run",
            over(ten_ways(across), against=max(OMNIGLOT_TO_MNIST.values()), unit="points"),
            "nothing held equal: more characters, redrawn like MNIST, queries read together",
            "observation",
        ),
        Claim(
            "From Omniglot to MNIST, 5-way 1-shot, MAML is {verdict} Meta-SGD.",
            "run",
            effects["maml"],
            EQUAL_TO_MNIST,
            "several runs",
        ),
        Claim(
            "There, too, prototypes are {verdict} Meta-SGD.",
            "run",
            effects["protonet"],
            EQUAL_TO_MNIST,
            "several runs",
        ),
        Claim(
            "With copies of support pictures and of queries, a learner of one shot is {verdict} itself without.",
            "learner",
            paired(*(with_copies(copied, variant) for variant in ("of both", "no copies"))),
            "the same tasks for two widths at five and at ten ways, one run of each; nothing is trained for it",
            "observation",
        ),
    ]


def with_copies(copied: Results, variant: str) -> list[float]:
    """Return the accuracies on digits, one shot, of the learners of both widths at five and at ten ways."""
    return means(
        copied.score(data="digits", variant=variant, shots=1, ways=ways, width=width)
        for ways in WIDTHS["ways"]
        for width in WIDTHS["width"]
    )


def runs_of_the_ladder(results: Results) -> dict[str, Tensor]:
    """Return the accuracies of every rung at one shot, each float64 of shape (runs,)."""
    return {rung: by_shots[1].per_task for rung, by_shots in ladder(results).items()}


def without_pictures() -> list[Claim]:
    """Return the claim on meta-training on glyphs."""
    rungs = runs_of_the_ladder(load_results("omniglot-mnist"))
    return [
        Claim(
            "After a short training on glyphs alone, Meta-SGD is {verdict} itself after one on Omniglot.",
            "run",
            paired(rungs["glyphs"], rungs["varied"]),
            "equal network, iterations, classes and test tasks; other hands; the pens of both set by looking at MNIST",
            "several runs",
        ),
    ]
