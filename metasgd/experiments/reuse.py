"""Meta-training of cells, where runs that are made alike share what the first of them has compiled."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any

from metasgd.experiments.experiment import Setup
from metasgd.meta_sgd import MetaSGD
from metasgd.recipes import Recipe, meta_train

_learners: dict[Hashable, MetaSGD] = {}  # of this process


def meta_train_cell(
    recipe: Recipe, data: Any, alike: Hashable, setup: Setup, folder: Path
) -> tuple[MetaSGD, list[dict[str, float]]]:
    """Return (learner, history) of one run, which goes on from its checkpoint if there is one.

    Args:
        recipe: settings of the run.
        data: as in ``metasgd.recipes.meta_train``.
        alike: what a run must have in common with an earlier one to take over its learner; it starts anew.
        setup: of all cells.
        folder: of the checkpoint.
    """
    key = (recipe.name, alike, setup.device, setup.compile, setup.precision)
    learner, history = meta_train(
        recipe,
        data,
        device=setup.device,
        out=folder,
        resume=True,
        compile=setup.compile,
        precision=setup.precision,
        learner=_learners.get(key),
    )
    _learners[key] = learner
    return learner, history
