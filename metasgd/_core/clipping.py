"""Gradients that are shortened, so that one unusual task does not spoil what was learned."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

DEFAULT_MAX_NORM = 10.0


def norm_or_default(name: str, norm: float | str | None, inner_steps: int) -> float | None:
    """Return the largest norm that is meant: ``"auto"`` clips where several inner steps may grow one another.

    Raises:
        ValueError: a norm that is not above zero.
    """
    if norm == "auto":
        return DEFAULT_MAX_NORM if inner_steps > 1 else None
    if norm is not None and (isinstance(norm, bool | str) or not (math.isfinite(norm) and norm > 0)):
        raise ValueError(f"{name} is {norm!r}; it must be a number above 0, None for no clipping, or 'auto'")
    return norm


def clipped(gradients: Sequence[Tensor], max_norm: float | None) -> Sequence[Tensor]:
    """Return gradients whose norm, taken over all tensors together, is at most ``max_norm``.

    A longer gradient g becomes ``max_norm * g / |g|``, a shorter one stays as it is, bit for bit. The result can be
    differentiated, also where the gradient is zero, and for each task by itself under ``torch.func.vmap``.

    Args:
        gradients: of any shapes.
        max_norm: the largest norm (None: any).

    >>> clipped([torch.tensor([3.0]), torch.tensor([4.0])], 1.0)
    [tensor([0.6000]), tensor([0.8000])]
    """
    if max_norm is None:
        return gradients
    squares = [(part.abs() if part.is_complex() else part).square().sum() for part in gradients]
    square = torch.stack([part.to(squares[0].dtype) for part in squares]).sum()
    longest = max_norm**2
    # The square root is never taken of a number below max_norm ** 2, as its slope at zero is infinite.
    factor = torch.where(square > longest, max_norm * square.clamp(min=longest).rsqrt(), 1.0)
    return [part * factor for part in gradients]
