"""Normalisation that can be differentiated twice: fast on a CPU, and correctly under vmap (chapter 9).

A model is called within ``Replacing``, which computes some functions of PyTorch in another way, whatever module calls
them: ``ONE_BY_ONE`` for a task alone, ``ONE_BY_ONE_COMPILED`` for the same in front of a compiler, and ``UNDER_VMAP``
for many at once, where the derivatives of several functions are silently wrong (PyTorch 2.15).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from metasgd.strategies.pooling import is_small, max_pool2d, max_pool2d_by_places

Function = Callable[..., Any]
Normalise = Callable[[Tensor, Tensor | None, Tensor | None, float], Tensor]  # (x, weight, bias, eps) -> y
SIGNATURE = inspect.signature(F.batch_norm)


class Replacing(TorchFunctionMode):
    """Call other functions in the place of some: ``replacements`` has the other by the one."""

    def __init__(self, replacements: Mapping[Function, Function]) -> None:
        super().__init__()
        self.replacements = replacements

    def __torch_function__(
        self, function: Function, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call the replacement of a function, or the function itself."""
        return self.replacements.get(function, function)(*args, **(kwargs or {}))


def batch_norm_by(normalise: Normalise) -> Function:
    """Return ``F.batch_norm`` with ``normalise(x, weight, bias, eps)`` in it, where x has no running statistics."""

    def batch_norm(*args: Any, **kwargs: Any) -> Tensor:
        call = SIGNATURE.bind(*args, **kwargs)
        call.apply_defaults()
        given = call.arguments
        if not given["training"] or given["running_mean"] is not None:
            return F.batch_norm(*args, **kwargs)
        return normalise(given["input"], given["weight"], given["bias"], given["eps"])

    return batch_norm


def affine_outside(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Scale and shift after ``F.batch_norm``: inside it, the second derivative under vmap is silently wrong."""
    x = F.batch_norm(x, None, None, training=True, eps=eps)
    if weight is not None:
        x = x * by_channel(weight, x)
    return x if bias is None else x + by_channel(bias, x)


def layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None = None, bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Scale and shift after ``F.layer_norm``, which under vmap is wrong as batch normalisation is."""
    x = F.layer_norm(input, normalized_shape, None, None, eps)
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def instance_norm(
    input: Tensor, running_mean: Tensor | None = None, running_var: Tensor | None = None,
    weight: Tensor | None = None, bias: Tensor | None = None, use_input_stats: bool = True, momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:  # fmt: skip
    """Scale and shift after ``F.instance_norm``, which is batch normalisation inside."""
    x = F.instance_norm(input, running_mean, running_var, None, None, use_input_stats, momentum, eps)
    x = x if weight is None else x * by_channel(weight, x)
    return x if bias is None else x + by_channel(bias, x)


def embedding(input: Tensor, weight: Tensor, padding_idx: int | None = None, *args: Any, **kwargs: Any) -> Tensor:
    """Keep the gradient from the padding's row after ``F.embedding``, which under vmap does so for one task only."""
    rows = F.embedding(input, weight, None, *args, **kwargs)
    if padding_idx is None:
        return rows
    return torch.where((input == padding_idx % len(weight))[..., None], rows.detach(), rows)


def view(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """View a tensor in another shape, also where it is stored channels last, unknown to the model."""
    try:
        return x.view(*args, **kwargs)
    except RuntimeError:
        return x.contiguous().view(*args, **kwargs)


def fast_second_derivative(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """The same value as ``F.batch_norm``, with a second derivative that passes over the data 11 times, not some 50."""
    if is_small(x):
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=eps)
    return with_passes(KERNELS, x, weight, bias, eps)


def for_the_compiler(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """The same value and derivatives, in sums and products that a compiler joins with what comes before and after."""
    return with_passes(SUMS_AND_PRODUCTS, x, weight, bias, eps)


def with_passes(passes: Passes, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Normalise with given passes over the data, where there is a scale, a shift and one type."""
    if weight is None or bias is None or x.dtype != weight.dtype:
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=eps)
    return _BatchNorm.apply(x, weight, bias, eps, passes)


def by_channel(values: Tensor, x: Tensor) -> Tensor:
    """Shape one value a channel so that it broadcasts against ``x``, (examples, channels, ...)."""
    return values.reshape(-1, *[1] * (x.ndim - 2))


def coefficients(values: Tensor, x: Tensor) -> Tensor:
    """Shape one value a channel as ``by_channel`` does, and let a compiler store it: it looks through no stride.

    Otherwise it would work the value out again for every entry of ``x``.
    """
    return by_channel(values.as_strided(values.shape, values.stride()), x)


def channel_sums(x: Tensor) -> Tensor:
    """Add up each channel, the last dimension first: short sums stay in the cache, and lose fewer digits."""
    x = x.sum(-1) if x.ndim > 2 else x
    return x.sum([0, *range(2, x.ndim)])


class Passes(NamedTuple):
    """The passes over the data that batch normalisation and its derivatives are made of.

    In the symbols of ``_BatchNorm``: ``normalise(x, w, b, eps)`` returns ``(y, mean, r)``, and
    ``project(dy, x, w, mean, r, eps)`` returns ``(w r P(dy), sum(dy z), sum(dy))``.
    """

    normalise: Callable[[Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor, Tensor]]
    project: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor, float], tuple[Tensor, Tensor, Tensor]]


def normalise_by_kernel(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise by PyTorch's kernel."""
    if x.ndim != 4 or not x.is_contiguous(memory_format=torch.channels_last):
        return torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, eps)
    mean, variance = mean_and_variance(x)
    y, _, _ = torch.native_batch_norm(x, weight, bias, mean, variance, False, 0.0, eps)
    return y, mean, (variance + eps).rsqrt()


def mean_and_variance(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return both for each channel of images that are stored channels last.

    In this layout PyTorch's kernel adds a channel up entry by entry, which costs float32 two digits.
    """
    rows = x.permute(0, 2, 3, 1).flatten(0, 2)
    mean = rows.mean(0)
    return mean, (rows - mean).square_().mean(0)


def project_by_kernel(
    dy: Tensor, x: Tensor, weight: Tensor, mean: Tensor, r: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Project by the kernel of the backward pass of batch normalisation."""
    return torch.ops.aten.native_batch_norm_backward(dy, x, weight, None, None, mean, r, True, eps, [True, True, True])


def mean_and_r(x: Tensor, eps: float) -> tuple[Tensor, Tensor]:
    """Return the mean and 1 / deviation of each channel, by sums and products alone."""
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

    Its backward pass for dy is dx = w r P(dy), dw = sum(dy z), db = sum(dy), where P(dy) = dy - db / n - z dw / n
    takes out what normalisation undoes. PyTorch has one kernel for all three.
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

    The sums in the last P are those of dy and of u, which are known by then.
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
        if torch.is_grad_enabled():  # mean and r count as constants here, so that one more would be wrong
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


ONE_BY_ONE: dict[Function, Function] = {
    F.batch_norm: batch_norm_by(fast_second_derivative),
    F.max_pool2d: max_pool2d_by_places,
    Tensor.view: view,
}
ONE_BY_ONE_COMPILED: dict[Function, Function] = {
    F.batch_norm: batch_norm_by(for_the_compiler),
    F.max_pool2d: max_pool2d,
    Tensor.view: view,
}
UNDER_VMAP: dict[Function, Function] = {
    F.batch_norm: batch_norm_by(affine_outside),
    F.layer_norm: layer_norm,
    F.instance_norm: instance_norm,
    F.embedding: embedding,
}
