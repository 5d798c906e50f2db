"""The learning rates alpha at the start of meta-training."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def initial_rates(
    theta: Mapping[str, Tensor], task_lr: float | tuple[float, float] | Mapping[str, Tensor], seed: int
) -> dict[str, Tensor]:
    """Return a rate for every entry of theta, by name.

    Args:
        theta: the parameters.
        task_lr: a number for all entries, a range ``(low, high)`` from which each entry is drawn uniformly, or a dict
            of rates.
        seed: for drawing.

    Raises:
        ValueError: a rate that is not finite, a negative number, a range with low above high, or a dict whose names
            or shapes are not theta's.
    """
    if isinstance(task_lr, Mapping):
        shapes = {name: tuple(value.shape) for name, value in theta.items()}
        given = {name: tuple(value.shape) for name, value in task_lr.items()}
        if given != shapes:
            wrong = sorted(name for name in shapes.keys() | given.keys() if shapes.get(name) != given.get(name))
            raise ValueError(
                f"task_lr must have the names and shapes of the model's parameters; it differs at {wrong}"
            )
        if wrong := sorted(name for name, value in task_lr.items() if not value.isfinite().all()):
            raise ValueError(f"task_lr has rates that are NaN or infinite, at {wrong}; a rate must be finite")
        return dict(task_lr)
    if isinstance(task_lr, (int, float)):
        if not (math.isfinite(task_lr) and task_lr >= 0):
            raise ValueError(
                f"task_lr is {task_lr}; a rate must be finite, and at the start at least 0, as a negative one climbs "
                "the loss (a dict of tensors may hold rates of either sign)"
            )
        return {name: torch.full_like(value, task_lr) for name, value in theta.items()}
    low, high = task_lr
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"task_lr is the range ({low}, {high}); both ends must be finite")
    if low > high:
        raise ValueError(f"task_lr is the range ({low}, {high}), whose low end is above its high end")
    generator = torch.Generator().manual_seed(seed)  # on the CPU, so that the rates are the same on every device
    return {
        name: (low + (high - low) * torch.rand(value.shape, generator=generator, device="cpu")).to(value)
        for name, value in theta.items()
    }
