"""Meta-training of any recipe."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from metasgd.callbacks import Callback
from metasgd.meta_sgd import MetaSGD
from metasgd.recipes.recipe import Recipe
from metasgd.training import train


def meta_train(
    recipe: Recipe,
    data: Any = None,
    *,
    device: torch.device | str = "cpu",
    out: str | Path | None = None,
    resume: bool = False,
    checkpoint_every: int | None = None,
    validate_every: int | None = None,
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
    compile: bool = False,
    precision: str = "float32",
    learner: MetaSGD | None = None,
) -> tuple[MetaSGD, list[dict[str, float]]]:
    """Meta-train as a recipe says and return (learner, history), the history with one dict a meta-update.

    Args:
        recipe: all settings of the run.
        data: what ``recipe.load_data`` returns (None: it is called).
        device: where to train.
        out: folder of the checkpoint, from which ``load_run`` reads the run (None: nothing is written).
        resume: go on from the checkpoint in ``out``, if there is one.
        checkpoint_every: meta-updates between two checkpoints (None: as usual for the recipe).
        validate_every: meta-updates between two validations (None: as usual for the recipe).
        callbacks: functions that are called after each iteration, as in ``metasgd.training.train``.
        progress: show a bar on standard error.
        compile: as in ``MetaSGD``.
        precision: as in ``MetaSGD``.
        learner: a learner of an earlier run whose settings are those of this one, but for its tasks, its outer rates
            and its seed. It starts anew, and what it has compiled is used again (None: a new learner is made, by
            ``compile`` and ``precision``).

    Raises:
        ValueError: settings that the data cannot serve, found before any work; and see ``metasgd.training.train``,
            also for other errors.
    """
    data = recipe.load_data() if data is None else data
    recipe.check_data(data, device)
    learner = start_anew(learner, recipe.make_learner(device, compile=compile, precision=precision))
    recipe.warm_start(learner)
    history = train(
        learner,
        recipe.training_tasks(data, device, learner=learner),
        recipe.iterations,
        meta_batch=recipe.meta_batch,
        seed=recipe.seed,
        schedule=recipe.schedule,
        validate=recipe.validation(data, device),
        validate_every=recipe.validate_every if validate_every is None else validate_every,
        out=out,
        resume=resume,
        checkpoint_every=recipe.checkpoint_every if checkpoint_every is None else checkpoint_every,
        config=recipe.config(data),
        callbacks=callbacks,
        progress=progress,
    )
    return learner, history


def start_anew(used: MetaSGD | None, fresh: MetaSGD) -> MetaSGD:
    """Return a used learner as if it were the fresh one, with whatever it has compiled; without one, the fresh one."""
    if used is None:
        return fresh
    used.load_state_dict(fresh.state_dict())
    used.meta_optimizer.load_state_dict(fresh.meta_optimizer.state_dict())
    used.meta_optimizer.zero_grad()
    used.made_with_rates = fresh.made_with_rates
    return used
