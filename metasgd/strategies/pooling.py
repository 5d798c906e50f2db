"""Max-pooling that keeps little for its derivatives, and max-pooling that a compiler makes fast (chapter 10).

PyTorch's own max-pooling keeps its input for the backward pass, though that needs only the places of the maxima, and
it stores its second derivative in another layout than everything around it. ``fast_max_pool2d`` does neither.

There, a place is an index into the whole image, and the derivative is scattered to these indices, which no compiler
turns into fast code for a CPU. In ``compilable_max_pool2d``, a place is a number within its small window, and a
derivative is chosen by comparing such numbers (``torch.where``).
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SMALL_CHANNEL = 256  # entries, up to which PyTorch's own functions are the fastest
LARGEST_WINDOW = 9  # entries of a window, each of which takes a comparison
Size = int | tuple[int, int]


def compilable_max_pool2d(input: Tensor, kernel_size: Size, *args: Any, **kwargs: Any) -> Any:
    """Return ``F.max_pool2d``; where windows are small and lie side by side, it is computed by comparisons alone.

    If several entries of a window are the largest, the first one gets the derivative, as in PyTorch.
    """
    window = plain_window(input, kernel_size, *args, **kwargs)
    if window is None or window[0] * window[1] > LARGEST_WINDOW:
        return F.max_pool2d(input, kernel_size, *args, **kwargs)
    return _CompilableMaxPool.apply(input, window)


def fast_max_pool2d(input: Tensor, kernel_size: Size, *args: Any, **kwargs: Any) -> Any:
    """Return ``F.max_pool2d``; where windows lie side by side, only the places of the maxima are kept for derivatives.

    Small channels are left to PyTorch's function.
    """
    window = plain_window(input, kernel_size, *args, **kwargs)
    if window is None or has_small_channels(input):
        return F.max_pool2d(input, kernel_size, *args, **kwargs)
    return _FastMaxPool.apply(input, window)


def has_small_channels(x: Tensor) -> bool:
    """Tell whether the channels of x, (examples, channels, ...), are so small that PyTorch's own functions are faster.

    A function written in Python takes Python's lock between its kernels, and holds up the other threads.
    """
    return x.numel() <= SMALL_CHANNEL * x.shape[1]


def plain_window(
    input: Tensor, kernel_size: Size, stride: Size | None = None, *args: Any, **kwargs: Any
) -> tuple[int, int] | None:
    """Return the height and width of windows that lie side by side on images, or None for all other arguments."""
    window = pair(kernel_size)
    plain = not args and not any(pair(value) != (0, 0) for name, value in kwargs.items() if name != "dilation")
    plain = plain and pair(kwargs.get("dilation", 1)) == (1, 1) and (not stride or pair(stride) == window)
    return window if plain and input.ndim == 4 else None


def pair(size: Size) -> tuple[int, int]:
    """Return a size as (height, width)."""
    return (size, size) if isinstance(size, int) else (size[0], size[-1])


class _CompilableMaxPool(torch.autograd.Function):
    """The largest entry of each window; its place is its number in the window, counted row by row."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: tuple[int, int]) -> Tensor:
        first, *others = window_entries(x, window)
        largest, place = first, torch.zeros_like(first)
        for number, entry in enumerate(others, 1):
            place = torch.where(entry > largest, float(number), place)
            largest = torch.maximum(largest, entry)
        ctx.save_for_backward(place)
        ctx.settings = x.shape[2:], window
        return largest

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        return _CompilableMaxPoolBackward.apply(dy, *ctx.saved_tensors, *ctx.settings), None


class _CompilableMaxPoolBackward(torch.autograd.Function):
    """Put the derivative of each window at the place of its maximum, and zero elsewhere.

    Its own derivative reads the entry at that place.
    """

    @staticmethod
    def forward(ctx: Any, dy: Tensor, place: Tensor, size: torch.Size, window: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(place)
        ctx.window = window
        return at_places(dy, place, size, window)

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        (place,) = ctx.saved_tensors
        chosen = torch.zeros_like(place)
        for number, entry in enumerate(window_entries(u, ctx.window)):
            chosen = torch.where(place == number, entry, chosen)
        return chosen, None, None, None


class _FastMaxPool(torch.autograd.Function):
    """The largest entry of each window; its place is its index in the image."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, window: tuple[int, int]) -> Tensor:
        largest: Tensor
        largest, places = torch.ops.aten.max_pool2d_with_indices(x, window, window)
        ctx.save_for_backward(places)
        ctx.settings = x.shape, window
        return largest

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        return _FastMaxPoolBackward.apply(dy, *ctx.saved_tensors, *ctx.settings), None


class _FastMaxPoolBackward(torch.autograd.Function):
    """Put the derivative of each window at the place of its maximum, and zero elsewhere.

    Its own derivative reads the entry at that place.
    """

    @staticmethod
    def forward(ctx: Any, dy: Tensor, places: Tensor, shape: torch.Size, window: tuple[int, int]) -> Tensor:
        ctx.save_for_backward(places)
        last = places.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if last else torch.contiguous_format
        x = torch.empty(
            shape, dtype=dy.dtype, device=dy.device, memory_format=layout
        )  # only its shape and layout are read
        settings = window, window, (0, 0), (1, 1), False  # size, stride, padding, dilation, ceil_mode
        dx: Tensor = torch.ops.aten.max_pool2d_with_indices_backward(dy, x, *settings, places)
        return dx

    @staticmethod
    def backward(ctx: Any, u: Tensor) -> tuple[Tensor | None, ...]:
        (places,) = ctx.saved_tensors
        return u.flatten(2).gather(2, places.flatten(2)).view(places.shape), None, None, None


def at_places(values: Tensor, place: Tensor, size: torch.Size, window: tuple[int, int]) -> Tensor:
    """Return images of a size (height, width) that have each window's value at its place, and zero elsewhere."""
    rows, columns = (torch.arange(length, device=values.device) for length in size)
    numbers = rows[:, None] % window[0] * window[1] + columns % window[1]
    return torch.where(spread(place, size, window) == numbers, spread(values, size, window), 0.0)


def window_entries(x: Tensor, window: tuple[int, int]) -> list[Tensor]:
    """Return the first entries of all windows, then the second ones, ...: each (examples, channels, rows, columns)."""
    (height, width), (rows, columns) = window, (x.shape[2] // window[0], x.shape[3] // window[1])
    return [
        x[:, :, i : rows * height : height, j : columns * width : width] for i in range(height) for j in range(width)
    ]


def spread(values: Tensor, size: torch.Size, window: tuple[int, int]) -> Tensor:
    """Return images in which every entry has its window's value; entries outside all windows are zero."""
    (rows, columns), (height, width) = values.shape[2:], window
    everywhere = values[:, :, :, None, :, None].expand(-1, -1, -1, height, -1, width)
    everywhere = everywhere.reshape(*values.shape[:2], rows * height, columns * width)
    return F.pad(everywhere, (0, size[1] - columns * width, 0, size[0] - rows * height))
