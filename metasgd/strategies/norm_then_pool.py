"""Batch normalisation followed by max-pooling, computed in the opposite order: a quarter of the work (chapter 9).

A normalised channel is y = w z + b with z = r (x - mean). If w > 0, y grows with x, so that the largest y of a window
is that of its largest x; if w < 0, that of its smallest x. So we can pool first, and normalise only what is left,
which with windows of 2 x 2 is a quarter of the entries. The mean and r still come from all entries. A ReLU may stand
between the two layers, as the maximum of a ReLU is the ReLU of the maximum.

The backward pass: dy has one entry for each window, z is taken at the maxima, dw = sum(dy z) and db = sum(dy). The
derivative in x is w r (dy - db / n - z dw / n), where n is the number of entries of a channel and dy counts as zero
everywhere but at the places of the maxima. In other words, it is a x + c everywhere, with a = -w r^2 dw / n and
c = -w r db / n - a mean, plus w r dy at these places.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from metasgd.strategies.batch_norm import by_channel, channel_sums, coefficients, mean_and_r, mean_and_variance
from metasgd.strategies.pooling import (
    LARGEST_WINDOW,
    at_places,
    has_small_channels,
    pair,
    plain_window,
    window_entries,
)

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def pool_before_norm(model: nn.Module, *, compilable: bool = False) -> nn.Module:
    """Make every ``nn.Sequential`` in a model pool before it normalises, and return the model.

    The model is changed in place; its modules and parameters keep their names. It can no longer be differentiated
    twice.

    Args:
        model: any module.
        compilable: whether to use the form for a compiler.
    """
    for module in model.modules():
        if type(module) is nn.Sequential:
            module.__class__ = CompilablePoolBeforeNorm if compilable else PoolBeforeNorm
    return model


class PoolBeforeNorm(nn.Sequential):
    """Layers one after the other, where batch normalisation and the max-pooling that follows it are one operation."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the output of the last layer."""
        layers: list[Any] = list(self)
        x = input
        for index, layer in enumerate(layers):
            after = index + 1
            after += after < len(layers) and type(layers[after]) is nn.ReLU and not has_hooks(layers[after])
            pooled = None
            if after < len(layers) and are_norm_and_pooling(layer, layers[after], x):
                # No other layer uses the output of a convolution, and the convolution does not keep it. So the
                # backward pass may overwrite it.
                is_free = index > 0 and type(layers[index - 1]) is nn.Conv2d and not has_hooks(layers[index - 1])
                pooled = self.normalised_maxima(layer, pair(layers[after].kernel_size), x, is_free)
            if pooled is None:
                x = layer(x)
            else:
                x, layers[after] = pooled, nn.Identity()
        return x

    def normalised_maxima(self, norm: Any, window: tuple[int, int], x: Tensor, is_free: bool) -> Tensor | None:
        """Return the normalised maxima, or None where that is not possible or does not pay.

        It is done for large images that are stored channels last, with positive scales.
        """
        if has_small_channels(x) or not x.is_contiguous(memory_format=torch.channels_last):
            return None
        if not (norm.weight > 0).all():
            return None
        y: Tensor = _PooledBatchNorm.apply(x, norm.weight, norm.bias, norm.eps, window, is_free)
        return y


class CompilablePoolBeforeNorm(PoolBeforeNorm):
    """The same for a compiler: by sums, products and comparisons, for scales of any sign."""

    def normalised_maxima(self, norm: Any, window: tuple[int, int], x: Tensor, is_free: bool) -> Tensor | None:
        """Return the normalised maxima, or None if windows are large."""
        if window[0] * window[1] > LARGEST_WINDOW:
            return None
        y: Tensor = _CompilablePooledBatchNorm.apply(x, norm.weight, norm.bias, norm.eps, window)
        return y


def are_norm_and_pooling(norm: Any, pool: Any, x: Tensor) -> bool:
    """Tell whether two layers are batch normalisation by the statistics of the input x, and plain max-pooling.

    Neither may have a hook, which would see that the result between them is missing.
    """
    if type(norm) is not nn.BatchNorm2d or type(pool) is not nn.MaxPool2d:
        return False
    if norm.running_mean is not None or norm.weight is None or has_hooks(norm) or has_hooks(pool):
        return False
    settings = {name: getattr(pool, name) for name in ("padding", "dilation", "ceil_mode", "return_indices")}
    return x.dtype == norm.weight.dtype and plain_window(x, pool.kernel_size, pool.stride, **settings) is not None


def has_hooks(module: nn.Module) -> bool:
    """Tell whether a hook sees a module's input, output or derivatives."""
    return any(getattr(module, name) for name in HOOKS)


class _PooledBatchNorm(torch.autograd.Function):
    """The operation by PyTorch's kernels, for w > 0. If x ``is_free``, the derivative in x is written over it."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, window: tuple[int, int], is_free: bool
    ) -> Tensor:
        mean, variance = mean_and_variance(x)
        maxima, places = torch.ops.aten.max_pool2d_with_indices(x, window, window)
        y, _, _ = torch.native_batch_norm(maxima, weight, bias, mean, variance, False, 0.0, eps)
        # From indices into an image of one channel to indices into memory, where the channels of a pixel are
        # neighbours.
        examples, channels, *size = x.shape
        starts = torch.arange(examples, device=x.device) * (channels * size[0] * size[1])
        starts = starts[:, None, None, None] + by_channel(torch.arange(channels, device=x.device), x)
        places = places.mul_(channels).add_(starts)
        ctx.save_for_backward(x, maxima, places, weight, mean, (variance + eps).rsqrt())
        ctx.settings = eps, is_free
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, maxima, places, weight, mean, r = ctx.saved_tensors
        eps, is_free = ctx.settings
        dy = dy.contiguous(memory_format=torch.channels_last)
        _, dw, db = torch.ops.aten.native_batch_norm_backward(
            dy, maxima, weight, None, None, mean, r, True, eps, [False, True, True]
        )
        a, c = coefficients_of_x(x, weight, mean, r, dw, db)
        at_maxima = torch.mul(dy, by_channel(weight * r, dy), out=maxima)  # reuses the memory of the maxima
        dx = x if is_free else torch.empty_like(x)
        torch.addcmul(by_channel(c, x), x, by_channel(a, x), out=dx)
        in_memory(dx).scatter_add_(0, in_memory(places), in_memory(at_maxima))
        return dx, dw, db, None, None, None


class _CompilablePooledBatchNorm(torch.autograd.Function):
    """The operation by sums, products and comparisons, for all w.

    If w = 0, all y of a window are equal, and its first entry is taken for the maximum, as PyTorch does.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, window: tuple[int, int]) -> Tensor:
        mean, r = mean_and_r(x, eps)
        sign = coefficients(weight.sign(), x)
        maxima, *others = window_entries(x, window)
        place = torch.zeros_like(maxima)
        for number, entry in enumerate(others, 1):
            is_larger = (entry - maxima) * sign > 0
            place = torch.where(is_larger, float(number), place)
            maxima = torch.where(is_larger, entry, maxima)
        ctx.save_for_backward(x, maxima, place, weight, mean, r)
        ctx.window = window
        return (maxima - coefficients(mean, x)) * coefficients(weight * r, x) + coefficients(bias, x)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        x, maxima, place, weight, mean, r = ctx.saved_tensors
        dw, db = channel_sums(dy * (maxima - coefficients(mean, x))) * r, channel_sums(dy)
        a, c = coefficients_of_x(x, weight, mean, r, dw, db)
        dx = x * coefficients(a, x) + coefficients(c, x)
        return dx + at_places(dy * coefficients(weight * r, x), place, x.shape[2:], ctx.window), dw, db, None, None


def coefficients_of_x(
    x: Tensor, weight: Tensor, mean: Tensor, r: Tensor, dw: Tensor, db: Tensor
) -> tuple[Tensor, Tensor]:
    """Return, for each channel, a and c of the derivative a x + c (see the docstring of this module)."""
    n = x.numel() // x.shape[1]
    a = -weight * r.square() * dw / n
    return a, -weight * r * db / n - a * mean


def in_memory(x: Tensor) -> Tensor:
    """Return the entries of images that are stored channels last in the order in which they lie in memory."""
    return x.permute(0, 2, 3, 1).reshape(-1)
