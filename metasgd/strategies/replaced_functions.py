"""Functions of PyTorch that the strategies compute in another way, whatever module calls them (chapter 9).

Four tables name a replacement for each of these functions: ``RIGHT_FUNCTIONS`` what PyTorch has wrong everywhere,
which the others contain, ``FAST_FUNCTIONS`` for single tasks,
``COMPILABLE_FUNCTIONS`` for single tasks that a compiler traces, and ``VMAP_SAFE_FUNCTIONS`` for a batch of tasks
under ``vmap``, where the second derivatives of several functions are silently wrong (PyTorch 2.15). Within
``ReplaceFunctions(table)``, a model calls the replacements.
"""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from metasgd._core.private_torch import HARDSIGMOID, WEIGHT_NORM, WEIGHT_NORM_INTERFACE
from metasgd.strategies.batch_norm import by_channel, compilable_batch_norm, fast_batch_norm
from metasgd.strategies.pooling import compilable_max_pool2d, fast_max_pool2d
from metasgd.strategies.recurrent import DIFFERENTIABLE_FUNCTIONS, RECURRENT_FUNCTIONS

Function = Callable[..., Any]
BatchNorm = Callable[[Tensor, Tensor | None, Tensor | None, float], Tensor]  # (x, weight, bias, eps) -> y
BATCH_NORM_SIGNATURE = inspect.signature(F.batch_norm)


class ReplaceFunctions(TorchFunctionMode):
    """The context in which functions of PyTorch are replaced: ``replacements[function]`` is called in its place."""

    def __init__(self, replacements: Mapping[Function, Function]) -> None:
        super().__init__()
        self.replacements = replacements

    def __torch_function__(
        self,
        function: Function,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call the replacement of a function, or the function itself if it has none."""
        return self.replacements.get(function, function)(*args, **(kwargs or {}))


def replacement_of_batch_norm(normalise: BatchNorm) -> Function:
    """Return a function with the signature of ``F.batch_norm`` that calls ``normalise(x, weight, bias, eps)``.

    That is for batches normalised by their own statistics. If running statistics are given, PyTorch's function is
    called with everything as it is, since it also updates or uses these.
    """

    def batch_norm(*args: Any, **kwargs: Any) -> Tensor:
        call = BATCH_NORM_SIGNATURE.bind(*args, **kwargs)
        call.apply_defaults()
        given = call.arguments
        if not given["training"] or given["running_mean"] is not None:
            return F.batch_norm(*args, **kwargs)
        return normalise(given["input"], given["weight"], given["bias"], given["eps"])

    return batch_norm


def weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """Return ``g v / |v|``, whose second derivative is wrong in PyTorch's kernel, under vmap or not (PyTorch 2.15)."""
    dimensions = [d for d in range(v.ndim) if d != dim % v.ndim] if dim != -1 else list(range(v.ndim))
    return v * (g / v.square().sum(dimensions, keepdim=True).sqrt())


def hardsigmoid(input: Tensor, inplace: bool = False) -> Tensor:
    """Return what ``F.hardsigmoid`` does, which has no second derivative in PyTorch."""
    return F.hardtanh(input + 3, 0.0, 6.0) / 6


def weight_norm_interface(v: Tensor, g: Tensor, dim: int = 0) -> tuple[Tensor, Tensor]:
    """Return what the operator behind ``torch._weight_norm`` does: the result and the norms."""
    dimensions = [d for d in range(v.ndim) if d != dim]
    return weight_norm(v, g, dim), v.square().sum(dimensions, keepdim=True).sqrt()


def vmap_safe_batch_norm(x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float) -> Tensor:
    """Scale and shift after ``F.batch_norm``: inside it, the second derivative under vmap is silently wrong."""
    x = F.batch_norm(x, None, None, training=True, eps=eps)
    if weight is not None:
        x = x * by_channel(weight, x)
    return x if bias is None else x + by_channel(bias, x)


def vmap_safe_layer_norm(
    input: Tensor,
    normalized_shape: Sequence[int],
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    """Scale and shift after ``F.layer_norm``, which under vmap has the fault of ``F.batch_norm``."""
    x = F.layer_norm(input, list(normalized_shape), None, None, eps)
    x = x if weight is None else x * weight
    return x if bias is None else x + bias


def native_layer_norm(
    input: Tensor, normalized_shape: Sequence[int], weight: Tensor | None, bias: Tensor | None, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what ``torch.native_layer_norm`` does, whose mean and 1 / deviation have no derivatives in PyTorch."""
    dimensions = list(range(-len(normalized_shape), 0))
    mean = input.mean(dimensions, keepdim=True)
    r = ((input - mean).square().mean(dimensions, keepdim=True) + eps).rsqrt()
    return vmap_safe_layer_norm(input, normalized_shape, weight, bias, eps), mean, r


def vmap_safe_instance_norm(
    input: Tensor,
    running_mean: Tensor | None = None,
    running_var: Tensor | None = None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    use_input_stats: bool = True,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Scale and shift after ``F.instance_norm``, which calls the kernel of ``F.batch_norm``."""
    x = F.instance_norm(input, running_mean, running_var, None, None, use_input_stats, momentum, eps)
    x = x if weight is None else x * by_channel(weight, x)
    return x if bias is None else x + by_channel(bias, x)


def torch_instance_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool,
) -> Tensor:
    """Stand for ``torch.instance_norm``, which has its arguments in another order than ``F.instance_norm``."""
    return vmap_safe_instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def torch_batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Tensor:
    """Stand for ``torch.batch_norm``, which has its arguments in another order than ``F.batch_norm``."""
    if not training or running_mean is not None:
        return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)
    return vmap_safe_batch_norm(input, weight, bias, eps)


def native_batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Tensor, Tensor, Tensor]:
    """Return what ``torch.native_batch_norm`` does, whose mean and 1 / deviation have no derivatives in PyTorch."""
    if not training or running_mean is not None:
        return torch.native_batch_norm(input, weight, bias, running_mean, running_var, training, momentum, eps)
    dimensions = [0, *range(2, input.ndim)]
    mean = input.mean(dimensions)
    r = ((input - by_channel(mean, input)).square().mean(dimensions) + eps).rsqrt()
    return vmap_safe_batch_norm(input, weight, bias, eps), mean, r


def vmap_safe_embedding(
    input: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Keep the gradient from the padding's row after ``F.embedding``, which under vmap does so for one task only."""
    if scale_grad_by_freq:
        raise RuntimeError(
            "nn.Embedding(scale_grad_by_freq=True) would count the rows of all tasks together under vmap; use "
            "strategy='loop'"
        )
    rows = F.embedding(input, weight, None, max_norm, norm_type, False, sparse)
    if padding_idx is not None:
        rows = torch.where((input == padding_idx % len(weight))[..., None], rows.detach(), rows)
    return rows


def torch_embedding(
    weight: Tensor,
    indices: Tensor,
    padding_idx: int = -1,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """Stand for ``torch.embedding``, where a padding below 0 means that there is none."""
    padding = padding_idx if padding_idx >= 0 else None
    return vmap_safe_embedding(indices, weight, padding, scale_grad_by_freq=scale_grad_by_freq, sparse=sparse)


def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """Return ``input`` with ``src`` at a place of a dimension, as ``torch.select_scatter`` does."""
    size = input.shape[dim]
    index = index % size
    parts = [input.narrow(dim, 0, index), src.unsqueeze(dim), input.narrow(dim, index + 1, size - index - 1)]
    return torch.cat(parts, dim)


def view_of_any_layout(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """View a tensor in another shape; one stored channels last, of which its model knows nothing, is copied first."""
    try:
        return x.view(*args, **kwargs)
    except RuntimeError:
        return x.contiguous().view(*args, **kwargs)


def refused_hook(*args: Any, **kwargs: Any) -> Any:
    """Refuse a hook on a tensor: by the adjoint method, what comes to it is only a part of the gradient."""
    raise RuntimeError("the model registers a hook on a tensor, which is called by strategy='loop' alone")


def refused_numbers(*args: Any, **kwargs: Any) -> Any:
    """Refuse to read numbers out of a tensor."""
    raise RuntimeError("the model or the loss reads numbers out of a tensor, which would stay as they are now")


# What PyTorch has wrong, or lacks, under every strategy.
RIGHT_FUNCTIONS: dict[Function, Function] = {
    F.hardsigmoid: hardsigmoid,
    HARDSIGMOID: hardsigmoid,
    WEIGHT_NORM: weight_norm,
    torch.ops.aten._weight_norm: weight_norm,
    torch.ops.aten._weight_norm.default: weight_norm,
    WEIGHT_NORM_INTERFACE: weight_norm_interface,
    torch.ops.aten._weight_norm_interface: weight_norm_interface,
    torch.ops.aten._weight_norm_interface.default: weight_norm_interface,
    torch.native_layer_norm: native_layer_norm,
    torch.native_batch_norm: native_batch_norm,
    **DIFFERENTIABLE_FUNCTIONS,
}
FAST_FUNCTIONS: dict[Function, Function] = {
    **RIGHT_FUNCTIONS,
    F.batch_norm: replacement_of_batch_norm(fast_batch_norm),
    F.max_pool2d: fast_max_pool2d,
    Tensor.view: view_of_any_layout,
    Tensor.register_hook: refused_hook,
}
COMPILABLE_FUNCTIONS: dict[Function, Function] = {
    **RIGHT_FUNCTIONS,
    F.batch_norm: replacement_of_batch_norm(compilable_batch_norm),
    F.max_pool2d: compilable_max_pool2d,
    Tensor.view: view_of_any_layout,
    Tensor.register_hook: refused_hook,
    Tensor.numpy: refused_numbers,
    Tensor.__array__: refused_numbers,
    Tensor.tolist: refused_numbers,
}
VMAP_SAFE_FUNCTIONS: dict[Function, Function] = {
    **RIGHT_FUNCTIONS,
    F.batch_norm: replacement_of_batch_norm(vmap_safe_batch_norm),
    torch.batch_norm: torch_batch_norm,
    F.layer_norm: vmap_safe_layer_norm,
    torch.layer_norm: vmap_safe_layer_norm,
    F.instance_norm: vmap_safe_instance_norm,
    torch.instance_norm: torch_instance_norm,
    F.embedding: vmap_safe_embedding,
    torch.embedding: torch_embedding,
    torch.select_scatter: select_scatter,
    Tensor.select_scatter: select_scatter,
    **RECURRENT_FUNCTIONS,
    Tensor.register_hook: refused_hook,
}
