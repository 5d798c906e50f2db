"""Read from a drawn figure what it shows."""

from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from metasgd.plotting import COLOURS


def curves(axes: Axes) -> dict[str, list[list[float]]]:
    """By label, the points of every line that has a label, each as [x, y]."""
    return {line.get_label(): line.get_xydata().tolist() for line in axes.lines if line.get_label()[:1] != "_"}


def curve(axes: Axes, label: str) -> Line2D:
    """The line with this label."""
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return line


def colour(artist: Any) -> str:
    """The name of the colour of a line or of an error bar."""
    value = (artist.lines[0] if isinstance(artist, ErrorbarContainer) else artist).get_color()
    return {code: name for name, code in COLOURS.items()}[value]


def means(container: ErrorbarContainer) -> list[list[float]]:
    """The points of a series with error bars, each as [x, y]."""
    return container.lines[0].get_xydata().tolist()


def intervals(container: ErrorbarContainer, axis: str = "y") -> list[list[float]]:
    """The ends of the error bars along an axis, each as [low, high]."""
    return [segment[:, "xy".index(axis)].tolist() for segment in container.lines[2][0].get_segments()]


def level(line: Line2D, axis: str = "y") -> float:
    """Where a horizontal line (``axis="y"``) or a vertical one (``axis="x"``) stands."""
    (value,) = set(line.get_ydata() if axis == "y" else line.get_xdata())
    return value


def texts(axes: Axes) -> list[str]:
    """What is written into the axes, in the order of writing."""
    return [text.get_text() for text in axes.texts]


def tick_names(axes: Axes, axis: str) -> list[str]:
    """The labels at the ticks of an axis."""
    return [tick.get_text() for tick in getattr(axes, f"get_{axis}ticklabels")()]


def legend(of: Figure | Axes) -> list[str]:
    """The entries of the legend of a figure or of axes."""
    box = of.legends[0] if isinstance(of, Figure) else of.get_legend()
    return [text.get_text() for text in box.get_texts()]


def picture(axes: Axes, row: int, column: int, size: int) -> Tensor:
    """The picture in a grid of square pictures of less than 24 pixels, which are one blank pixel apart."""
    top, left = (size + 1) * row, (size + 1) * column
    return torch.tensor(axes.images[0].get_array())[top : top + size, left : left + size]
