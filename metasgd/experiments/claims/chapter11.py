"""The claims of chapter 11: what the learned rates are, and what depends on them."""

from collections.abc import Sequence

from metasgd.experiments.claims.claim import Claim, Effect, over, paired
from metasgd.experiments.results import Results, load_results
from metasgd.tasks.folds import NUM_FOLDS

COMPARISONS = 27  # pairs of methods that the chapter compares over the runs of mnist-methods
LENGTHS = (500, 1500)  # meta-updates of the runs of sine-rates
SAME_TASKS = "the same start, training tasks, test tasks and budget in each pair"
PREDICTOR = "common rate"  # which predicts the signs best


def claims() -> list[Claim]:
    """Return the claims in the order of the chapter, from the results files."""
    return [
        Claim(
            "At rates of zero the meta-gradient asks no rate to become negative, if the loss of an example depends on "
            "no other example.",
            "none",
            controls="a counterexample with batch statistics",
            grade="proved",
        ),
        *of_the_sine_network(),
        *of_mnist(),
    ]


def of_the_sine_network() -> list[Claim]:
    """Return the claims that rest on ``sine-rates``, whose runs have other starts and other curves."""
    stored = load_results("sine-rates")
    short, long = (errors(stored, length) for length in LENGTHS)
    models = [run["model"] for run in stored if "model" in run]
    return [
        Claim(
            "The quadratic model tells which rates become negative a little better than chance: of the pairs of a "
            "negative and another rate, it puts more than half in the right order (the effect is how many more).",
            "run",
            over([model["order"][PREDICTOR] for model in models], against=0.5, comparisons=5, unit="points"),
            "five predictors from b and M; the best is shown",
            "several runs",
        ),
        Claim(
            "After 1,500 meta-updates, a step with negative rates at zero is {verdict} no step.",
            "run",
            in_errors(long["clipped"], long["none"]),
            "curves of the test, the same for all",
            "several runs",
        ),
        Claim(
            "A learner that was never allowed a negative rate is {verdict} one with free rates.",
            "run",
            in_errors(short["never"], short["free"]),
            SAME_TASKS,
            "several runs",
        ),
    ]


def errors(stored: Results, length: int) -> dict[str, list[float]]:
    """Return the error of every run of a length, by what was done to its rates."""
    runs = stored.select(iterations=length)
    found = {
        name: [score.mean for score in runs.scores(method="meta-sgd", variant=variant)]
        for name, variant in (("free", None), ("clipped", "clipped"), ("none", "none"))
    }
    return found | {"never": [score.mean for score in runs.scores(method="nonnegative")]}


def in_errors(a: Sequence[float], b: Sequence[float]) -> Effect:
    """Return the effect of two lists of mean squared errors."""
    return paired(a, b, scale=1.0, unit="squared error", smaller_is_better=True)


def of_mnist() -> list[Claim]:
    """Return the claims that rest on runs on MNIST: over five folds, and over three runs in one fold."""
    one_shot, five_shots = load_results("mnist-methods"), load_results("mnist-methods-5shot")
    folds = load_results("mnist-folds")

    def in_fold(stored: Results, first: str, second: str, variant: str | None = None) -> Effect:
        a = [score.mean for score in stored.scores(method=first, variant=variant)]
        b = [score.mean for score in stored.scores(method=second, variant=None)]
        return paired(a, b, comparisons=1 if stored is five_shots else COMPARISONS)

    over_folds = [
        [folds.score(fold=fold, shots=1, method=name, data="held-out digits").mean for fold in range(NUM_FOLDS)]
        for name in ("meta-sgd", "maml")
    ]
    return [
        Claim(
            "On MNIST, a step with negative rates at zero is {verdict} the step as learned.",
            "run",
            in_fold(one_shot, "meta-sgd", "meta-sgd", "clipped"),
            "the same learners and test tasks",
            "one fold",
        ),
        Claim(
            "A learned rate for each parameter is {verdict} MAML's fixed rate, one shot.",
            "fold",
            paired(*over_folds),
            "the same start and training tasks in each fold; the folds share digits",
            "several folds",
        ),
        Claim(
            "A learned rate for each layer is {verdict} one for each parameter, one shot.",
            "run",
            in_fold(one_shot, "layer-rates", "meta-sgd"),
            SAME_TASKS,
            "one fold",
        ),
        Claim(
            "A learned rate for each layer is {verdict} one for each parameter, five shots.",
            "run",
            in_fold(five_shots, "layer-rates", "meta-sgd"),
            SAME_TASKS,
            "one fold",
        ),
        Claim(
            "A learner whose head alone adapts is {verdict} one in which all adapts.",
            "run",
            in_fold(one_shot, "head-only", "meta-sgd"),
            SAME_TASKS,
            "one fold",
        ),
    ]
