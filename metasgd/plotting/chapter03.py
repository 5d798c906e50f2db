"""The figures of chapter 3: the inner step, a meta-update, the meta-loss over alpha, and numerical derivatives."""

from collections.abc import Callable, Mapping, Sequence

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from metasgd.plotting.style import COLOURS, accepts_any_tensor, draw_contours, figure, legend_above


@accepts_any_tensor
def step_directions(
    support_loss: Callable[[Tensor], Tensor],
    query_loss: Callable[[Tensor], Tensor],
    start: Tensor,
    ends: Mapping[str, Tensor],
    optima: Tensor,
) -> Figure:
    """Draw where one inner step goes on the loss contours of a task with two weights (chapter 3).

    The figures are ``fig-bent-step`` and ``fig-slanted``.

    Args:
        support_loss: a function from weights of shape (n, 2) to support losses of shape (n,).
        query_loss: a function from weights of shape (n, 2) to query losses of shape (n,).
        start: theta, shape (2,).
        ends: theta' by the kind of step, shape (2,); one or two kinds, the first in red, the second in blue.
        optima: the best weights of several tasks, shape (tasks, 2).
    """
    places = torch.stack([start, *optima, *ends.values()])
    middle, half = (places.amax(0) + places.amin(0)) / 2, (places.amax(0) - places.amin(0)) / 2
    half = torch.maximum(half, 0.6 * half.max()) + 0.2 * half.max() + 0.4
    with figure(height=4.2) as (fig, axes):
        (left, bottom), (right, top) = (middle - half).tolist(), (middle + half).tolist()
        axes.set(xlim=(left, right), ylim=(bottom, top), xlabel=r"weight $\theta_1$", ylabel=r"weight $\theta_2$")
        axes.set_aspect("equal")
        levels = [0.1, 0.5, 1.5, 4, 8, 14]
        draw_contours(axes, support_loss, levels, colors=COLOURS["grey"], linestyles="dashed", alpha=0.6)
        draw_contours(axes, query_loss, levels, colors=COLOURS["sky"], alpha=0.8)
        axes.plot([], [], "--", color=COLOURS["grey"], linewidth=1, label="support loss")
        axes.plot([], [], color=COLOURS["sky"], linewidth=1, label="query loss")
        axes.plot(*optima.T, "*", color=COLOURS["green"], markersize=12, label="best weights of tasks", zorder=4)
        colours = [COLOURS[name] for name in ("red", "blue")]
        for (label, end), colour in zip(ends.items(), colours, strict=False):
            arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", xy=end.tolist(), xytext=start.tolist(), arrowprops=arrow, zorder=5)
            axes.plot([], [], color=colour, label=label)
        axes.plot(*start, "o", color=COLOURS["black"], markersize=7, label=r"start $\theta$", zorder=6)
        axes.grid(False)
        legend_above(fig)
    return fig


def meta_update_flow() -> Figure:
    """Draw what one meta-update computes: an inner step in each task, forward, and the gradients, back (chapter 3).

    The first two tasks and the last one of a meta-batch are shown. The figure is ``fig-meta-update``.
    """
    shared, columns, rows = (0.07, 0.56), (0.3, 0.6, 0.88), {"1": 0.82, "2": 0.6, "B": 0.28}
    half_widths = (0.075, 0.045, 0.075)  # of the boxes in a column
    with figure(height=4.2) as (fig, axes):
        axes.set(xlim=(0, 1), ylim=(0, 1))
        axes.set_axis_off()
        for x, title in zip(columns, ("1. sample\ntasks", "2. inner\nstep", "query\nlosses"), strict=True):
            axes.text(x, 1.02, title, ha="center", va="top", weight="bold")
            axes.text(x, 0.44, r"$\vdots$", ha="center", va="center", fontsize=12)
        for name, y in rows.items():
            symbols = (rf"$\nabla L_{{S_{name}}}(\theta)$", rf"$\theta'_{name}$", rf"$L_{{Q_{name}}}(\theta'_{name})$")
            source = shared
            for x, half_width, symbol in zip(columns, half_widths, symbols, strict=True):
                _arrow(axes, source, (x - half_width, y), "blue")
                _box(axes, (x, y), symbol)
                source = (x, y)
            axes.text(columns[0], y - 0.09, f"task {name}", ha="center", va="center")
            axes.plot([columns[-1], 0.99], [y, y], color=COLOURS["orange"], zorder=1)
        axes.plot([0.99, 0.99, shared[0]], [rows["1"], 0.1, 0.1], color=COLOURS["orange"])
        _arrow(axes, (shared[0], 0.1), (shared[0], shared[1] - 0.09), "orange")
        _box(axes, shared, "$\\theta$\n$\\alpha$")
        outer = "3. meta-update: the mean over the tasks,\ngradients in $\\theta$ and $\\alpha$"
        axes.text(0.53, 0.05, outer, ha="center", va="center")
    return fig


def _box(axes: Axes, place: tuple[float, float], symbol: str) -> None:
    """Write a symbol in a box, on top of the lines that end there."""
    box = {"boxstyle": "round,pad=0.4", "facecolor": "white", "edgecolor": COLOURS["black"]}
    axes.annotate(symbol, place, ha="center", va="center", fontsize=12, bbox=box, zorder=5)


def _arrow(axes: Axes, source: tuple[float, float], target: tuple[float, float], colour: str) -> None:
    """Draw an arrow from one place to another."""
    arrow = {"arrowstyle": "-|>", "color": COLOURS[colour], "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", target, source, arrowprops=arrow)


@accepts_any_tensor
def rate_landscape(meta_loss: Callable[[Tensor], Tensor], path: Tensor, best: Tensor, best_single: Tensor) -> Figure:
    """Draw the meta-loss over the two entries of alpha, and the path of the meta-updates through it (chapter 3).

    Neighbouring contours differ by a factor of two.

    The figure is ``fig-rate-landscape``.

    Args:
        meta_loss: a function from rates of shape (n, 2) to meta-losses of shape (n,).
        path: alpha after every meta-update, shape (updates, 2).
        best: the alpha with the smallest meta-loss, shape (2,).
        best_single: the best alpha whose two entries are equal, shape (2,).
    """
    with figure(height=5.0) as (fig, axes):
        places = torch.stack([*path, best, best_single, torch.zeros_like(best)])
        margin = 0.15 * (places.amax(0) - places.amin(0))
        (left, bottom), (right, top) = (places.amin(0) - margin).tolist(), (places.amax(0) + margin).tolist()
        axes.set(xlim=(left, right), ylim=(bottom, top), xlabel=r"rate $\alpha_1$", ylabel=r"rate $\alpha_2$")
        draw_contours(axes, meta_loss, [2.0**power for power in range(-8, 7)], colors=COLOURS["sky"])
        both = [max(left, bottom), min(right, top)]
        axes.plot(both, both, "--", color=COLOURS["red"], label="one rate for all (MAML)")
        axes.plot(*best_single, "D", color=COLOURS["red"], label="best single rate")
        axes.plot(*path.T, ".-", color=COLOURS["blue"], linewidth=1, label=r"learned $\alpha$, update by update")
        axes.plot(*best, "*", color=COLOURS["green"], markersize=15, label=r"best $\alpha$", zorder=5)
        axes.axhline(0, color=COLOURS["grey"], linewidth=0.8)
        axes.axvline(0, color=COLOURS["grey"], linewidth=0.8)
        axes.grid(False)
        legend_above(fig)
    return fig


def difference_errors(spacings: Sequence[float], errors: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the relative error of central differences against their spacing h, both axes logarithmic (chapter 3).

    The figure is ``fig-difference-error``.

    Args:
        spacings: the spacings h.
        errors: by number format, the relative error at each spacing; at most four formats.
    """
    with figure() as (fig, axes):
        for (label, values), marker in zip(errors.items(), "os^v", strict=False):
            axes.loglog(spacings, values, marker, linestyle="-", markersize=4, label=label)
        axes.set(xlabel="spacing $h$ of the differences", ylabel="relative error")
        legend_above(fig)
    return fig
