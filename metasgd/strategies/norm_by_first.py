"""Batch normalisation of all rows of a batch by the statistics of its first rows, for queries beside a support set.

With y = w z + b, z = r (x - mean) and r = 1 / sqrt(variance + eps), where mean and variance are those of the n entries
of a channel in the first rows, the derivatives are dw = sum(dy z) and db = sum(dy), over all rows, and dx = w r dy. In
the first rows, dx has another term, - w r (db + z dw) / n, as each of their entries moves the statistics by which all
rows are normalised.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from metasgd.strategies.batch_norm import by_channel, channel_sums, coefficients, mean_and_r, mean_and_variance
from metasgd.strategies.norm_then_pool import coefficients_of_x


def norm_by_first(rows: int, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Return a batch of shape (rows, channels, ...) normalised by its first rows, by sums and products of PyTorch."""
    return normalised_mean_and_r(rows, x, weight, bias, eps)[0]


def normalised_mean_and_r(
    rows: int, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return a batch normalised by its first rows, the means by which that was done, and 1 / the deviations."""
    wide = x.to(torch.promote_types(x.dtype, torch.float32))  # as PyTorch's own kernels do
    first, dimensions = wide[:rows], [0, *range(2, x.ndim)]
    mean = first.mean(dimensions)
    r = ((first - by_channel(mean, x)).square().mean(dimensions) + eps).rsqrt()
    y = (wide - by_channel(mean, x)) * by_channel(r if weight is None else r * weight, x)
    y = y if bias is None else y + by_channel(bias, x)
    return y.to(x.dtype), mean, r


def fast_norm_by_first(rows: int, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Return what ``norm_by_first`` does, by PyTorch's kernels; it can be differentiated once."""
    if weight is None or bias is None or x.dtype != weight.dtype:
        return norm_by_first(rows, x, weight, bias, eps)
    y: Tensor = _NormByFirst.apply(x, weight, bias, eps, rows)
    return y


def compilable_norm_by_first(rows: int, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Return what ``norm_by_first`` does, in a form that a compiler merges with what comes before and after it."""
    if weight is None or bias is None or x.dtype != weight.dtype:
        return norm_by_first(rows, x, weight, bias, eps)
    y: Tensor = _CompilableNormByFirst.apply(x, weight, bias, eps, rows)
    return y


class _NormByFirst(torch.autograd.Function):
    """The operation by the kernels for normalisation by given statistics."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, rows: int) -> Tensor:
        first = x[:rows]
        if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
            mean, variance = mean_and_variance(first)
        else:
            dimensions = [0, *range(2, x.ndim)]
            mean = first.mean(dimensions)
            variance = (first - by_channel(mean, x)).square_().mean(dimensions)
        y, _, _ = torch.native_batch_norm(x, weight, bias, mean, variance, False, 0.0, eps)
        ctx.save_for_backward(x, weight, mean, variance)
        ctx.settings = eps, rows
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, variance = ctx.saved_tensors
        eps, rows = ctx.settings
        if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
            dy = dy.contiguous(memory_format=torch.channels_last)
        dx, dw, db = torch.ops.aten.native_batch_norm_backward(
            dy, x, weight, mean, variance, None, None, False, eps, [True, True, True]
        )
        first = x[:rows]
        a, c = coefficients_of_x(first, weight, mean, (variance + eps).rsqrt(), dw, db)
        dx[:rows].addcmul_(first, by_channel(a, x)).add_(by_channel(c, x))
        return dx, dw, db, None, None


class _CompilableNormByFirst(torch.autograd.Function):
    """The operation by sums and products."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, rows: int) -> Tensor:
        mean, r = mean_and_r(x[:rows], eps)
        ctx.save_for_backward(x, weight, mean, r)
        ctx.rows = rows
        return (x - coefficients(mean, x)) * coefficients(weight * r, x) + coefficients(bias, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, r = ctx.saved_tensors
        dw, db = channel_sums(dy * (x - coefficients(mean, x))) * r, channel_sums(dy)
        dx = dy * coefficients(weight * r, x)
        return (
            dx + by_statistics(x, ctx.rows, coefficients_of_x(x[: ctx.rows], weight, mean, r, dw, db)),
            dw,
            db,
            None,
            None,
        )


def by_statistics(x: Tensor, rows: int, factors: tuple[Tensor, Tensor]) -> Tensor:
    """Return a x + c in the first rows, which have moved the statistics, and zero in the others."""
    a, c = factors
    is_first = torch.arange(len(x), device=x.device).reshape(-1, *[1] * (x.ndim - 1)) < rows
    return torch.where(is_first, x * coefficients(a, x) + coefficients(c, x), 0.0)
