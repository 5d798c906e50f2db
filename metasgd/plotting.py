"""Every figure of the book: functions from data to a matplotlib figure."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

# Okabe and Ito's palette, told apart by colour-blind readers and in print. Meta-SGD is blue in every figure.
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
STYLE = {
    "figure.figsize": (6.4, 3.6),
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "axes.prop_cycle": plt.cycler(color=[COLOURS[name] for name in ("blue", "orange", "green", "red", "purple")]),
}


@contextmanager
def figure(
    rows: int = 1, columns: int = 1, *, size: tuple[float, float] | None = None, **options: object
) -> Iterator[tuple[Figure, object]]:
    """Open a figure in the book's style; ``size`` is in inches. Yields (figure, axes) like ``plt.subplots``.

    The figure is closed for pyplot when the block ends, so a notebook shows it once: as the value of its cell.
    """
    with plt.rc_context(STYLE):
        fig, axes = plt.subplots(rows, columns, figsize=size or STYLE["figure.figsize"], **options)
        yield fig, axes
        plt.close(fig)
