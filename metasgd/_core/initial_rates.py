"""The learning rates alpha at the start of meta-training."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def initial_rates(
    theta: Mapping[str, Tensor], task_lr: float | tuple[float, float] | Mapping[str, Tensor], seed: int
) -> dict[str, Tensor]:
    """Return a rate for every entry of the parameters that adapt, those with ``requires_grad``, by name.

    Args:
        theta: the parameters.
        task_lr: a number for all entries, a range ``(low, high)`` from which each entry is drawn uniformly, or a dict
            of rates (which may, but need not, have some for parameters that do not adapt).
        seed: for drawing; what other parameters adapt makes no difference to the rates of one.

    Raises:
        ValueError: a rate that is not finite, a negative number, a range with low above high, or a dict whose names
            or shapes are not theta's.
    """
    adapting = {name: value.detach() for name, value in theta.items() if value.requires_grad}
    if isinstance(task_lr, Mapping):
        shapes = {name: tuple(value.shape) for name, value in adapting.items()}
        given = {name: tuple(rate.shape) for name, rate in task_lr.items() if name in shapes or name not in theta}
        if given != shapes:
            wrong = sorted(name for name in shapes.keys() | given.keys() if shapes.get(name) != given.get(name))
            raise ValueError(
                f"task_lr must have the names and shapes of the model's parameters; it differs at {wrong}"
            )
        if wrong := sorted(name for name, value in task_lr.items() if not value.isfinite().all()):
            raise ValueError(f"task_lr has rates that are NaN or infinite, at {wrong}; a rate must be finite")
        return {name: like(value, task_lr[name]) for name, value in adapting.items()}
    if isinstance(task_lr, (int, float)):
        if not (math.isfinite(task_lr) and task_lr >= 0):
            raise ValueError(
                f"task_lr is {task_lr}; a rate must be finite, and at the start at least 0, as a negative one climbs "
                "the loss (a dict of tensors may hold rates of either sign)"
            )
        return {name: torch.full_like(value, task_lr) for name, value in adapting.items()}
    low, high = task_lr
    if not (math.isfinite(low) and math.isfinite(high)):
        raise ValueError(f"task_lr is the range ({low}, {high}); both ends must be finite")
    if low > high:
        raise ValueError(f"task_lr is the range ({low}, {high}), whose low end is above its high end")
    generator = torch.Generator().manual_seed(seed)  # on the CPU, so that the rates are the same on every device
    drawn = {name: torch.rand(value.shape, generator=generator, device="cpu") for name, value in theta.items()}
    return {name: like(value, low + (high - low) * drawn[name]) for name, value in adapting.items()}


def like(parameter: Tensor, rate: Tensor) -> Tensor:
    """Return rates in the dtype, on the device and in the layout in memory of a parameter."""
    with torch.no_grad():
        return torch.empty_like(parameter, requires_grad=False).copy_(rate)
