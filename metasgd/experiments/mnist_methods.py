"""The experiment ``mnist-methods``: every method at the same budget, 5-way 1-shot (chapters 8 and 11)."""

from collections.abc import Iterable, Mapping
from typing import Any

from metasgd.experiments.experiment import Cells, Experiment
from metasgd.experiments.mnist_tuning import METHOD_SETTINGS, method_cell
from metasgd.recipes.mnist import MnistRecipe

METHOD_RUN: dict[str, Any] = {"fold": 1}
METHOD_SEEDS = 3  # runs of each method


def make_cells(*, seed: int = 0, **changes: Any) -> Cells:
    """Return every method in fold 1, from several seeds."""
    return method_cells(METHOD_SETTINGS, METHOD_RUN, seed, changes)


def method_cells(methods: Iterable[str], run: Mapping[str, Any], seed: int, changes: Mapping[str, Any]) -> Cells:
    """Return a cell for each of ``METHOD_SEEDS`` seeds, from ``seed`` on, and each method.

    Args:
        methods: their names.
        run: settings that all of them have.
        seed: the first seed.
        changes: settings that replace any others.
    """
    return {
        f"{method}-seed{start}": method_cell(
            "methods", method, MnistRecipe(**{**run, **METHOD_SETTINGS[method], "seed": start, **changes})
        )
        for start in range(seed, seed + METHOD_SEEDS)
        for method in methods
    }


MNIST_METHODS = Experiment(
    name="mnist-methods",
    description="Every method at the same budget in one fold, with one shot, three seeds each",
    cells=make_cells,
    recipe=MnistRecipe,
    data="mnist",
)
