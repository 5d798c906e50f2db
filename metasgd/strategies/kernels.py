"""Which of PyTorch's kernels compute: those that have the right second derivatives, in the learner's precision."""

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, Concatenate, ParamSpec, TypeVar

import torch

from metasgd._core.learner import Learner
from metasgd.strategies.precision import matmul_precision
from metasgd.strategies.replaced_functions import RIGHT_FUNCTIONS, ReplaceFunctions

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
AnyLearner = TypeVar("AnyLearner", bound=Any)

ATTENTION = ("flash", "mem_efficient", "cudnn", "math")  # the kernels of attention, of which the last is made of sums


@contextmanager
def attention_by_sums_and_products() -> Iterator[None]:
    """Compute attention by sums and products, as all other kernels of it have one derivative only.

    It does what ``torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`` does, in a twentieth of the time, which a small
    network notices. The switches are PyTorch's own, for all threads.
    """
    cuda: Any = torch.backends.cuda
    mha: Any = getattr(torch.backends, "mha", None)
    names = [name for name in ATTENTION if hasattr(cuda, f"enable_{name}_sdp")]
    before = [getattr(cuda, f"{name}_sdp_enabled")() for name in names]
    fast_path = mha.get_fastpath_enabled() if mha is not None else False
    try:
        for name in names:
            getattr(cuda, f"enable_{name}_sdp")(name == "math")
        if fast_path:  # of whole encoder layers in evaluation mode
            mha.set_fastpath_enabled(False)
        yield
    finally:
        for name, enabled in zip(names, before, strict=True):
            getattr(cuda, f"enable_{name}_sdp")(enabled)
        if fast_path:
            mha.set_fastpath_enabled(True)


def has_switches(device: torch.device) -> bool:
    """Tell whether a device computes with numbers of fewer digits if PyTorch's switches say so."""
    return device.type == "cuda"


inside = threading.local()  # its ``right_kernels`` says whether this thread is within ``right_kernels``


@contextmanager
def right_kernels(learner: Learner) -> Iterator[None]:
    """Compute with the functions and kernels that every strategy needs, in the precision of the learner."""
    if getattr(inside, "right_kernels", False):
        yield
        return
    device = next(learner.model.parameters()).device
    inside.right_kernels = True
    try:
        with (
            matmul_precision(learner.execution.precision, device) if has_switches(device) else nullcontext(),
            attention_by_sums_and_products(),
            ReplaceFunctions(RIGHT_FUNCTIONS),
        ):
            yield
    finally:
        inside.right_kernels = False


def with_right_kernels(
    method: Callable[Concatenate[AnyLearner, Arguments], Result],
) -> Callable[Concatenate[AnyLearner, Arguments], Result]:
    """Let a method of a learner compute within ``right_kernels``."""

    @functools.wraps(method)
    def wrapped(self: AnyLearner, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        with right_kernels(self):
            return method(self, *args, **kwargs)

    return wrapped
