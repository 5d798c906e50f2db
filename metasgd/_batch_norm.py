"""Normalisation that can be differentiated twice: fast on a CPU, and correctly under vmap (chapter 9).

A model is called within ``Replacing``, which computes some functions of PyTorch in another way, whatever module calls
them: ``ONE_BY_ONE`` for a task alone, ``UNDER_VMAP`` for many at once, where the derivatives of several functions are
silently wrong (PyTorch 2.15).
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

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
        if x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last):
            # In this layout PyTorch's kernel adds a channel up entry by entry, which costs float32 two digits.
            rows = x.permute(0, 2, 3, 1).flatten(0, 2)
            mean = rows.mean(0)
            variance = (rows - mean).square_().mean(0)
            y, _, _ = torch.native_batch_norm(x, weight, bias, mean, variance, False, 0.0, eps)
            r = (variance + eps).rsqrt()
        else:
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
        if torch.is_grad_enabled():  # mean and r count as constants here, so that one more would be wrong
            raise RuntimeError("a model that takes derivatives through batch norm itself has no meta-gradient here")
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


ONE_BY_ONE: dict[Function, Function] = {F.batch_norm: batch_norm_by(fast_second_derivative), Tensor.view: view}
UNDER_VMAP: dict[Function, Function] = {
    F.batch_norm: batch_norm_by(affine_outside),
    F.layer_norm: layer_norm,
    F.instance_norm: instance_norm,
    F.embedding: embedding,
}
