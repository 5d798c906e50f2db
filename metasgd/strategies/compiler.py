"""Compilation of a whole meta-gradient, second derivatives included (chapter 10)."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from metasgd._core.learner import TensorFunction
from metasgd._core.private_torch import inductor_compile

if TYPE_CHECKING:
    from torch.fx import GraphModule

# With these thresholds, Inductor computes a value again wherever it is needed, and does not write it to memory and
# read it back. Each value between normalisation, pooling and ReLU takes only a few operations to compute, while all
# of them together, for one task of a convnet, take 15 MB.
OPTIONS = {"realize_reads_threshold": 40, "realize_opcount_threshold": 400, "realize_acc_reads_threshold": 60}
MAX_SUMMED_PRODUCT = 2**16  # multiplications; a larger product is worth the call of a library of linear algebra


def compile_or_warn(function: TensorFunction, inputs: Sequence[Tensor]) -> TensorFunction | None:
    """Return a function of tensors compiled for inputs like those given, or warn and return None if that fails.

    The function is traced into one graph of tensor operations, through autograd and vmap. The graph is then given to
    Inductor, the compiler behind ``torch.compile``. ``torch.compile`` itself would check at every call whether the
    graph is still valid, which takes a noticeable part of the time of a small network.
    """
    from torch.fx.experimental.proxy_tensor import make_fx

    try:
        inputs = list(map(copy_of, inputs))  # a model may write into them, as it is traced, and as it is tried
        graph = make_fx(function, decomposition_table={torch.ops.aten.mm.default: thin_product})(*inputs)
        if inputs[0].device.type == "cuda":
            return compile_by_inductor(graph, inputs, {})
        for node in graph.graph.nodes:
            node.meta.clear()  # notes of the trace on each value, which cpp_wrapper cannot read
        # With cpp_wrapper, C++ calls the kernels. Python would take longer for that than small kernels run, and other
        # threads would have to wait for it. Not every version of PyTorch has it, and not for every operation.
        with contextlib.suppress(Exception):
            return compile_by_inductor(graph, inputs, OPTIONS | {"cpp_wrapper": True})
        return compile_by_inductor(graph, inputs, OPTIONS)
    except torch.cuda.OutOfMemoryError:  # the caller tries again with fewer tasks at a time
        raise
    except Exception as error:  # whatever a compiler may raise; wrong inputs raise their error again uncompiled
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(f"the meta-gradient runs uncompiled, as compilation failed: {reason}", RuntimeWarning, 2)
        return None


def copy_of(tensor: Tensor) -> Tensor:
    """Return a copy in the same layout; a tensor of which several entries share a place cannot be written into."""
    if any(size > 1 and stride == 0 for size, stride in zip(tensor.shape, tensor.stride(), strict=True)):
        return tensor
    return torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device).copy_(tensor)


def compile_by_inductor(graph: GraphModule, inputs: Sequence[Tensor], options: dict[str, Any]) -> TensorFunction:
    """Return a graph compiled and called once. Its derivatives are in the graph, so that it needs no autograd."""
    with torch.no_grad(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="torch._inductor")  # hints on TF32, and on sums on a GPU
        compiled = inductor_compile(graph, list(inputs), options=options)

    def call(*tensors: Tensor) -> Any:
        with torch.no_grad():
            return compiled(*tensors)

    call(*inputs)
    return call


def thin_product(a: Tensor, b: Tensor) -> Tensor:
    """Write a small matrix product in which one size is 1 as a sum of products, on a CPU.

    Inductor merges such a sum with the operations before and after it, while a matrix product is a call of a library.
    Any other product returns ``NotImplemented``, which leaves it as it is.
    """
    rows, inner, columns = *a.shape, b.shape[1]
    is_small = rows * inner * columns <= MAX_SUMMED_PRODUCT and a.is_floating_point() and a.device.type == "cpu"
    if not is_small or 1 not in (rows, inner, columns):
        return NotImplemented  # type: ignore[no-any-return]
    return a * b if inner == 1 else (a.unsqueeze(2) * b).sum(1)
