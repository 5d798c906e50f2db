"""The experiment ``copies``: shipped learners, tested with redrawn copies of pictures (chapter 12)."""

from functools import partial
from pathlib import Path
from typing import Any

from metasgd.experiments.character_scores import Test, scores_of_test
from metasgd.experiments.experiment import Cell, Cells, Experiment, Setup
from metasgd.recipes.omniglot import OmniglotRecipe
from metasgd.recipes.omniglot_variants import COPIES as NUM_COPIES
from metasgd.recipes.omniglot_variants import with_copied_queries, with_copies
from metasgd.recipes.shipped import load_weights, shipped_recipe, weights_names, weights_record

COPIED_WAYS = 10  # at most: reading five times as many pictures takes long


def make_cells() -> Cells:
    """Return the shipped learners of Omniglot, tested with copies of support pictures, of queries, and of both.

    Those of more than ``COPIED_WAYS`` classes are left out.
    """
    recipes = {name: shipped_recipe(weights_record(name)) for name in weights_names()}
    return {
        name: Cell("copies", recipe, partial(run_copies, name), {"weights": name, "copies": NUM_COPIES})
        for name, recipe in recipes.items()
        if isinstance(recipe, OmniglotRecipe) and recipe.ways <= COPIED_WAYS
    }


def run_copies(name: str, setup: Setup, folder: Path) -> dict[str, Any]:
    """Test a shipped learner as it is, and with copies of support pictures, of queries, and of both."""
    learner, record = load_weights(name, setup.device)
    recipe = OmniglotRecipe.from_config(record["config"])
    tests: list[Test] = [
        (recipe.method, "no copies", learner),
        (recipe.method, "of support pictures", with_copies(learner)),
        (recipe.method, "of queries", with_copied_queries(learner, support_copies=0)),
        (recipe.method, "of both", with_copied_queries(learner)),
    ]
    return {"scores": scores_of_test(tests, recipe, setup.tasks, root=setup.root, device=setup.device)}


COPIES = Experiment(
    name="copies",
    description="Shipped learners, tested with redrawn copies of support pictures and queries",
    cells=make_cells,
    recipe=None,
    data="omniglot",
)
