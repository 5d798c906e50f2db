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

# The switches of the kernels of attention, of which the last computes by sums and products.
ATTENTION = ("flash", "mem_efficient", "cudnn", "math")
SWITCHES = [  # is the kernel on, turn it on or off, and which of these is wanted
    (
        getattr(torch.backends.cuda, f"{name}_sdp_enabled"),
        getattr(torch.backends.cuda, f"enable_{name}_sdp"),
        name == "math",
    )
    for name in ATTENTION
    if hasattr(torch.backends.cuda, f"enable_{name}_sdp")
]
FAST_PATH = getattr(torch.backends, "mha", None)  # of whole encoder layers in evaluation mode


class AttentionBySumsAndProducts:
    """The context in which attention is computed by sums and products; its other kernels have one derivative only.

    It does what ``torch.nn.attention.sdpa_kernel(SDPBackend.MATH)`` does, in a twentieth of the time, which a small
    network notices. The switches are PyTorch's own, for all threads: the first thread that enters turns them, and the
    last one that leaves turns them back.
    """

    def __init__(self) -> None:
        self._lock, self._inside = threading.Lock(), 0
        self._turned: list[tuple[Callable[[bool], Any], bool]] = []
        self._fast_path = False

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._turned = [(turn, wanted) for is_on, turn, wanted in SWITCHES if is_on() != wanted]
                self._fast_path = FAST_PATH is not None and FAST_PATH.get_fastpath_enabled()
                self._turn(back=False)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._turn(back=True)

    def _turn(self, *, back: bool) -> None:
        for turn, wanted in self._turned:
            turn(wanted != back)
        if FAST_PATH is not None and self._fast_path:
            FAST_PATH.set_fastpath_enabled(back)


attention_by_sums_and_products = AttentionBySumsAndProducts()


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
            attention_by_sums_and_products,
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
