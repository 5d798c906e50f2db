"""Every figure of the book: functions from data to a matplotlib figure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import matplotlib.pyplot as plt
import torch
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


def _contours(axes: Axes, function: Callable[[Tensor], Tensor], levels: Sequence[float], **style: object) -> None:
    """Draw the contours of a function from points (..., 2) to values (...) within the limits of the axes."""
    first, second = (
        torch.linspace(*limits, 201, dtype=torch.float64) for limits in (axes.get_xlim(), axes.get_ylim())
    )
    points = torch.cartesian_prod(first, second).reshape(201, 201, 2)
    axes.contour(first, second, function(points).T, levels, linewidths=1, **style)


def step_directions(
    support_loss: Callable[[Tensor], Tensor],
    query_loss: Callable[[Tensor], Tensor],
    start: Tensor,
    ends: Mapping[str, Tensor],
    optima: Tensor,
) -> Figure:
    """Draw where one inner step goes on the loss contours of a task with two weights (chapter 3).

    Args:
        support_loss, query_loss: functions from weights of shape (..., 2) to losses of shape (...).
        start: theta, shape (2,).
        ends: theta' for each kind of step, by its label.
        optima: the best weights of several tasks, shape (tasks, 2).
    """
    with figure(size=(6.4, 5.0)) as (fig, axes):
        axes.set(xlim=(-1.5, 3.5), ylim=(-1.8, 2.2), xlabel=r"weight $\theta_1$", ylabel=r"weight $\theta_2$")
        axes.set_aspect("equal")
        levels = [0.1, 0.5, 1.5, 4, 8, 14]
        _contours(axes, support_loss, levels, colors=COLOURS["grey"], linestyles="dashed", alpha=0.6)
        _contours(axes, query_loss, levels, colors=COLOURS["sky"], alpha=0.8)
        axes.plot([], [], "--", color=COLOURS["grey"], linewidth=1, label="support loss")
        axes.plot([], [], color=COLOURS["sky"], linewidth=1, label="query loss")
        axes.plot(*optima.T, "*", color=COLOURS["green"], markersize=12, label="best weights of tasks", zorder=4)
        colours = [COLOURS[name] for name in ("black", "red", "blue")]
        for (label, end), colour in zip(ends.items(), colours, strict=False):
            arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", xy=end.tolist(), xytext=start.tolist(), arrowprops=arrow, zorder=5)
            axes.plot([], [], color=colour, label=label)
        axes.plot(*start, "o", color=COLOURS["black"], markersize=7, label=r"start $\theta$", zorder=6)
        axes.grid(False)
        axes.legend(loc="outside upper center", ncols=2, fontsize=10)
    return fig


def rate_landscape(meta_loss: Callable[[Tensor], Tensor], path: Tensor, best: Tensor, best_single: Tensor) -> Figure:
    """Draw the meta-loss over the two entries of alpha, and the way of the outer updates through it (chapter 3).

    Args:
        meta_loss: a function from rates of shape (..., 2) to meta-losses of shape (...).
        path: alpha after every outer update, shape (updates, 2).
        best: the alpha of the smallest meta-loss, shape (2,).
        best_single: the best alpha whose two entries are equal, shape (2,).
    """
    with figure(size=(6.4, 5.0)) as (fig, axes):
        axes.set(xlim=(-0.1, 0.5), ylim=(-0.5, 0.3), xlabel=r"rate $\alpha_1$", ylabel=r"rate $\alpha_2$")
        _contours(axes, meta_loss, [0.1, 0.5, 1, 2, 4, 6, 10, 16, 24], colors=COLOURS["sky"])
        axes.plot([-0.1, 0.3], [-0.1, 0.3], "--", color=COLOURS["red"], label="one rate for all (MAML)")
        axes.plot(*best_single, "D", color=COLOURS["red"], label="best single rate")
        axes.plot(*path.T, ".-", color=COLOURS["blue"], linewidth=1, label=r"learned $\alpha$, update by update")
        axes.plot(*best, "*", color=COLOURS["green"], markersize=15, label=r"best $\alpha$", zorder=5)
        axes.axhline(0, color=COLOURS["grey"], linewidth=0.8)
        axes.axvline(0, color=COLOURS["grey"], linewidth=0.8)
        axes.grid(False)
        axes.legend(loc="outside upper center", ncols=2, fontsize=10)
    return fig


def difference_errors(spacings: Sequence[float], errors: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the error of central differences against their spacing h, one line for each number format (chapter 3)."""
    with figure() as (fig, axes):
        for (label, values), marker in zip(errors.items(), "os^v", strict=False):
            axes.loglog(spacings, values, marker, linestyle="-", markersize=4, label=label)
        axes.set(xlabel="spacing $h$ of the differences", ylabel="relative error")
        axes.legend()
    return fig


def task_parabolas(rates: Tensor, losses: Tensor, best: float) -> Figure:
    """Draw the query loss of several tasks against the one rate that they share, and its mean (chapter 4).

    Args:
        rates: the values of alpha, shape (rates,).
        losses: one row for each task, shape (tasks, rates).
        best: the alpha that the distribution of tasks wants.
    """
    with figure() as (fig, axes):
        for index, row in enumerate(losses):
            axes.plot(rates, row, color=COLOURS["sky"], linewidth=1, label="one task" if index == 0 else None)
            lowest = row.argmin()
            axes.plot(rates[lowest], row[lowest], ".", color=COLOURS["sky"])
        axes.plot(rates, losses.mean(0), color=COLOURS["blue"], label="mean of these tasks")
        axes.axvline(best, linestyle="--", color=COLOURS["green"], label=r"best shared $\alpha$, all tasks")
        axes.set(xlabel=r"rate $\alpha$", ylabel="query loss / loss before the step", ylim=(0, 2))
        axes.legend(fontsize=10)
    return fig


def rates_against_shots(
    shots: Sequence[int], rates: Mapping[str, Sequence[float]], limits: Mapping[str, float]
) -> Figure:
    """Draw the best alpha against the number of support examples, with its limit for many (chapter 4).

    Args:
        shots: the numbers of support examples K.
        rates: by label, the best rate for each K.
        limits: by the same labels, the limit for K to infinity.
    """
    with figure() as (fig, axes):
        for (label, values), marker in zip(rates.items(), "os^v", strict=False):
            (line,) = axes.semilogx(shots, values, marker, linestyle="-", markersize=5, label=label)
            axes.axhline(limits[label], linestyle="--", linewidth=1, color=line.get_color())
        axes.set(xlabel="support examples $K$", ylabel=r"best rate $\alpha_i$")
        axes.legend(fontsize=10)
    return fig


def training_path(theta: Tensor, alpha: Tensor, best_theta: Tensor, best_alpha: Tensor) -> Figure:
    """Draw how theta and alpha move during meta-training, with dashed lines where theory ends (chapter 4).

    Args:
        theta, alpha: the values before every meta-step, shape (steps, d).
        best_theta, best_alpha: the closed form, shape (d,).
    """
    with figure(2, 1, size=(6.4, 5.6), sharex=True) as (fig, rows):
        for axes, path, best, name in zip(
            rows, (theta, alpha), (best_theta, best_alpha), ("theta", "alpha"), strict=True
        ):
            for index, (values, target) in enumerate(zip(path.T, best, strict=True)):
                (line,) = axes.plot(values, label=f"$i = {index + 1}$")
                axes.axhline(float(target), linestyle="--", linewidth=1, color=line.get_color())
            axes.set(ylabel=rf"$\{name}_i$")
        rows[1].set(xlabel="meta-step")
        fig.legend(*rows[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return fig


def loss_against_scale(
    ratios: Sequence[float],
    theory: Mapping[str, Sequence[float]],
    measured: Mapping[str, Sequence[tuple[float, float]]],
) -> Figure:
    """Draw the query loss of each kind of rate against how badly the inputs are scaled (chapter 4).

    Args:
        ratios: the largest standard deviation of an input over the smallest.
        theory: by label, the expected query loss for every ratio.
        measured: by the same labels, (mean, 95% half-width) over tasks for every ratio.
    """
    with figure() as (fig, axes):
        for (label, values), name in zip(theory.items(), ("grey", "red", "blue"), strict=False):
            axes.semilogx(ratios, values, color=COLOURS[name], label=label)
            if label in measured:
                means, half_widths = zip(*measured[label], strict=True)
                axes.errorbar(ratios, means, half_widths, fmt="o", color=COLOURS[name], markersize=4, capsize=3)
        axes.set(
            xlabel="largest input scale / smallest input scale", ylabel="query loss after one step", ylim=(0, None)
        )
        axes.legend(fontsize=10)
    return fig
