"""The experiment ``mnist-classes``: what turns five digits into many training classes (chapter 8)."""

from dataclasses import replace
from functools import partial
from typing import Any

from metasgd.experiments.experiment import Cell, Cells, Experiment
from metasgd.experiments.mnist_folds import run_mnist
from metasgd.recipes.mnist import MnistRecipe

LONGER = 3  # the factor by which the part "longer" has more meta-updates
# Each rung has one ingredient more than the rung before it.
LADDER: dict[str, dict[str, Any]] = {
    "digits": {"use_orientations": False, "augment": False, "num_composites": 0},
    "orientations": {"augment": False, "num_composites": 0},
    "augmented": {"num_composites": 0},
    "composites": {},
}


def make_cells(**changes: Any) -> Cells:
    """Return the ladder of ingredients, at 1 shot in fold 1.

    Its last rung, with composites, is the whole recipe, and so a cell of ``mnist-folds``. A second ladder leaves out
    two of the meta-training digits of fold 0 for validation. As the other three digits alone are too few for five
    ways, it starts one rung higher. Two rungs are also run with ``LONGER`` times the meta-updates.
    """
    validation = MnistRecipe(**changes | {"fold": 0, "validation_digits": (7, 9)})
    composites = min(validation.num_composites, 30)  # three digits have six orientations, which make 30 pairs
    recipes: dict[tuple[str, str], MnistRecipe] = {}
    for rung in ("digits", "orientations", "augmented"):
        recipes["ladder", rung] = MnistRecipe(**changes | {"fold": 1} | LADDER[rung])
    for rung in ("orientations", "augmented", "composites"):
        recipes["validation", rung] = replace(validation, **{"num_composites": composites} | LADDER[rung])
    for rung in ("orientations", "composites"):
        longer = {"fold": 1, "iterations": LONGER * validation.iterations}
        recipes["longer", rung] = MnistRecipe(**changes | longer | LADDER[rung])
    names = {"ladder": "fold1-{}", "validation": "validation-{}", "longer": "fold1-{}-long"}
    return {
        names[part].format(rung): Cell(part, recipe, partial(run_mnist, recipe), {"rung": rung})
        for (part, rung), recipe in recipes.items()
    }


MNIST_CLASSES = Experiment(
    name="mnist-classes",
    description="What each ingredient that widens five digits adds, in one fold",
    cells=make_cells,
    recipe=MnistRecipe,
    data="mnist",
    compiled=True,
)
