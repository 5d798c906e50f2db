"""Numbers of fewer digits, where the hardware computes faster with them (chapter 10)."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch

PRECISIONS = ("float32", "tf32", "bfloat16")


def check_precision(precision: str) -> None:
    """Refuse a precision that does not exist."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} does not exist; choose one of {', '.join(PRECISIONS)}")


def forward_precision(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context of a model's forward pass: autocast for bfloat16, which chooses what is safe in 8 bits.

    A caller's ``torch.autocast`` is entered again without its cache, which would keep theta, rounded, as it was when
    the caller entered it.
    """
    dtype = torch.bfloat16 if precision == "bfloat16" else autocast_of_the_caller(device)
    return nullcontext() if dtype is None else torch.autocast(device.type, dtype, cache_enabled=False)


def autocast_of_the_caller(device: torch.device) -> torch.dtype | None:
    """Return the dtype of the ``torch.autocast`` in which the calling thread computes on a device (None: in none)."""
    return torch.get_autocast_dtype(device.type) if torch.is_autocast_enabled(device.type) else None


def matmul_precision(precision: str, device: torch.device) -> AbstractContextManager[Any]:
    """Return the context in which a GPU's matrix products and convolutions take TensorFloat-32, or do not take it.

    Raises:
        ValueError: TensorFloat-32 on a device that does not have it.
    """
    if device.type == "cuda":
        return switched(precision)
    if precision == "tf32":
        raise ValueError(
            f"precision 'tf32' needs an NVIDIA GPU, and the model is on {device}; use float32 or bfloat16"
        )
    return NOTHING


NOTHING = nullcontext()


@contextmanager
def switched(precision: str) -> Iterator[None]:
    """Set a GPU's switches to a precision, and put them back."""
    before = read_switches()
    try:
        set_switches("tf32" if precision == "tf32" else "ieee")
        yield
    finally:
        put_back(before)


# PyTorch has two sets of names for the same switches, the older ones for all versions. Where both agree they are set
# by the older names, which set the newer ones as well, since parts of PyTorch (its compiler, say) read the older ones.
# Once a user has set the newer ones to what the older ones cannot express, reading the older ones is an error.


def newer_switches() -> list[Any]:
    """Return what has PyTorch's newer switch, ``fp32_precision``: products, convolutions and recurrent networks."""
    cudnn = torch.backends.cudnn
    places = [torch.backends.cuda.matmul, getattr(cudnn, "conv", None), getattr(cudnn, "rnn", None)]
    return [place for place in places if hasattr(place, "fp32_precision")]


def older_switches() -> tuple[str, bool] | None:
    """Return what the older switches say, of products and of cuDNN; None if they cannot say it."""
    try:
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    except RuntimeError:
        return None


def read_switches() -> tuple[tuple[str, bool] | None, list[str]]:
    """Return what ``put_back`` needs."""
    return older_switches(), [place.fp32_precision for place in newer_switches()]


def set_switches(value: str) -> None:
    """Set the precision of products and convolutions of float32: ``"ieee"``, all of its digits, or ``"tf32"``."""
    if older_switches() is not None:
        torch.set_float32_matmul_precision("high" if value == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = value == "tf32"  # PyTorch allows it for convolutions by default
    else:
        for place in newer_switches():
            place.fp32_precision = value


def put_back(before: tuple[tuple[str, bool] | None, list[str]]) -> None:
    """Set the switches to what ``read_switches`` returned."""
    older, newer = before
    if older is not None:
        torch.set_float32_matmul_precision(older[0])
        torch.backends.cudnn.allow_tf32 = older[1]
    for place, value in zip(newer_switches(), newer, strict=True):
        place.fp32_precision = value
