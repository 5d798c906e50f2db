"""Max-pooling that a compiler joins with what comes before and after it (chapter 10).

PyTorch's own keeps the place of each maximum in the whole picture, and its derivative scatters to there, which no
compiler turns into fast code for a CPU. Here the place is one of few in the window, and a derivative is a choice.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST_WINDOW = 9  # places, each of which costs a comparison


def max_pool2d(
    input: Tensor, kernel_size: int | tuple[int, int], stride: int | tuple[int, int] | None = None, *args: Any,
    **kwargs: Any,
) -> Any:  # fmt: skip
    """Return ``F.max_pool2d``, computed by choices where windows are small and lie side by side.

    Of several equal maxima the first one gets the derivative, as in PyTorch.
    """
    window = pair(kernel_size)
    plain = not args and not any(value for name, value in kwargs.items() if name != "dilation")
    plain = plain and pair(kwargs.get("dilation", 1)) == (1, 1) and (not stride or pair(stride) == window)
    if not plain or input.ndim != 4 or window[0] * window[1] > LARGEST_WINDOW:
        return F.max_pool2d(input, kernel_size, stride, *args, **kwargs)
    return _MaxPool.apply(input, window)


def pair(size: int | tuple[int, int]) -> tuple[int, int]:
    """Return a size in both directions."""
    return (size, size) if isinstance(size, int) else (size[0], size[-1])


class _MaxPool(torch.autograd.Function):
    """The largest entry of each window, and its place: the window's entries are numbered row by row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: tuple[int, int]) -> Tensor:
        first, *others = entries(x, window)
        largest, place = first, torch.zeros_like(first)
        for number, entry in enumerate(others, 1):
            place = torch.where(entry > largest, float(number), place)
            largest = torch.maximum(largest, entry)
        ctx.save_for_backward(place)
        ctx.settings = x.shape[2:], window
        return largest

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        return _MaxPoolBackward.apply(dy, *ctx.saved_tensors, *ctx.settings), None


class _MaxPoolBackward(torch.autograd.Function):
    """Put the derivative of each window at its place, and zero elsewhere; its own derivative takes it from there."""

    @staticmethod
    def forward(ctx: Any, dy: Tensor, place: Tensor, size: torch.Size, window: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(place)
        ctx.window = window
        rows, columns = (torch.arange(length, device=dy.device) for length in size)
        numbers = rows[:, None] % window[0] * window[1] + columns % window[1]
        return torch.where(spread(place, size, window) == numbers, spread(dy, size, window), 0.0)

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        (place,) = ctx.saved_tensors
        chosen = torch.zeros_like(place)
        for number, entry in enumerate(entries(u, ctx.window)):
            chosen = torch.where(place == number, entry, chosen)
        return chosen, None, None, None


def entries(x: Tensor, window: tuple[int, int]) -> list[Tensor]:
    """Return the first entries of all windows, the second ones, ...: each (examples, channels, rows, columns)."""
    (height, width), (rows, columns) = window, (x.shape[2] // window[0], x.shape[3] // window[1])
    return [
        x[:, :, i : rows * height : height, j : columns * width : width] for i in range(height) for j in range(width)
    ]


def spread(values: Tensor, size: torch.Size, window: tuple[int, int]) -> Tensor:
    """Give every entry its window's value; entries that are in no window get zero."""
    (rows, columns), (height, width) = values.shape[2:], window
    everywhere = values[:, :, :, None, :, None].expand(-1, -1, -1, height, -1, width)
    everywhere = everywhere.reshape(*values.shape[:2], rows * height, columns * width)
    return F.pad(everywhere, (0, size[1] - columns * width, 0, size[0] - rows * height))
