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
    """Return the context of a model's forward pass: autocast for bfloat16, which chooses what is safe in 8 bits."""
    if precision != "bfloat16":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


@contextmanager
def matmul_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Switch TensorFloat-32 on or off for a GPU's matrix products and convolutions, and restore the switches after it.

    Raises:
        ValueError: TensorFloat-32 on a device that does not have it.
    """
    if device.type != "cuda":
        if precision == "tf32":
            raise ValueError(
                f"precision 'tf32' needs an NVIDIA GPU, and the model is on {device}; use float32 or bfloat16"
            )
        yield
        return
    products, convolutions = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = precision == "tf32"  # PyTorch allows it for convolutions by default
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions
