"""The experiment ``mnist-readings``: how queries are read, in meta-training and in the test (chapter 8).

Meta-SGD is trained on random glyphs with queries that are normalised together, or by the statistics of the support
set alone. Three runs of each are tested on the digits of every fold, with queries read in each way.
"""

import copy
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from metasgd.experiments.character_scores import Test
from metasgd.experiments.comparison import BUDGET, COMPARED_SEEDS
from metasgd.experiments.experiment import Cell, Cells, Experiment, Setup
from metasgd.experiments.mnist import by_run, scores_in_folds
from metasgd.experiments.results import Results
from metasgd.experiments.reuse import meta_train_cell
from metasgd.recipes.glyphs import GlyphsRecipe
from metasgd.strategies.query_statistics import QUERY_STATISTICS

TRAINED_BY = ("queries", "support")


def make_cells(*, seed: int = 0, **changes: Any) -> Cells:
    """Return three runs of each way to read queries in meta-training.

    Args:
        seed: of the first run of each.
        changes: settings that differ from the book's in every run.
    """
    cells = {}
    for trained_by in TRAINED_BY:
        for start in range(seed, seed + COMPARED_SEEDS):
            settings = {"seed": start, "query_statistics": trained_by}
            recipe = GlyphsRecipe(**BUDGET | settings | changes)
            fields = {"trained_by": trained_by}
            cells[f"by-{trained_by}-seed{start}"] = Cell("readings", recipe, partial(run_readings, recipe), fields)
    return cells


def run_readings(recipe: GlyphsRecipe, setup: Setup, folder: Path) -> dict[str, Any]:
    """Train one run, going on from its checkpoint if there is one, and test it with queries read in each way.

    Args:
        recipe: the settings of the run.
        setup: of all cells.
        folder: of the checkpoint.
    """
    learner, _ = meta_train_cell(recipe, (), (recipe.query_statistics, recipe.width), setup, folder)
    tests: list[Test] = []
    for statistics in QUERY_STATISTICS:
        reader = copy.deepcopy(learner)
        reader.query_statistics = statistics
        tests.append((recipe.method, f"by {statistics}", reader))
    return {"scores": scores_in_folds(tests, recipe, setup.tasks, images=setup.mnist, device=setup.device)}


def by_reading(results: Results, shots: int) -> dict[tuple[str, str], Tensor]:
    """Return accuracies by how queries are read in meta-training and in the test, float64 of shape (runs, folds).

    Args:
        results: those of ``mnist-readings``.
        shots: of the test tasks.
    """
    return {
        (trained_by, tested_by): by_run(
            results.select(trained_by=trained_by), "readings", shots, method="meta-sgd", variant=f"by {tested_by}"
        )
        for trained_by in TRAINED_BY
        for tested_by in QUERY_STATISTICS
    }


MNIST_READINGS = Experiment(
    name="mnist-readings",
    description="How queries are read, in meta-training on random glyphs and in the test on the digits of every fold",
    cells=make_cells,
    recipe=GlyphsRecipe,
    data="mnist",
    tasks=50,
    compiled=True,
)
