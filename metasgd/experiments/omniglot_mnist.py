"""The experiment ``omniglot-mnist``: from Omniglot to MNIST, and what closes the gap (chapter 12)."""

from functools import partial
from itertools import product
from typing import Any

import torch
from torch import Tensor

from metasgd._core.student import student_interval
from metasgd.evaluation import Evaluation
from metasgd.experiments.character_scores import PIXELS, Table, learner_label, tabulate, whole_runs
from metasgd.experiments.comparison import COMPARED_SEEDS
from metasgd.experiments.experiment import Cell, Cells, Experiment
from metasgd.experiments.omniglot import run_omniglot
from metasgd.experiments.results import Results
from metasgd.recipes.omniglot import CHARACTERS, OmniglotRecipe

ALL_CHARACTERS: dict[str, Any] = {"characters": CHARACTERS, "look": "varied"}
OMNIGLOT_MNIST_RUNS: dict[str, dict[str, Any]] = {
    "10way": {"ways": 10, "iterations": 15_000},
    "5way": {"ways": 5, "iterations": 15_000},
    "10way-5shot": {"ways": 10, "shots": 5, "iterations": 8000},
    "5way-wide": {"ways": 5, "width": 64, "iterations": 15_000},
    "10way-wide": {"ways": 10, "width": 64, "iterations": 20_000},
}
TEN_WAYS_ITERATIONS = 3000  # of the shorter runs at ten ways, of which there are several
LADDER_ITERATIONS = 400
# What closes the gap between Omniglot and MNIST: first one ingredient more in each rung, then alternatives.
LADDER: dict[str, dict[str, Any]] = {
    "pictures": {"look": "pictures", "quarter_turns": False},
    "quarter-turns": {"look": "pictures"},
    "redrawn": {"look": "redrawn"},
    "varied": {"look": "varied"},
    "measured": {"look": "measured"},
    "composites": {"look": "varied", "num_composites": 1000},
    "glyphs": {"look": "glyphs"},
    "mixed": {"look": "mixed"},
    "zero-head": {"look": "varied", "head_lr": 1.0},
}


def make_cells(*, seed: int = 0, **changes: Any) -> Cells:
    """Return runs on all of Omniglot, tested on all ten digits of MNIST, and what each ingredient adds.

    The digits are those of the sample in the package. Besides one long run of each kind there are shorter ones, by
    several seeds each: at ten ways, and for every rung of the ladder.
    """
    cells = {}
    for name, run in OMNIGLOT_MNIST_RUNS.items():
        recipe = OmniglotRecipe(**ALL_CHARACTERS | run | {"seed": seed} | changes)
        cells[name] = Cell("table", recipe, partial(run_omniglot, recipe, copies=True))
    for start in range(seed, seed + COMPARED_SEEDS):
        short: dict[str, Any] = ALL_CHARACTERS | {"ways": 10, "iterations": TEN_WAYS_ITERATIONS, "seed": start}
        recipe = OmniglotRecipe(**short | changes)
        cells[f"10way-seed{start}"] = Cell("ten ways", recipe, partial(run_omniglot, recipe))
    for rung, start in product(LADDER, range(seed, seed + COMPARED_SEEDS)):
        short = ALL_CHARACTERS | {"iterations": LADDER_ITERATIONS, "seed": start}
        recipe = OmniglotRecipe(**short | LADDER[rung] | changes)
        cells[f"ladder-{rung}-seed{start}"] = Cell("ladder", recipe, partial(run_omniglot, recipe), {"rung": rung})
    return cells


def mnist_table(results: Results) -> Table:
    """Return the accuracy on MNIST's ten digits by learner and by (ways, shots), the ladder left out.

    A learner is named by what sets it apart: its filters, or the shots it was meta-trained with. The pixels come last.
    """
    table = tabulate((learner_label(score), score) for score in whole_runs(results))
    return {label: table[label] for label in sorted(table, key=lambda label: label == PIXELS)}


def ten_ways(results: Results) -> Tensor:
    """Return the accuracy of the shorter runs at ten ways and one shot, float64 of shape (runs,)."""
    scores = results.scores(part="ten ways", method="meta-sgd", variant=None, shots=1)
    return torch.tensor([score.mean for score in scores], dtype=torch.float64)


def ladder(results: Results) -> dict[str, dict[int, Evaluation]]:
    """Return what each ingredient adds on the way from Omniglot to MNIST.

    Returns:
        by rung, then by shots, the accuracy over runs: its mean, half the width of its 95% interval by Student's t,
        and that of each run, in the order of seeds.
    """
    rungs: dict[str, dict[int, list[float]]] = {}
    for score in results.scores(part="ladder", method="meta-sgd", variant=None):
        assert score.shots is not None  # tests of images have shots
        rungs.setdefault(score.cell["rung"], {}).setdefault(score.shots, []).append(score.mean)
    found: dict[str, dict[int, Evaluation]] = {}
    for rung, by_shots in rungs.items():
        runs = {shots: torch.tensor(means, dtype=torch.float64) for shots, means in by_shots.items()}
        found[rung] = {shots: Evaluation(*student_interval(means), means) for shots, means in runs.items()}
    return found


OMNIGLOT_MNIST = Experiment(
    name="omniglot-mnist",
    description="Meta-trained on Omniglot, tested on MNIST, and what each ingredient of that adds",
    cells=make_cells,
    recipe=OmniglotRecipe,
    data="omniglot",
    compiled=True,
)
