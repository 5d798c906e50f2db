"""Batch normalisation with a second derivative of its own, for single tasks (chapter 9).

``fast_batch_norm`` calls the kernels of PyTorch, and ``compilable_batch_norm`` is written for a compiler. Both have
the value and the first derivative of ``F.batch_norm``, and neither can be differentiated three times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from metasgd.strategies.pooling import has_small_channels


def fast_batch_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Return ``F.batch_norm``, with a second derivative that passes over the data 11 times, instead of some 50 times.

    Small channels are left to PyTorch's function.
    """
    if has_small_channels(x):
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=eps)
    return batch_norm_by(KERNELS, x, weight, bias, eps)


def compilable_batch_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Return ``F.batch_norm``, made of sums and products, which a compiler merges with what comes before and after."""
    return batch_norm_by(SUMS_AND_PRODUCTS, x, weight, bias, eps)


def batch_norm_by(passes: Passes, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Normalise by the given passes over the data; without scale or shift, or with another dtype, by PyTorch."""
    if weight is None or bias is None or x.dtype != weight.dtype:
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=eps)
    y: Tensor = _BatchNorm.apply(x, weight, bias, eps, passes)
    return y


def by_channel(values: Tensor, x: Tensor) -> Tensor:
    """Reshape a vector with a value for each channel so that it broadcasts against x, (examples, channels, ...)."""
    return values.reshape(-1, *[1] * (x.ndim - 2))


def coefficients(values: Tensor, x: Tensor) -> Tensor:
    """Reshape as ``by_channel`` does, and make a compiler store the values in memory.

    Without ``as_strided``, through which Inductor does not merge operations, it would compute the value of a channel
    again for every entry of that channel.
    """
    return by_channel(values.as_strided(values.shape, values.stride()), x)


def channel_sums(x: Tensor) -> Tensor:
    """Return the sum over each channel, taken in two stages: short sums stay in the cache, and round less."""
    x = x.sum(-1) if x.ndim > 2 else x
    return x.sum([0, *range(2, x.ndim)])


class Passes(NamedTuple):
    """The two passes over the data of which batch normalisation and its derivatives are made.

    Attributes, in the symbols of ``_BatchNorm``:
        normalise: ``(x, w, b, eps) -> (y, mean, r)``.
        project: ``(dy, x, w, mean, r, eps) -> (w r P(dy), sum(dy z), sum(dy))``.
    """

    normalise: Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor, Tensor]]
    project: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor, Tensor]]


def normalise_by_kernel(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise by PyTorch's kernel; for images stored channels last, with a mean and a variance of our own."""
    if x.ndim != 4 or not x.is_contiguous(memory_format=torch.channels_last):
        return torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, eps)
    mean, variance = mean_and_variance(x)
    y, _, _ = torch.native_batch_norm(x, weight, bias, mean, variance, False, 0.0, eps)
    return y, mean, (variance + eps).rsqrt()


def mean_and_variance(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the mean and the variance of each channel of images that are stored channels last.

    In this layout PyTorch's own kernel adds up the entries of a channel one after the other, and so loses two digits
    of float32. The mean is subtracted before squaring, as E[x^2] - E[x]^2 would lose all digits where the mean is
    large.
    """
    rows = x.permute(0, 2, 3, 1).flatten(0, 2)
    mean = rows.mean(0)
    return mean, (rows - mean).square_().mean(0)


def project_by_kernel(
    dy: Tensor, x: Tensor, weight: Tensor, mean: Tensor, r: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Project by PyTorch's kernel for the backward pass of batch normalisation."""
    results: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.native_batch_norm_backward(
        dy, x, weight, None, None, mean, r, True, eps, [True, True, True]
    )
    return results


def mean_and_r(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return the mean and r = 1 / sqrt(variance + eps) of each channel, by sums and products alone."""
    n = x.numel() // x.shape[1]
    mean = channel_sums(x) / n
    return mean, (channel_sums((x - coefficients(mean, x)).square()) / n + eps).rsqrt()


def normalise_by_sums(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise by sums and products alone."""
    mean, r = mean_and_r(x, eps)
    return (x - coefficients(mean, x)) * coefficients(weight * r, x) + coefficients(bias, x), mean, r


def project_by_sums(
    dy: Tensor, x: Tensor, weight: Tensor, mean: Tensor, r: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Project by sums and products alone."""
    n = x.numel() // x.shape[1]
    centred = x - coefficients(mean, x)
    db, dw = channel_sums(dy), channel_sums(dy * centred) * r
    dx = dy * coefficients(weight * r, x)
    dx = dx - centred * coefficients(weight * r.square() * dw / n, x) - coefficients(weight * r * db / n, x)
    return dx, dw, db


KERNELS = Passes(normalise_by_kernel, project_by_kernel)
SUMS_AND_PRODUCTS = Passes(normalise_by_sums, project_by_sums)


class _BatchNorm(torch.autograd.Function):
    r"""y = w z + b with z = r (x - mean), r = 1 / sqrt(variance + eps), over the n entries of a channel.

    The backward pass for dy is dx = w r P(dy), dw = sum(dy z), db = sum(dy). The projection
    P(dy) = dy - db / n - z dw / n removes the directions that normalisation undoes: a shift and a scaling of x.
    PyTorch has one kernel for all three.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, passes: Passes) -> Tensor:
        y, mean, r = passes.normalise(x, weight, bias, eps)
        ctx.save_for_backward(x, weight, mean, r)
        ctx.settings = eps, passes
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        return *_BatchNormBackward.apply(dy, *ctx.saved_tensors, *ctx.settings), None, None


class _BatchNormBackward(torch.autograd.Function):
    r"""(dy, x, w) -> (dx, dw, db), and the derivative of <u, dx> + <a, dw> + <c, db> in dy, x and w.

    With s = sum(u P(dy)), and with z and r depending on x by dz = r P(dx) and dr = -r^2 z dx / n:

        in dy   w r P(u) + a z + c
        in w    r s
        in x    r P(p dy + q u) - w r^2 (s / n) z,   p = a - w r mean(u z),   q = -w r mean(dy z)

    The sums that P(p dy + q u) needs follow from those of dy and of u, so that they take no pass over the data.
    """

    @staticmethod
    def forward(
        ctx: Any, dy: Tensor, x: Tensor, weight: Tensor, mean: Tensor, r: Tensor, eps: float, passes: Passes
    ) -> tuple[Tensor, Tensor, Tensor]:
        dx, dw, db = passes.project(dy, x, weight, mean, r, eps)
        ctx.save_for_backward(dy, x, weight, mean, r, dw, db)
        ctx.settings = eps, passes
        return dx, dw, db

    @staticmethod
    def backward(ctx: Any, u: Tensor, a: Tensor, c: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # mean and r are constants here, so that a third derivative would be wrong
            raise RuntimeError("a model that takes derivatives through batch norm itself has no meta-gradient here")
        dy, x, weight, mean, r, dw, db = ctx.saved_tensors
        eps, passes = ctx.settings
        n = x.numel() // x.shape[1]
        projected, uz, u_sum = passes.project(u, x, weight, mean, r, eps)
        s = channel_sums(u * dy) - u_sum * db / n - uz * dw / n
        p, q = a - weight * r * uz / n, -weight * r * dw / n
        along_z = (p * dw + q * uz + weight * r * s) / n
        centred = x - coefficients(mean, x)
        along_dy = projected.addcmul_(centred, coefficients(a * r, x)).add_(coefficients(c, x))
        along_x = (dy * coefficients(r * p, x)).addcmul_(u, coefficients(r * q, x))
        along_x = along_x.addcmul_(centred, coefficients(-r.square() * along_z, x))
        along_x = along_x.sub_(coefficients(r * (p * db + q * u_sum) / n, x))
        return along_dy, along_x, r * s, None, None, None, None
