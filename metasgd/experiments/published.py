"""Numbers that papers have published, beside which the book sets its own: all of them are here, and in no chapter.

``SOURCES`` says of each where it stands and how it was checked. Li, Zhou, Chen and Li, "Meta-SGD: Learning to Learn
Quickly for Few-Shot Learning", arXiv:1707.09835, 2017, is the paper of this book.
"""

from dataclasses import dataclass

# How a number was checked, from the safest to the least safe.
IN_THEIR_RESULTS = "in the file of results that its authors published beside their program"
IN_THE_PAPER = "in a copy of the paper's text"
QUOTED = "beside the same number in other papers or lists that quote it, and not in the paper itself"
FROM_MEMORY = "not yet: written down from memory, without a copy of the paper"


@dataclass(frozen=True)
class Source:
    """Where published numbers come from.

    Attributes:
        key: of the paper, in ``book/references.bib``.
        place: the table, figure or section of the paper.
        numbers: what they are, with their unit.
        checked: how they were checked: ``IN_THEIR_RESULTS``, ``IN_THE_PAPER``, ``QUOTED`` or ``FROM_MEMORY``.
        chapters: which chapters read them.
    """

    key: str
    place: str
    numbers: str
    checked: str
    chapters: tuple[int, ...]


# Mean squared error after one step on sine waves, by method, shots of meta-training and shots of the test:
# the first table of Li et al. 2017 (chapter 6).
SINE_WAVES = {
    "maml": {
        5: {5: 1.13, 10: 0.85, 20: 0.71},
        10: {5: 1.17, 10: 0.77, 20: 0.56},
        20: {5: 1.29, 10: 0.76, 20: 0.48},
    },
    "meta-sgd": {
        5: {5: 0.90, 10: 0.63, 20: 0.50},
        10: {5: 0.88, 10: 0.53, 20: 0.35},
        20: {5: 1.01, 10: 0.54, 20: 0.31},
    },
}
# Half-widths of the 95% intervals of these errors, and the curves that a run of the paper was meta-trained on, 60,000
# meta-updates of 4.
SINE_WAVES_HALF_WIDTHS = {
    "maml": {
        5: {5: 0.18, 10: 0.14, 20: 0.12},
        10: {5: 0.16, 10: 0.11, 20: 0.08},
        20: {5: 0.20, 10: 0.12, 20: 0.08},
    },
    "meta-sgd": {
        5: {5: 0.16, 10: 0.12, 20: 0.10},
        10: {5: 0.14, 10: 0.09, 20: 0.06},
        20: {5: 0.17, 10: 0.08, 20: 0.05},
    },
}
SINE_WAVES_CURVES = 240_000
# Curves of a test, and query points of each, spread evenly over [-5, 5].
SINE_WAVES_TEST = {"curves": 100, "points": 100}
# Accuracy on Omniglot, by method and (ways, shots): the second table of Li et al. 2017 (chapter 12).
OMNIGLOT = {
    "Meta-SGD": {(5, 1): 0.9953, (5, 5): 0.9993, (20, 1): 0.9593, (20, 5): 0.9897},
    "MAML": {(5, 1): 0.987, (5, 5): 0.999, (20, 1): 0.958, (20, 5): 0.989},
}
# Half the width of the 95% intervals that stand beside these numbers in the same table.
OMNIGLOT_INTERVALS = {
    "Meta-SGD": {(5, 1): 0.0026, (5, 5): 0.0009, (20, 1): 0.0038, (20, 5): 0.0019},
    "MAML": {(5, 1): 0.004, (5, 5): 0.001, (20, 1): 0.003, (20, 5): 0.002},
}
# Tasks that a run of the usual schedule for Omniglot is meta-trained on, by ways: 60,000 meta-updates of 32 tasks at 5
# ways, and of 16 at 20 (Finn, Abbeel and Levine 2017; chapter 12).
OMNIGLOT_TASKS = {5: 60_000 * 32, 20: 60_000 * 16}
# Accuracy on miniImageNet, by method and (ways, shots): the third table of Li et al. 2017 (chapter 12).
MINIIMAGENET = {
    "Meta-SGD": {(5, 1): 0.5047, (5, 5): 0.6403, (20, 1): 0.1756, (20, 5): 0.2892},
    "MAML": {(5, 1): 0.4870, (5, 5): 0.6311, (20, 1): 0.1649, (20, 5): 0.1929},
}
# Accuracy on CIFAR-FS, by method and (ways, shots): Bertinetto, Henriques, Torr and Vedaldi, "Meta-learning with
# differentiable closed-form solvers", ICLR 2019, arXiv:1805.08136 (chapter 12).
CIFAR_FS = {"MAML": {(5, 1): 0.589, (5, 5): 0.715}}
# Mean return on 2-D navigation, by method and by whether starts are random: the fourth table of Li et al. 2017. The
# reward is minus the distance to the goal (chapter 13).
NAVIGATION = {"maml": {False: -9.12, True: -10.71}, "meta-sgd": {False: -8.64, True: -10.15}}
# Half-widths that stand beside these returns, over 600 goals.
NAVIGATION_HALF_WIDTHS = {"maml": {False: 0.66, True: 0.76}, "meta-sgd": {False: 0.68, True: 0.62}}
# Mean return on 2-D navigation after 0 to 3 steps: Finn et al. 2017, table 4, over 40 goals. Their paper says squared
# distance; the code that they published sums distances, and gives these very numbers (chapter 13).
NAVIGATION_MAML = (-40.41, -11.68, -3.33, -3.23)
# Accuracy on MNIST, 10-way 1-shot, after training on Omniglot alone (chapter 12): Koch, Zemel and Salakhutdinov,
# "Siamese neural networks for one-shot image recognition", 2015; Vinyals et al., "Matching networks for one shot
# learning", 2016.
OMNIGLOT_TO_MNIST = {"Siamese nets, 2015": 0.703, "Matching Networks, 2016": 0.72}

SOURCES = {
    "SINE_WAVES": Source(
        "li2017metasgd",
        "table 1",
        "mean squared error after one step on sine waves (some entries after 10 or 20 shots from memory)",
        QUOTED,
        (6,),
    ),
    "SINE_WAVES_HALF_WIDTHS": Source(
        "li2017metasgd",
        "table 1",
        "half-widths of the 95% intervals of these errors (of the same entries from memory)",
        QUOTED,
        (6,),
    ),
    "SINE_WAVES_CURVES": Source(
        "li2017metasgd",
        "section on regression",
        "curves that a run was meta-trained on, four a meta-update",
        QUOTED,
        (6,),
    ),
    "SINE_WAVES_TEST": Source(
        "li2017metasgd",
        "section on regression",
        "curves of a test, and query points of each",
        FROM_MEMORY,
        (6,),
    ),
    "OMNIGLOT": Source("li2017metasgd", "table 2", "accuracy on Omniglot", QUOTED, (12,)),
    "OMNIGLOT_INTERVALS": Source(
        "li2017metasgd",
        "table 2",
        "half-widths of its 95% intervals (of MAML at 20 ways from memory)",
        QUOTED,
        (12,),
    ),
    "OMNIGLOT_TASKS": Source(
        "finn2017maml", "appendix A.1", "tasks of meta-training on Omniglot, by ways", IN_THE_PAPER, (12,)
    ),
    "MINIIMAGENET": Source("li2017metasgd", "table 3", "accuracy on miniImageNet", QUOTED, (12,)),
    "CIFAR_FS": Source("bertinetto2019closed", "table 1", "accuracy on CIFAR-FS, MAML of 64 filters", QUOTED, (12,)),
    "NAVIGATION": Source(
        "li2017metasgd",
        "table 4",
        "return of 2-D navigation, minus the sum of distances",
        QUOTED,
        (13,),
    ),
    "NAVIGATION_HALF_WIDTHS": Source(
        "li2017metasgd", "table 4", "half-widths that stand beside these returns", QUOTED, (13,)
    ),
    "NAVIGATION_MAML": Source(
        "finn2017code",
        "results beside the program",
        "return of 2-D navigation, in sums of distances",
        IN_THEIR_RESULTS,
        (13,),
    ),
    "OMNIGLOT_TO_MNIST": Source(
        "vinyals2016matching",
        "section on Omniglot, which also quotes Koch et al. 2015",
        "accuracy on MNIST, 10-way 1-shot, after Omniglot alone",
        FROM_MEMORY,
        (12,),
    ),
}


def sources_as_markdown() -> str:
    """Return a table of what is quoted from papers, where it stands there, and how it was checked."""
    rows = [
        f"| {source.numbers} | `{source.key}`, {source.place} | {source.checked} "
        f"| {', '.join(map(str, source.chapters))} |"
        for source in SOURCES.values()
    ]
    return "\n".join(["| numbers | paper and place | checked | chapter |", "|---|---|---|---|", *rows])
