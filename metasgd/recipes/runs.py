"""Reading what ``meta_train`` has saved, whatever the recipe."""

from pathlib import Path
from typing import NamedTuple

import torch

from metasgd.checkpoints import Checkpoint, read_checkpoint, restore
from metasgd.meta_sgd import MetaSGD
from metasgd.recipes.recipe import Recipe
from metasgd.recipes.registry import recipe_of


class Run(NamedTuple):
    """A run that was saved: the learner at its best validated iterate, or else its last, and how it was made."""

    learner: MetaSGD
    recipe: Recipe
    checkpoint: Checkpoint

    @property
    def iteration(self) -> int:
        """The number of meta-updates after which the learner was as it is."""
        best = self.checkpoint.best
        return self.checkpoint.iteration if best is None else int(best["iteration"])


def load_run(path: str | Path, device: torch.device | str = "cpu") -> Run:
    """Return the run in a folder, finished or not.

    Args:
        path: the folder that was given to ``meta_train`` as ``out``, or the checkpoint in it.
        device: where the learner lives.

    Raises:
        FileNotFoundError: no checkpoint there.
        ValueError: a checkpoint that is damaged or of no recipe that this version knows.
    """
    checkpoint = read_checkpoint(path)
    try:
        recipe = recipe_of(checkpoint.config)
    except ValueError as error:
        raise ValueError(f"the run in {path} cannot be read: {error}") from error
    learner = recipe.make_learner(device)
    state = checkpoint.state if checkpoint.best is None else checkpoint.state | checkpoint.best["state"]
    restore(learner, state, path)
    return Run(learner, recipe, checkpoint)
