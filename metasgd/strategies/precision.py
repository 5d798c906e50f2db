"""Numbers with fewer digits, where that is faster (chapter 10)."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

PRECISIONS = ("float32", "tf32", "bfloat16")


def check_precision(precision: str) -> None:
    """Refuse a precision that does not exist."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision {precision!r} does not exist; choose one of {', '.join(PRECISIONS)}")


def forward_precision(precision: str, device: torch.device) -> AbstractContextManager:
    """Return the context of the model's forward passes: for bfloat16, autocast chooses what is safe in 8 bits."""
    if precision != "bfloat16":
        return nullcontext()
    return torch.autocast(device.type, torch.bfloat16, cache_enabled=False)


@contextmanager
def matmul_precision(precision: str, device: torch.device) -> Iterator[None]:
    """Allow a GPU TensorFloat-32 in matrix products and convolutions of a meta-step, or not, and put that back.

    Raises:
        ValueError: TF32 on a device that has none.
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
        torch.backends.cudnn.allow_tf32 = precision == "tf32"  # which PyTorch allows unless it is told not to
        yield
    finally:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = convolutions
