"""The style of the book's figures, and the helpers that figures of several chapters share."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from metasgd.evaluation import Evaluation
from metasgd.plotting.display import BookFigure

P = ParamSpec("P")

# The palette of Okabe and Ito: colour-blind readers can tell the colours apart, and so can readers of a printed page.
# Meta-SGD is blue in every figure.
COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "red": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "yellow": "#F0E442",
    "black": "#000000",
    "grey": "#767676",
}
# All figures have the same width, in inches, and their smallest letters the same size, in points. So they are the same
# size on a page, and a phone that is 375 pixels wide, 327 of them for a figure, shows letters of 11 pixels.
WIDTH = 4.5
SMALLEST = 11
STYLE: dict[str, Any] = {
    "figure.dpi": 144,  # of pictures that are saved as PNG
    "figure.constrained_layout.use": True,
    "figure.labelsize": SMALLEST,
    "font.size": SMALLEST,
    "legend.fontsize": SMALLEST,
    "axes.labelsize": SMALLEST,
    "axes.titlesize": 12,
    "xtick.labelsize": SMALLEST,
    "ytick.labelsize": SMALLEST,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "axes.prop_cycle": cycler(color=[COLOURS[name] for name in ("blue", "orange", "green", "red", "purple")]),
}


@contextmanager
def figure(rows: int = 1, columns: int = 1, *, height: float = 3.2, **options: Any) -> Iterator[tuple[Figure, Any]]:
    """Open a figure in the book's style, to draw on in a ``with`` block.

    Pyplot forgets the figure when the block ends. A notebook therefore shows it once, as the value of its cell, and
    not a second time as an open figure.

    Args:
        rows: the number of rows of axes.
        columns: the number of columns of axes.
        height: in inches; the width is that of all figures, ``WIDTH``. Panels stand one above the other, in rows,
            unless they are small.
        options: passed on to ``plt.subplots``.

    Yields:
        The figure and its axes, in the form in which ``plt.subplots`` returns them.
    """
    with plt.rc_context(STYLE):  # type: ignore[arg-type]
        fig, axes = plt.subplots(rows, columns, figsize=(WIDTH, height), FigureClass=BookFigure, **options)
        yield fig, axes
        plt.close(fig)


def legend_above(fig: Figure, *handles_and_labels: Any, **options: Any) -> None:
    """Write a legend above the axes, in as many columns as fit into the width of the figure.

    Args:
        fig: the figure, with all that the legend names.
        handles_and_labels: what the legend shows (default: all that has a label).
        options: passed on to ``Figure.legend``.
    """
    for columns in (4, 3, 2, 1):
        legend = fig.legend(*handles_and_labels, loc="outside upper center", ncols=columns, columnspacing=1, **options)
        if columns == 1 or legend.get_window_extent().width <= fig.bbox.width:
            return
        legend.remove()


def to_plain_cpu(value: Any) -> Any:
    """Return a value with all tensors in it, in mappings, lists and tuples too, detached and on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().cpu()
    if isinstance(value, Mapping):
        return {key: to_plain_cpu(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        parts = [to_plain_cpu(part) for part in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)  # a named tuple keeps its type
    return value


def accepts_any_tensor(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Let a figure function take tensors of any device, also such as require a gradient.

    Matplotlib can draw only tensors that NumPy can read. The decorated function gets detached copies on the CPU of all
    tensors among its arguments.
    """

    @wraps(draw)
    def draw_on_the_cpu(*args: P.args, **kwargs: P.kwargs) -> Figure:
        return draw(*map(to_plain_cpu, args), **to_plain_cpu(kwargs))

    return draw_on_the_cpu


def percent(scores: Sequence[Evaluation]) -> tuple[list[float], list[float]]:
    """Return the means of some scores and the half-widths of their 95% intervals, both in percent."""
    return [100 * score.mean for score in scores], [100 * score.half_width for score in scores]


def window_means(values: Sequence[float], window: int) -> tuple[list[int], Tensor]:
    """Average a curve over consecutive windows of the same length.

    Values after the last full window are left out.

    Returns:
        The number of values up to the end of each window, and the mean of each window, shape (windows,).
    """
    means = torch.tensor(values, device="cpu").unfold(0, window, window).mean(1)
    return [window * (index + 1) for index in range(len(means))], means


def draw_contours(axes: Axes, function: Callable[[Tensor], Tensor], levels: Sequence[float], **style: Any) -> None:
    """Draw contour lines of a function of two variables within the present limits of the axes.

    Args:
        axes: where to draw; their limits must have been set.
        function: from points of shape (n, 2), float64, to values of shape (n,). The points are on PyTorch's default
            device; the values may be on any.
        levels: the values whose contour lines are drawn.
        style: passed on to ``axes.contour``.
    """
    first, second = (
        torch.linspace(*limits, 201, dtype=torch.float64) for limits in (axes.get_xlim(), axes.get_ylim())
    )
    values = function(torch.cartesian_prod(first, second)).reshape(201, 201)
    axes.contour(first.cpu(), second.cpu(), values.detach().T.cpu(), levels, linewidths=1, **style)


def draw_picture_grid(axes: Axes, pictures: Tensor, rows: Sequence[str] = (), columns: Sequence[str] = ()) -> None:
    """Draw pictures in rows and columns as one image, dark ink on white paper.

    Args:
        axes: where to draw.
        pictures: uint8, or float in 0..1 where 1 is ink, of shape (rows, columns, height, width).
        rows: a name for each row, written on the left, or none.
        columns: a name for each column, written above, or none.
    """
    pictures = pictures / (255 if pictures.dtype == torch.uint8 else 1)
    gap = max(1, pictures.shape[-1] // 12)
    cells = F.pad(pictures, (0, gap, 0, gap))  # blank paper to the right of every picture and below it
    height, width = cells.shape[2:]
    mosaic = cells.transpose(1, 2).flatten(2).flatten(0, 1)[:-gap, :-gap]
    axes.imshow(mosaic.numpy(), cmap="gray_r", vmin=0, vmax=1)
    axes.set_yticks([height * row + (height - gap) / 2 for row in range(len(rows))], rows)
    axes.set_xticks([width * column + (width - gap) / 2 for column in range(len(columns))], columns)
    axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    axes.grid(False)
