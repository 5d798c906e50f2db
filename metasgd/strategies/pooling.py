"""Max-pooling that keeps little, and max-pooling that a compiler joins with what is around it (chapter 10).

PyTorch's own keeps its input for the way back, though it needs the places of the maxima alone, and its second
derivative is stored in another layout than everything around it. ``max_pool2d_by_places`` does neither.

A place is one in the whole picture, and the derivative scatters to there, which no compiler turns into fast code for a
CPU. In ``max_pool2d`` it is one of few in the window, and a derivative is a choice.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SMALL = 256  # entries of a channel
LARGEST_WINDOW = 9  # places, each of which costs a comparison
Size = int | tuple[int, int]


def max_pool2d(input: Tensor, kernel_size: Size, *args: Any, **kwargs: Any) -> Any:
    """Return ``F.max_pool2d``, computed by choices where windows are small and lie side by side.

    Of several equal maxima the first one gets the derivative, as in PyTorch.
    """
    window = plain_window(input, kernel_size, *args, **kwargs)
    if window is None or window[0] * window[1] > LARGEST_WINDOW:
        return F.max_pool2d(input, kernel_size, *args, **kwargs)
    return _MaxPool.apply(input, window)


def max_pool2d_by_places(input: Tensor, kernel_size: Size, *args: Any, **kwargs: Any) -> Any:
    """Return ``F.max_pool2d``; where windows lie side by side, only the places of their maxima are kept."""
    window = plain_window(input, kernel_size, *args, **kwargs)
    if window is None or is_small(input):
        return F.max_pool2d(input, kernel_size, *args, **kwargs)
    return _MaxPoolByPlaces.apply(input, window)


def is_small(x: Tensor) -> bool:
    """Tell whether PyTorch's own functions serve best: Python between kernels stops other threads for a moment."""
    return x.numel() <= SMALL * x.shape[1]


def plain_window(
    input: Tensor, kernel_size: Size, stride: Size | None = None, *args: Any, **kwargs: Any
) -> tuple[int, int] | None:
    """Return the windows' height and width, if they lie side by side on images (else None)."""
    window = pair(kernel_size)
    plain = not args and not any(pair(value) != (0, 0) for name, value in kwargs.items() if name != "dilation")
    plain = plain and pair(kwargs.get("dilation", 1)) == (1, 1) and (not stride or pair(stride) == window)
    return window if plain and input.ndim == 4 else None


def pair(size: Size) -> tuple[int, int]:
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
        return at_places(dy, place, size, window)

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        (place,) = ctx.saved_tensors
        chosen = torch.zeros_like(place)
        for number, entry in enumerate(entries(u, ctx.window)):
            chosen = torch.where(place == number, entry, chosen)
        return chosen, None, None, None


class _MaxPoolByPlaces(torch.autograd.Function):
    """The largest entry of each window, and its place in the picture."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: tuple[int, int]) -> Tensor:
        largest, places = torch.ops.aten.max_pool2d_with_indices(x, window, window)
        ctx.save_for_backward(places)
        ctx.settings = x.shape, window
        return largest

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        return _MaxPoolByPlacesBackward.apply(dy, *ctx.saved_tensors, *ctx.settings), None


class _MaxPoolByPlacesBackward(torch.autograd.Function):
    """Put the derivative of each window at its place; its own derivative takes it from there."""

    @staticmethod
    def forward(ctx: Any, dy: Tensor, places: Tensor, shape: torch.Size, window: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(places)
        last = places.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if last else torch.contiguous_format
        x = torch.empty(shape, dtype=dy.dtype, device=dy.device, memory_format=layout)  # for its shape and layout
        return torch.ops.aten.max_pool2d_with_indices_backward(dy, x, window, window, (0, 0), (1, 1), False, places)

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        (places,) = ctx.saved_tensors
        return u.flatten(2).gather(2, places.flatten(2)).view(places.shape), None, None, None


def at_places(values: Tensor, place: Tensor, size: torch.Size, window: tuple[int, int]) -> Tensor:
    """Return pictures of a size that have each window's value at its place, and zero elsewhere."""
    rows, columns = (torch.arange(length, device=values.device) for length in size)
    numbers = rows[:, None] % window[0] * window[1] + columns % window[1]
    return torch.where(spread(place, size, window) == numbers, spread(values, size, window), 0.0)


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
