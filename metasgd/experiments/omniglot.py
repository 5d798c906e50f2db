"""The experiment ``omniglot``: the paper's second table (chapter 12)."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from metasgd.baselines import nearest_class_mean
from metasgd.experiments.character_scores import (
    LABELS,
    PIXELS,
    Table,
    Test,
    learner_label,
    scores_of_test,
    tabulate,
    whole_runs,
)
from metasgd.experiments.experiment import Cell, Cells, Experiment, Setup, loss_curve
from metasgd.experiments.results import Results
from metasgd.recipes import meta_train
from metasgd.recipes.omniglot import OmniglotRecipe
from metasgd.recipes.omniglot_variants import with_copies, with_fewer_ways

FEWER_WAYS = 5
OMNIGLOT_RECIPE: dict[str, Any] = {"width": 64, "look": "unsteady", "mirrored": True}
OMNIGLOT_START: dict[str, Any] = {"start": "omniglot-20way", "meta_lr": 1e-3, "alpha_lr": 1e-3}
# With --compile, each takes about half an hour on two CPU cores. Only the two that were made on a GPU take many hours.
OMNIGLOT_RUNS: dict[str, dict[str, Any]] = {
    "5way-meta-sgd": {"ways": 5, "iterations": 12_000},
    "5way-maml": {"ways": 5, "iterations": 12_000, "method": "maml"},
    "20way-meta-sgd": {"ways": 20, "iterations": 9000},
    "20way-wide": {"ways": 20, "width": 64, "iterations": 9000},
    # From here on with unsteady and mirrored pictures: first on a GPU, then with its learner as the start.
    "20way-gpu": OMNIGLOT_RECIPE | {"ways": 20, "meta_batch": 16, "iterations": 12_400},
    "20way-5shot-gpu": OMNIGLOT_RECIPE | {"ways": 20, "shots": 5, "meta_batch": 16, "iterations": 9100},
    "5way-started": OMNIGLOT_RECIPE | OMNIGLOT_START | {"ways": 5, "iterations": 12_000},
    "5way-5shot-started": OMNIGLOT_RECIPE | OMNIGLOT_START | {"ways": 5, "shots": 5, "iterations": 5000},
}


def make_cells(**changes: Any) -> Cells:
    """Return runs by Meta-SGD and by MAML, tested on the 423 characters that were left out.

    If another width than the book's is asked for, no run starts from a shipped learner, whose width would differ.
    """
    if "width" in changes:
        changes["start"] = None
    recipes = {name: OmniglotRecipe(**run | changes) for name, run in OMNIGLOT_RUNS.items()}
    return {name: Cell("table", recipe, partial(run_omniglot, recipe)) for name, recipe in recipes.items()}


def run_omniglot(recipe: OmniglotRecipe, setup: Setup, folder: Path, *, copies: bool = False) -> dict[str, Any]:
    """Train one run on Omniglot, going on from its checkpoint if there is one, and test it with one and five shots.

    The class means of pixels are tested on the same tasks. On characters, a learner of more than ``FEWER_WAYS``
    classes is also tested with that many.

    Args:
        recipe: settings of the run.
        setup: of all cells.
        folder: of the checkpoint.
        copies: also test the learner that adapts to redrawn copies.
    """
    learner, history = meta_train(
        recipe,
        recipe.load_data(setup.root),
        device=setup.device,
        out=folder,
        resume=True,
        compile=setup.compile,
        precision=setup.precision,
    )
    tests: list[Test] = [(recipe.method, None, learner)]
    if copies:
        tests.append((recipe.method, "copies", with_copies(learner)))
    tests.append((PIXELS, None, nearest_class_mean))
    where: dict[str, Any] = {"root": setup.root, "device": setup.device}
    scores = scores_of_test(tests, recipe, setup.tasks, **where)
    if recipe.ways > FEWER_WAYS and recipe.split_characters()[2]:
        fewer: list[Test] = [(recipe.method, "fewer ways", with_fewer_ways(learner, recipe, FEWER_WAYS))]
        scores += scores_of_test(fewer, replace(recipe, ways=FEWER_WAYS), setup.tasks, **where)
    return {"scores": scores, "loss_curve": loss_curve(history)}


def omniglot_table(results: Results) -> Table:
    """Return the accuracy on Omniglot by method and by (ways, shots), for what the file holds.

    A learner with an unusual number of filters has a row of its own. The class means of pixels were tested on the
    tasks of Meta-SGD, which are also those of every other method.
    """
    order = list(LABELS)
    scores = sorted(whole_runs(results), key=lambda score: order.index(score.method))
    return tabulate((learner_label(score), score) for score in scores)


OMNIGLOT = Experiment(
    name="omniglot",
    description="The paper's table of Omniglot by Meta-SGD and MAML",
    cells=make_cells,
    recipe=OmniglotRecipe,
    data="omniglot",
    compiled=True,
)
