"""Batch normalisation in front of max-pooling, done on what pooling leaves: a quarter of the entries (chapter 9).

A normalised channel is y = w z + b with z = r (x - mean). Where w > 0, y grows with x, so the largest y of a window is
that of the largest x, and where w < 0, of the smallest: pool first, and normalise what is left. The mean and r still
come from all entries. The maximum of a ReLU is the ReLU of the maximum, so one of these may stand between.

For dy, which is on windows, z at their maxima, and dw = sum(dy z), db = sum(dy), the derivative in x is
w r (dy - db / n - z dw / n), over the n entries of a channel, with dy at the places of the maxima and zero elsewhere.
So it is a x + c everywhere, and w r dy more at these places, for a = -w r^2 dw / n and c = -w r db / n - a mean.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from metasgd.strategies.batch_norm import by_channel, channel_sums, coefficients, mean_and_r, mean_and_variance
from metasgd.strategies.pooling import LARGEST_WINDOW, at_places, entries, is_small, pair, plain_window

HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def pooling_first(model: nn.Module, *, compiled: bool = False) -> nn.Module:
    """Let every ``nn.Sequential`` in a model pool first, from now on, and return the model.

    Its modules and parameters stay what and where they are. The result cannot be differentiated twice.
    """
    for module in model.modules():
        if type(module) is nn.Sequential:
            module.__class__ = PoolingFirstCompiled if compiled else PoolingFirst
    return model


class PoolingFirst(nn.Sequential):
    """Layers one after the other, where batch normalisation and the max-pooling after it are one."""

    def forward(self, input: Tensor) -> Tensor:
        """Return the output of the last layer."""
        layers: list[Any] = list(self)
        x = input
        for index, layer in enumerate(layers):
            after = index + 1
            after += after < len(layers) and type(layers[after]) is nn.ReLU and not has_hooks(layers[after])
            pooled = None
            if after < len(layers) and are_norm_and_pooling(layer, layers[after], x):
                # A convolution gives its output to nobody else, and forgets it: its memory serves on the way back.
                is_free = index > 0 and type(layers[index - 1]) is nn.Conv2d and not has_hooks(layers[index - 1])
                pooled = self.pooled(layer, pair(layers[after].kernel_size), x, is_free)
            if pooled is None:
                x = layer(x)
            else:
                x, layers[after] = pooled, nn.Identity()
        return x

    def pooled(self, norm: Any, window: tuple[int, int], x: Tensor, is_free: bool) -> Tensor | None:
        """Return normalised maxima where that is done and pays: by positive scales, of large images, channels last."""
        if is_small(x) or not x.is_contiguous(memory_format=torch.channels_last) or not (norm.weight > 0).all():
            return None
        return _PooledBatchNorm.apply(x, norm.weight, norm.bias, norm.eps, window, is_free)


class PoolingFirstCompiled(PoolingFirst):
    """The same for a compiler: by sums, products and choices, for scales of any sign."""

    def pooled(self, norm: Any, window: tuple[int, int], x: Tensor, is_free: bool) -> Tensor | None:
        """Return normalised maxima, if windows are small."""
        if window[0] * window[1] > LARGEST_WINDOW:
            return None
        return _PooledBatchNormByChoices.apply(x, norm.weight, norm.bias, norm.eps, window)


def are_norm_and_pooling(norm: Any, pool: Any, x: Tensor) -> bool:
    """Tell whether two layers are batch normalisation, with the input's own statistics, and plain max-pooling.

    Nobody must look at what is between them.
    """
    if type(norm) is not nn.BatchNorm2d or type(pool) is not nn.MaxPool2d:
        return False
    if norm.running_mean is not None or norm.weight is None or has_hooks(norm) or has_hooks(pool):
        return False
    settings = {name: getattr(pool, name) for name in ("padding", "dilation", "ceil_mode", "return_indices")}
    return x.dtype == norm.weight.dtype and plain_window(x, pool.kernel_size, pool.stride, **settings) is not None


def has_hooks(module: nn.Module) -> bool:
    """Tell whether somebody looks at a module's input or output."""
    return any(getattr(module, name) for name in HOOKS)


class _PooledBatchNorm(torch.autograd.Function):
    """By kernels, for w > 0. The derivative is written over x where that ``is_free``."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, window: tuple[int, int], is_free: bool
    ) -> Tensor:
        mean, variance = mean_and_variance(x)
        maxima, places = torch.ops.aten.max_pool2d_with_indices(x, window, window)
        y, _, _ = torch.native_batch_norm(maxima, weight, bias, mean, variance, False, 0.0, eps)
        # Places in their picture become places in memory, where the channels of a pixel lie side by side.
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
        more = torch.mul(dy, by_channel(weight * r, dy), out=maxima)  # in the memory of what has served
        dx = x if is_free else torch.empty_like(x)
        torch.addcmul(by_channel(c, x), x, by_channel(a, x), out=dx)
        in_memory(dx).scatter_add_(0, in_memory(places), in_memory(more))
        return dx, dw, db, None, None, None


class _PooledBatchNormByChoices(torch.autograd.Function):
    """By sums, products and choices. Where w = 0 all y are equal, and the first one of a window counts."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, window: tuple[int, int]) -> Tensor:
        mean, r = mean_and_r(x, eps)
        sign = coefficients(weight.sign(), x)
        maxima, *others = entries(x, window)
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
    """Return a and c of the derivative, for each channel."""
    n = x.numel() // x.shape[1]
    a = -weight * r.square() * dw / n
    return a, -weight * r * db / n - a * mean


def in_memory(x: Tensor) -> Tensor:
    """Return the entries of a tensor that is stored channels last, as they lie in memory."""
    return x.permute(0, 2, 3, 1).reshape(-1)
