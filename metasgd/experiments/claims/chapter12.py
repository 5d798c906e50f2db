"""The claims of chapter 12: Omniglot, and from Omniglot to MNIST."""

from collections.abc import Iterable

from metasgd.experiments.claims.claim import Claim, over, paired
from metasgd.experiments.comparison_table import beside_reference
from metasgd.experiments.omniglot_comparison import compared
from metasgd.experiments.published import OMNIGLOT, OMNIGLOT_TO_MNIST
from metasgd.experiments.results import Results, Score, load_results

EQUAL = "equal network, start, tasks and 750 meta-updates; the rates of all tuned alike, on other characters"
EQUAL_TO_MNIST = "equal network, start, redrawn tasks and 750 meta-updates; rates as chosen on Omniglot"
WIDTHS = {"ways": (5, 10), "width": (32, 64)}  # of the learners that were tested with copies


def claims() -> list[Claim]:
    """Return the claims of the chapter, in the order of its sections."""
    return [*of_omniglot(), *to_mnist(), *without_pictures()]


def means(scores: Iterable[Score]) -> list[float]:
    """Return the means of some scores."""
    return [score.mean for score in scores]


def of_omniglot() -> list[Claim]:
    """Return the claims on Omniglot's own test."""
    runs = load_results("omniglot")
    twenty = runs.cell(ways=20, shots=1, look="unsteady").score(method="meta-sgd", shots=1, variant=None)
    effects = beside_reference(compared(load_results("omniglot-comparison"), 1))
    return [
        Claim("On Omniglot, 5-way 1-shot, MAML is {verdict} Meta-SGD.", "run", effects["maml"], EQUAL, "several runs"),
        Claim("There, prototypes are {verdict} Meta-SGD.", "run", effects["protonet"], EQUAL, "several runs"),
        Claim(
            "At 20-way 1-shot, one step can reach the number of the paper.",
            "run",
            over(means([twenty]), against=OMNIGLOT["Meta-SGD"][20, 1], unit="points"),
            "the paper's network and steps; more classes (mirrored) and redrawn pictures; other test characters",
            "observation",
        ),
    ]


def to_mnist() -> list[Claim]:
    """Return the claims on the way from Omniglot to MNIST."""
    across, copied = load_results("omniglot-mnist"), load_results("copies")
    ladder = {
        rung: across.score(rung=rung, method="meta-sgd", variant=None, shots=1)
        for rung in ("pictures", "quarter-turns", "varied", "measured")
    }
    ten = across.cell(part="table", ways=10, shots=1, width=32).score(method="meta-sgd", variant=None, shots=1)
    effects = beside_reference(compared(load_results("omniglot-comparison"), 1, "to MNIST"))
    return [
        Claim(
            "What brings most from Omniglot to MNIST is to redraw each picture, with a hand and a pen of its own.",
            "run",
            paired(means([ladder["varied"]]), means([ladder["quarter-turns"]])),
            "same network, iterations and test tasks; 5-way 1-shot",
            "one run",
        ),
        Claim(
            "All ten digits from one picture each are read more often than by the published networks.",
            "run",
            over(means([ten]), against=max(OMNIGLOT_TO_MNIST.values()), unit="points"),
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
            "run",
            paired(*(with_copies(copied, variant) for variant in ("of both", "no copies"))),
            "same four learners, same tasks; nothing is trained for it",
            "several runs",
        ),
    ]


def with_copies(copied: Results, variant: str) -> list[float]:
    """Return the accuracies on digits, one shot, of the learners of both widths at five and at ten ways."""
    return means(
        copied.score(data="digits", variant=variant, shots=1, ways=ways, width=width)
        for ways in WIDTHS["ways"]
        for width in WIDTHS["width"]
    )


def without_pictures() -> list[Claim]:
    """Return the claim on meta-training on glyphs."""
    across = load_results("omniglot-mnist")
    glyphs, drawn = (
        across.score(rung=rung, method="meta-sgd", variant=None, shots=1) for rung in ("glyphs", "varied")
    )
    return [
        Claim(
            "After a short training on glyphs alone, Meta-SGD is {verdict} itself after one on Omniglot.",
            "run",
            paired(means([glyphs]), means([drawn])),
            "same network, iterations and test tasks; the pens of both set by looking at MNIST",
            "one run",
        ),
    ]
