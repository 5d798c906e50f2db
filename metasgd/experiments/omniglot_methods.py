"""The experiment ``omniglot-methods``: prototypes trained with larger tasks than those of the test (chapter 12).

A prototypical network has no head, so its tasks in meta-training may have more ways than those of the test.
"""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from metasgd.experiments.character_scores import scores_of_test
from metasgd.experiments.experiment import Cell, Cells, Experiment, Setup, loss_curve
from metasgd.recipes import Contestant, meta_train
from metasgd.recipes.omniglot import OmniglotRecipe

LARGER_TASKS: dict[str, Any] = {
    "ways": 60, "train_queries": 4, "meta_batch": 1, "meta_lr": 3e-3, "iterations": 4800,
}  # fmt: skip
TEST_WAYS = (5, 20)  # with which such a network is tested


def make_cells(*, seed: int = 0, **changes: Any) -> Cells:
    """Return the one run, from one seed."""
    recipe = OmniglotRecipe(**LARGER_TASKS | {"seed": seed} | changes)
    run = partial(run_larger_tasks, recipe)
    return {f"protonet-60way-seed{seed}": Cell("larger tasks", recipe, run, {"method": "protonet"})}


def run_larger_tasks(recipe: OmniglotRecipe, setup: Setup, folder: Path) -> dict[str, Any]:
    """Train prototypes, going on from their checkpoint if there is one, and test them on the characters left out."""
    contestant, drawings = Contestant("protonet", recipe), recipe.load_data(setup.root)
    learner, history = meta_train(contestant, drawings, device=setup.device, out=folder, resume=True)
    scores = []
    for ways in TEST_WAYS:
        test, tests = replace(recipe, ways=ways), [("protonet", None, learner)]
        scores += scores_of_test(tests, test, setup.tasks, root=setup.root, device=setup.device)
    return {"scores": scores, "loss_curve": loss_curve(history)}


OMNIGLOT_METHODS = Experiment(
    name="omniglot-methods",
    description="Prototypes on Omniglot, trained with tasks of sixty ways",
    cells=make_cells,
    recipe=OmniglotRecipe,
    data="omniglot",
)
