"""Compilation of a whole meta-gradient, with the second derivatives in it (chapter 10)."""

import contextlib
import threading
import warnings
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx

Function = Callable[..., Any]
# Work out a value again wherever it is needed, rather than write it to memory and read it back: the values between
# normalisation, pooling and ReLU cost a few operations each, and fill 15 MB for one task of a convnet.
OPTIONS = {"realize_reads_threshold": 40, "realize_opcount_threshold": 400, "realize_acc_reads_threshold": 60}
SMALL = 2**16  # multiplications that take no longer than it takes to call a library for them, on a CPU


class Compiled:
    """Compiled forms of functions of tensors, one for each key and each set of shapes.

    A function is first traced into one graph of tensor operations, through autograd and vmap, and the graph is then
    given to Inductor, the compiler behind ``torch.compile``, whose own checks of every call a small network would
    feel. Where that fails, e.g. for want of a C++ compiler, a warning says so. A copy of the object starts empty.

    Forms of another kind are those that ``make(function, inputs)`` makes. At most ``most`` are kept, the newest ones.
    """

    def __init__(
        self,
        make: Callable[[Function, Sequence[Tensor]], Function | None] | None = None,
        most: int | None = None,
    ) -> None:
        self._make, self._most = make or compile_or_warn, most
        self._functions: dict[Hashable, Function | None] = {}  # None: could not be compiled
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple:
        return Compiled, (self._make, self._most)

    def find(self, key: Hashable, function: Function, inputs: Sequence[Tensor]) -> Function | None:
        """Return ``function`` compiled for such inputs, at the first call, or None where that fails.

        Calls of one key are compiled once: their functions must differ in nothing but the inputs.
        """
        key = (key, torch.get_num_threads(), *((x.shape, x.stride(), x.dtype, x.device) for x in inputs))
        if key not in self._functions:
            with self._lock:  # two threads that need the same function compile it once
                if key not in self._functions:
                    if self._most is not None and len(self._functions) >= self._most:
                        del self._functions[next(iter(self._functions))]
                    self._functions[key] = self._make(function, inputs)
        return self._functions[key]


def compile_or_warn(function: Function, inputs: Sequence[Tensor]) -> Function | None:
    """Return the compiled function, or a warning."""
    try:
        graph = make_fx(function, decomposition_table={torch.ops.aten.mm.default: thin_product})(*inputs)
        if inputs[0].device.type == "cuda":
            return by_inductor(graph, inputs, {})
        # C++ calls the kernels, not Python, which small kernels would feel, and other threads would wait for.
        for node in graph.graph.nodes:
            node.meta.clear()  # what the trace noted of each value, which cpp_wrapper cannot read
        with contextlib.suppress(Exception):  # not in every version of PyTorch, nor for every operation
            return by_inductor(graph, inputs, OPTIONS | {"cpp_wrapper": True})
        return by_inductor(graph, inputs, OPTIONS)
    except torch.cuda.OutOfMemoryError:  # fewer tasks at a time may fit
        raise
    except Exception as error:  # whatever a compiler can raise; a wrong input raises again below, uncompiled
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        warnings.warn(f"the meta-gradient runs uncompiled, as compilation failed: {reason}", RuntimeWarning, 2)
        return None


def by_inductor(graph: GraphModule, inputs: Sequence[Tensor], options: dict[str, Any]) -> Function:
    """Return the graph compiled, after a first call."""
    from torch._inductor import compile as inductor_compile  # takes seconds to import

    with torch.no_grad(), warnings.catch_warnings():  # the derivatives are in the graph
        warnings.filterwarnings("ignore", module="torch._inductor")  # advice to use TF32, and on a GPU's sums
        fast = inductor_compile(graph, list(inputs), options=options)

    def call(*tensors: Tensor) -> Any:
        with torch.no_grad():
            return fast(*tensors)

    call(*inputs)
    return call


def thin_product(a: Tensor, b: Tensor) -> Tensor:
    """Write a small product with a vector as a sum, which Inductor joins to what comes before and after it."""
    rows, inner, columns = *a.shape, b.shape[1]
    is_small = rows * inner * columns <= SMALL and a.is_floating_point() and a.device.type == "cpu"
    if not is_small or 1 not in (rows, inner, columns):
        return NotImplemented
    return a * b if inner == 1 else (a.unsqueeze(2) * b).sum(1)
