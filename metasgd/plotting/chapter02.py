"""The figures of chapter 2: optimisers as maps of a plane of two weights."""

from collections.abc import Callable, Mapping

import torch
from matplotlib.figure import Figure
from torch import Tensor

from metasgd.plotting.style import COLOURS, accepts_any_tensor, draw_contours, figure, legend_above


@accepts_any_tensor
def error_factors(rates: Tensor, factors: Mapping[str, Tensor], crossing: tuple[float, float]) -> Figure:
    """Draw the factor by which one step multiplies the error in two directions, against its single rate (chapter 2).

    The figure is ``fig-maps-rates``.

    Args:
        rates: the rates, shape (rates,).
        factors: by direction, the absolute value of the factor at each rate, shape (rates,); two directions.
        crossing: the rate where the larger of the two factors is smallest, and the factor there.
    """
    with figure() as (fig, axes):
        for (label, values), colour in zip(factors.items(), ("orange", "green"), strict=True):
            axes.plot(rates, values, color=COLOURS[colour], label=label)
        axes.plot(*crossing, "o", color=COLOURS["black"], markersize=8, label="best compromise", zorder=4)
        axes.set(xlabel=r"rate $\eta$", ylabel="factor of the error", xlim=(0, rates[-1].item()), ylim=(0, 1.5))
        legend_above(fig)
    return fig


@accepts_any_tensor
def map_fields(
    loss: Callable[[Tensor], Tensor],
    points: Tensor,
    panels: Mapping[str, Tensor],
    minimum: Tensor,
    drift: Mapping[str, Tensor],
) -> Figure:
    """Draw four optimisers as maps of the plane: an arrow from each point to where one step takes it (chapter 2).

    The figure is ``fig-maps-fields``.

    Args:
        loss: the loss whose contours are drawn, a function from points of shape (n, 2) to values of shape (n,).
        points: where the arrows start, shape (points, 2).
        panels: by optimiser, where the arrows end, shape (points, 2); four optimisers. "learned map" is blue.
        minimum: the minimum of the loss, shape (2,).
        drift: by optimiser that has a state, how far its state alone carries every point, shape (2,); a black arrow.
    """
    limits = torch.stack([points.amin(0) - 0.5, points.amax(0) + 0.5])
    with figure(2, 2, height=3.4, sharex=True, sharey=True) as (fig, grid):
        for axes, (label, ends) in zip(grid.flat, panels.items(), strict=True):
            axes.set(xlim=limits[:, 0].tolist(), ylim=limits[:, 1].tolist(), title=label, aspect="equal")
            draw_contours(axes, loss, [0.1, 0.5, 1.5, 4, 8, 14], colors=COLOURS["sky"], alpha=0.8)
            colour = COLOURS["blue" if label == "learned map" else "red"]
            arrows = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.006, "zorder": 3}
            axes.quiver(*points.T, *(ends - points).T, color=colour, **arrows)
            axes.plot(*points.T, ".", color=colour, markersize=4, zorder=3)
            if label in drift:
                axes.quiver(
                    *(limits[1, 0] - 0.1, limits[0, 1] + 0.1),
                    *drift[label],
                    color=COLOURS["black"],
                    **arrows | {"width": 0.014},
                )
            axes.plot(*minimum, "*", color=COLOURS["green"], markersize=13, zorder=4)
            axes.grid(False)
        fig.supxlabel(r"$\theta_1$", fontsize=12)
        fig.supylabel(r"$\theta_2$", fontsize=12)
    return fig


@accepts_any_tensor
def bent_step(
    loss: Callable[[Tensor], Tensor],
    mean_loss: Callable[[Tensor], Tensor],
    start: Tensor,
    gradient: Tensor,
    minimum: Tensor,
    rates: Tensor,
    slope: Tensor,
) -> Figure:
    """Draw one step with a rate for both weights and with two, and below these rates in their own plane (chapter 2).

    The figure is ``fig-maps-bend``; it says on paper what the page lets its readers find out.

    Args:
        loss: the loss of the task, a function from points of shape (n, 2) to values of shape (n,).
        mean_loss: the mean query loss of the family after the step, from rates of shape (n, 2) to values, (n,).
        start: theta, shape (2,).
        gradient: the gradient of the task at the start, shape (2,).
        minimum: the minimum of the task, shape (2,).
        rates: the best single rate, twice, and the best two rates: shape (2, 2).
        slope: the meta-gradient in alpha at the best single rate, shape (2,). The arrow goes against it.
    """
    ends, colours = start - rates * gradient, ("red", "blue")
    arrow = {"arrowstyle": "-|>", "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
    line = {"color": COLOURS["red"], "linestyle": "--", "linewidth": 1}
    with figure(2, height=5.2) as (fig, (weights, plane)):
        weights.set(xlim=(-0.2, 6.2), ylim=(-0.1, 3.1), xlabel=r"weight $\theta_1$", ylabel=r"weight $\theta_2$")
        plane.set(xlim=(-0.2, 3.2), ylim=(-0.35, 1.15), xlabel=r"rate $\alpha_1$", ylabel=r"rate $\alpha_2$")
        for axes, function in ((weights, loss), (plane, mean_loss)):
            draw_contours(axes, function, [0.1, 0.5, 1.5, 4, 8, 14], colors=COLOURS["sky"], alpha=0.8)
            axes.set_aspect("equal")
            axes.grid(False)
        weights.axline(start.tolist(), (start + gradient).tolist(), **line)
        plane.axline((0, 0), (1, 1), label="where one rate can go", **line)
        for axes, points, origin in ((weights, ends, start), (plane, rates, torch.zeros(2))):
            for point, colour, label in zip(points, colours, ("one rate", "two rates"), strict=True):
                arrow["color"] = COLOURS[colour]
                axes.annotate("", point.tolist(), origin.tolist(), arrowprops=arrow, zorder=4)
                axes.plot(*point, "o", color=COLOURS[colour], label=label if axes is plane else None, zorder=5)
        weights.plot(*minimum, "*", color=COLOURS["green"], markersize=13, label="best weights", zorder=3)
        weights.plot(*start, "o", color=COLOURS["black"], markersize=7, label=r"start $\theta$", zorder=6)
        arrow["color"] = COLOURS["purple"]
        plane.annotate("", (rates[0] - 0.5 * slope / slope.norm()).tolist(), rates[0].tolist(), arrowprops=arrow)
        plane.plot([], [], color=COLOURS["purple"], label=r"against $\nabla_\alpha$")
        legend_above(fig)
    return fig


@accepts_any_tensor
def steps_of_tasks(start: Tensor, panels: Mapping[str, Tensor], minima: Tensor) -> Figure:
    """Draw one step in each of several tasks, and what is then left to the minimum of the task (chapter 2).

    The figure is ``fig-maps-tasks``.

    Args:
        start: where all steps start, shape (2,).
        panels: by optimiser, where the steps end, shape (tasks, 2); two optimisers, the learned one second, in blue.
        minima: the minimum of each task, shape (tasks, 2).
    """
    with figure(2, height=4, sharex=True, sharey=True) as (fig, panel_axes):
        for axes, (label, ends), colour in zip(panel_axes, panels.items(), ("red", "blue"), strict=True):
            for end, minimum in zip(ends, minima, strict=True):
                axes.plot(*torch.stack([end, minimum]).T, ":", color=COLOURS["grey"], linewidth=1.5)
                axes.plot(*torch.stack([start, end]).T, color=COLOURS[colour], linewidth=1.5)
            axes.plot(*minima.T, "*", color=COLOURS["green"], markersize=12, zorder=3)
            axes.plot(*ends.T, "o", color=COLOURS[colour], markersize=5, zorder=4)
            axes.plot(*start, "o", color=COLOURS["black"], markersize=8, zorder=5)
            axes.set(title=label, ylabel=r"$\theta_2$", aspect="equal")
            axes.grid(False)
        panel_axes[-1].set_xlabel(r"$\theta_1$")
    return fig


@accepts_any_tensor
def losses_by_steps(curves: Mapping[str, Tensor], target: float, target_label: str) -> Figure:
    """Draw the mean query loss after 0, 1, 2, ... steps of four optimisers on a logarithmic axis (chapter 2).

    The figure is ``fig-maps-iterated``.

    Args:
        curves: by optimiser, the loss after each number of steps, shape (steps + 1,); four optimisers, the learned one
            last, in blue. Losses of 1e-9 and less, which are rounding errors, are left out.
        target: a loss to compare with; a dashed line.
        target_label: what the dashed line is.
    """
    styles = [("orange", "s"), ("purple", "^"), ("red", "v"), ("blue", "o")]
    with figure(height=3.6) as (fig, axes):
        for (label, values), (colour, marker) in zip(curves.items(), styles, strict=True):
            shown = values[values > 1e-9]
            axes.semilogy(range(len(shown)), shown, marker=marker, markersize=4, color=COLOURS[colour], label=label)
        axes.axhline(target, color=COLOURS["black"], linestyle="--", linewidth=1, label=target_label)
        axes.set(xlabel="steps", ylabel="mean query loss", ylim=(1e-7, None))
        legend_above(fig)
    return fig
