"""Batch normalisation that can be differentiated twice: fast on a CPU, and correctly under vmap (chapter 9).

Both are modes: within one, every ``F.batch_norm`` that uses the statistics of its batch is computed in another way,
whatever module called it.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

Normalise = Callable[[Tensor, Tensor | None, Tensor | None, float], Tensor]  # (x, weight, bias, eps) -> y
SIGNATURE = inspect.signature(F.batch_norm)


class BatchNormMode(TorchFunctionMode):
    """Send ``F.batch_norm`` in training mode to ``normalise(x, weight, bias, eps)``."""

    def __init__(self, normalise: Normalise) -> None:
        super().__init__()
        self.normalise = normalise

    def __torch_function__(
        self, function: Callable, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call ``normalise`` for a batch norm without running statistics, else the function itself."""
        if function is F.batch_norm:
            call = SIGNATURE.bind(*args, **(kwargs or {}))
            call.apply_defaults()
            given = call.arguments
            if given["training"] and given["running_mean"] is None:
                return self.normalise(given["input"], given["weight"], given["bias"], given["eps"])
        return function(*args, **(kwargs or {}))


def affine_outside(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Scale and shift after ``F.batch_norm``: inside it, the second derivative under vmap is silently wrong."""
    x = F.batch_norm(x, None, None, training=True, eps=eps)
    if weight is not None:
        x = x * by_channel(weight, x)
    return x if bias is None else x + by_channel(bias, x)


def fast_second_derivative(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """The same value as ``F.batch_norm``, with a second derivative that passes over the data 12 times, not some 50."""
    if weight is None or bias is None or x.dtype != weight.dtype:
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=eps)
    return _BatchNorm.apply(x, weight, bias, eps)


def by_channel(values: Tensor, x: Tensor) -> Tensor:
    """Shape one value a channel so that it broadcasts against ``x``, (examples, channels, ...)."""
    return values.reshape(-1, *[1] * (x.ndim - 2))


class _BatchNorm(torch.autograd.Function):
    r"""y = w z + b with z = r (x - mean), r = 1 / sqrt(variance + eps), over the n entries of a channel.

    Its backward pass for dy is dx = w r P(dy), dw = sum(dy z), db = sum(dy), where P(dy) = dy - db / n - z dw / n
    takes out what normalisation undoes. PyTorch has one kernel for all three.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        y, mean, r = torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, eps)
        ctx.save_for_backward(x, weight, mean, r)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        return *_BatchNormBackward.apply(dy, *ctx.saved_tensors, ctx.eps), None


class _BatchNormBackward(torch.autograd.Function):
    r"""(dy, x, w) -> (dx, dw, db), and the derivative of <u, dx> + <a, dw> + <c, db> in dy, x and w.

    With s = sum(u P(dy)), and with z and r depending on x by dz = r P(dx) and dr = -r^2 z dx / n:

        in dy   w r P(u) + a z + c
        in w    r s
        in x    r P((a - w r mean(u z)) dy - w r mean(dy z) u) - w r^2 (s / n) z

    P(u), and P of the combination, come from the kernel of the backward pass.
    """

    @staticmethod
    def forward(
        ctx: Any, dy: Tensor, x: Tensor, weight: Tensor, mean: Tensor, r: Tensor, eps: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        dx, dw, db = project(dy, x, weight, mean, r, eps)
        ctx.save_for_backward(dy, x, weight, mean, r, dw, db)
        ctx.eps = eps
        return dx, dw, db

    @staticmethod
    def backward(ctx: Any, u: Tensor, a: Tensor, c: Tensor) -> tuple[Tensor | None, ...]:
        dy, x, weight, mean, r, dw, db = ctx.saved_tensors
        n = x.numel() // x.shape[1]
        along_dy, uz, u_sum = project(u, x, weight, mean, r, ctx.eps)
        products = (u * dy).movedim(1, -1).reshape(-1, x.shape[1]).sum(0)
        s = products - u_sum * db / n - uz * dw / n
        centred = x - by_channel(mean, x)
        along_dy = along_dy.addcmul_(centred, by_channel(a * r, x)).add_(by_channel(c, x))
        mixed = torch.addcmul(u * by_channel(-weight * r * dw / n, x), dy, by_channel(a - weight * r * uz / n, x))
        along_x, _, _ = project(mixed, x, torch.ones_like(weight), mean, r, ctx.eps)
        along_x = along_x.addcmul_(centred, by_channel(-weight * r.pow(3) * s / n, x))
        return along_dy, along_x, r * s, None, None, None


def project(
    dy: Tensor, x: Tensor, weight: Tensor, mean: Tensor, r: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return (w r P(dy), sum(dy z), sum(dy)) by the kernel of the backward pass of batch normalisation."""
    return torch.ops.aten.native_batch_norm_backward(dy, x, weight, None, None, mean, r, True, eps, [True, True, True])
