"""The experiment ``mnist-readings``: how queries are read, in meta-training and in the test (chapter 8).

Meta-SGD is trained on random glyphs with queries that are normalised together, or by the statistics of the support
set alone. Three runs of each are tested on the digits of every fold, with queries read in each way.
"""

import copy
from functools import partial
from pathlib import Path
from typing import Any

from metasgd.experiments.character_scores import Test
from metasgd.experiments.experiment import Cell, Cells, Experiment, Setup
from metasgd.experiments.mnist import scores_in_folds
from metasgd.experiments.mnist_comparison import BUDGET, COMPARED_SEEDS
from metasgd.meta_sgd import MetaSGD
from metasgd.recipes import meta_train
from metasgd.recipes.glyphs import GlyphsRecipe
from metasgd.strategies.query_statistics import QUERY_STATISTICS

TRAINED_BY = ("queries", "support")

_learners: dict[Any, MetaSGD] = {}  # of this process, whose compiled steps serve all runs that are made alike


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
    key = (recipe.query_statistics, setup.device, setup.compile)
    options: dict[str, Any] = {"device": setup.device, "compile": setup.compile, "learner": _learners.get(key)}
    learner, _ = meta_train(recipe, (), out=folder, resume=True, **options)
    _learners[key] = learner
    tests: list[Test] = []
    for statistics in QUERY_STATISTICS:
        reader = copy.deepcopy(learner)
        reader.query_statistics = statistics
        tests.append((recipe.method, f"by {statistics}", reader))
    return {"scores": scores_in_folds(tests, recipe, setup.tasks, images=setup.mnist, device=setup.device)}


MNIST_READINGS = Experiment(
    name="mnist-readings",
    description="How queries are read, in meta-training on random glyphs and in the test on the digits of every fold",
    cells=make_cells,
    recipe=GlyphsRecipe,
    data="mnist",
    tasks=50,
    compiled=True,
)
