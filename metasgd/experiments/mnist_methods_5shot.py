"""The experiment ``mnist-methods-5shot``: the methods of chapter 8 with five shots."""

from typing import Any

from metasgd.experiments.experiment import Cells, Experiment
from metasgd.experiments.mnist_methods import METHOD_RUN, method_cells
from metasgd.recipes.mnist import MnistRecipe

FIVE_SHOT_METHODS = (
    "meta-sgd", "layer-rates", "maml", "first-order-maml", "anil", "reptile", "protonet", "fine-tuning",
)  # fmt: skip


def make_cells(*, seed: int = 0, **changes: Any) -> Cells:
    """Return the methods of chapter 8, and layer rates, with five shots, from several seeds.

    Their settings are those that were chosen with one shot.
    """
    return method_cells(FIVE_SHOT_METHODS, METHOD_RUN | {"shots": 5}, seed, changes)


MNIST_METHODS_5SHOT = Experiment(
    name="mnist-methods-5shot",
    description="The methods of chapter 8 at the same budget in one fold, with five shots, three seeds each",
    cells=make_cells,
    recipe=MnistRecipe,
    data="mnist",
)
