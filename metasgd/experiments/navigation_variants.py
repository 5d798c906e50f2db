"""The experiment ``navigation-variants``: what Meta-SGD's step needs on 2-D navigation (chapter 13).

Each variant lacks one thing: the second derivatives, or a rate for each parameter. Its outer rates are chosen among
those that were tried for Meta-SGD in ``navigation``, in the same way.
"""

from typing import Any

import torch
from torch import Tensor

from metasgd.experiments.experiment import Cells, Experiment
from metasgd.experiments.navigation import (
    NAVIGATION_SEEDS,
    NAVIGATION_STARTS,
    NAVIGATION_TUNING,
    NAVIGATION_TUNING_SEED,
    navigation_cell,
    tuning_name,
)
from metasgd.experiments.results import Results
from metasgd.recipes.navigation import NavigationRecipe

VARIANTS: dict[str, dict[str, Any]] = {
    "first order": {"method": "first-order"},
    "one rate": {"method": "one-rate"},
}
TRIED = NAVIGATION_TUNING["meta-sgd"]
# The best of those that were tried, by the return after the step.
CHOSEN: dict[str, dict[str, float]] = {
    "first order": {"meta_lr": 3e-3, "alpha_lr": 3e-3},
    "one rate": {"meta_lr": 2e-3, "alpha_lr": 1e-2},
}


def make_cells(*, seed: int = 0, **changes: Any) -> Cells:
    """Return the runs that chose the outer rates of every variant, and those with a fixed start by these rates.

    Args:
        seed: of the first run of each variant.
        changes: settings that differ from the book's in every run.
    """
    cells = {}
    for variant, settings in VARIANTS.items():
        name = variant.replace(" ", "-")
        for rates in TRIED:
            run = settings | {"seed": NAVIGATION_TUNING_SEED} | NAVIGATION_STARTS["random"] | rates | changes
            cells[tuning_name(name, rates)] = navigation_cell("tuning", run, variant=variant)
        for start in range(seed, seed + NAVIGATION_SEEDS):
            run = settings | {"seed": start} | CHOSEN[variant] | changes
            cells[f"{name}-seed{start}"] = navigation_cell("table", run, variant=variant)
    return cells


def returns_of(results: Results, variant: str) -> Tensor:
    """Return the mean return after one step of each run of a variant, float64 of shape (runs,), in the order of seeds.

    Args:
        results: those of this experiment.
        variant: one of ``VARIANTS``.
    """
    scores = [cell.score(variant="after") for cell in results if (cell["part"], cell["variant"]) == ("table", variant)]
    return torch.tensor([score.mean for score in scores], dtype=torch.float64)


NAVIGATION_VARIANTS = Experiment(
    name="navigation-variants",
    description="2-D navigation without second derivatives, and with one learned rate for all parameters",
    cells=make_cells,
    recipe=NavigationRecipe,
    tasks=NavigationRecipe.num_test_tasks,
)
