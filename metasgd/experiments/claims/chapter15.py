"""The claims of chapter 15: where a learned step stops helping, on linear regression, and a demonstration."""

from torch import Tensor

from metasgd.experiments.claims.claim import Claim, paired
from metasgd.experiments.linear import linear_errors
from metasgd.experiments.results import Results, load_results

FEW, HARDLY_ENOUGH, ENOUGH, MANY = 8, 10, 12, 32  # support examples, for eight weights
SHIFT = 1.0  # standard deviations
COMPARISONS = 7  # differences that are judged, all but what is proved
EQUAL = "the same test tasks; penalties chosen on validation tasks"


def claims() -> list[Claim]:
    """Return the claims of chapter 15, in the order of its table."""
    results = load_results("linear")
    start, zero = "ridge from the start", "ridge"
    return [
        Claim(
            "With as many examples as weights, or one more, the mean error of least squares is infinite.",
            "none",
            grade="proved",
        ),
        Claim(
            "When tasks move away, the error of a learner that keeps its start and its rates grows with the square of "
            "the distance.",
            "none",
            grade="proved",
        ),
        difference(results, f"With {FEW} examples, the learned step is {{verdict}} ridge.", FEW, zero),
        difference(results, f"With {FEW} examples, it is {{verdict}} ridge from the learned start.", FEW, start),
        difference(
            results, f"With {HARDLY_ENOUGH} examples, it is {{verdict}} ridge from the learned start.",
            HARDLY_ENOUGH, start,
        ),
        difference(results, f"With {ENOUGH} examples, it is {{verdict}} ridge from the learned start.", ENOUGH, start),
        difference(results, f"With {MANY} examples, it is {{verdict}} least squares.", MANY, "least squares"),
        difference(
            results, f"With {HARDLY_ENOUGH} examples, and weights {SHIFT:g} standard deviation off, it is {{verdict}} "
            "ridge from the learned start.", HARDLY_ENOUGH, start, SHIFT,
        ),
        difference(
            results, f"With {HARDLY_ENOUGH} examples, and weights {SHIFT:g} standard deviation off, it is {{verdict}} "
            "ridge.", HARDLY_ENOUGH, zero, SHIFT,
        ),
        Claim(
            "In two small applications (ratings, machines), one step from a learned start has a smaller error in all "
            "of three runs than simple methods that learn each task alone and do not know its law.",
            "run",
            controls="a demonstration on this page, with tasks made for it; ridge's penalty chosen on the test",
        ),
    ]  # fmt: skip


def difference(results: Results, text: str, shots: int, rival: str, shift: float = 0.0) -> Claim:
    """Return the claim about the mean errors of the learned step and of another method, over runs."""

    def runs(method: str) -> Tensor:
        shifts = results.select(shots=shots).cells[0]["shifts"]
        return linear_errors(results, "mean", method, shots)[:, shifts.index(shift)]

    effect = paired(runs("meta-sgd"), runs(rival), comparisons=COMPARISONS, scale=1.0, unit="", smaller_is_better=True)
    return Claim(text, "run", effect, EQUAL, "several runs")
