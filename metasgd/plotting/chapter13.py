"""The figures of chapter 13: navigation in the plane, Meta-SGD for reinforcement learning."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from metasgd.evaluation import Evaluation
from metasgd.plotting.style import COLOURS, accepts_any_tensor, figure, legend_above

MOST_TICKS = 6  # of a panel, whose names would else lie on each other


def estimator_means(
    places: Sequence[float], truth: Sequence[float], estimates: Mapping[str, Sequence[Evaluation]], xlabel: str
) -> Figure:
    """Draw the mean of several estimators of a gradient, with 95% intervals, beside the exact gradient (chapter 13).

    The figure is ``fig-navigation-estimators``.

    Args:
        places: the values of the parameter at which the gradient was estimated.
        truth: the exact gradient at each of them.
        estimates: by estimator, its mean at each of them; at most three estimators.
        xlabel: what the parameter is.
    """
    with figure(height=3.6) as (fig, axes):
        axes.plot(places, truth, color=COLOURS["black"], label="truth")
        for (label, scores), look in zip(estimates.items(), (("blue", "o"), ("sky", "^"), ("red", "s")), strict=False):
            means, half_widths = [score.mean for score in scores], [score.half_width for score in scores]
            axes.errorbar(
                places, means, half_widths, fmt=look[1], color=COLOURS[look[0]], markersize=5, capsize=3, label=label
            )
        axes.axhline(0, color=COLOURS["grey"], linewidth=0.8)
        axes.set(xlabel=xlabel, ylabel="meta-gradient in theta", xticks=places)
        legend_above(fig)
    return fig


@accepts_any_tensor
def navigation_paths(goals: Tensor, panels: Mapping[str, Tensor]) -> Figure:
    """Draw trajectories in the plane, those of each task in a colour of its own, and the goals (chapter 13).

    The dotted square is where goals are drawn from. The figure is ``fig-navigation-paths``.

    Args:
        goals: the goal of each task, shape (tasks, 2); at most four tasks are drawn.
        panels: by title (at least two), positions of shape (tasks, trajectories, times, 2).
    """
    with figure(len(panels), height=0.5 + 2.1 * len(panels), sharex=True, sharey=True) as (fig, axes):
        colours = [COLOURS[name] for name in ("blue", "orange", "green", "purple")]
        for panel, (title, paths) in zip(axes, panels.items(), strict=True):
            square = Rectangle((-0.5, -0.5), 1, 1, fill=False, edgecolor=COLOURS["grey"], linestyle=":", linewidth=1)
            panel.add_patch(square)
            for goal, task, colour in zip(goals, paths, colours, strict=False):
                for path in task:
                    panel.plot(*path.T, color=colour, linewidth=0.7, alpha=0.7)
                panel.plot(*goal, "*", color=colour, markersize=14, markeredgecolor=COLOURS["black"], zorder=5)
            panel.plot(*paths[0, 0, 0], "o", color=COLOURS["black"], markersize=5, zorder=6)
            panel.set(title=title, xlim=(-0.75, 0.75), ylim=(-0.75, 0.75))
            panel.set_aspect("equal")
            panel.set_xticks([-0.5, 0, 0.5])
            panel.set_yticks([-0.5, 0, 0.5])
        fig.supylabel("second coordinate")
        fig.supxlabel("first coordinate")
    return fig


def navigation_curves(
    curves: Mapping[str, Mapping[str, Sequence[Sequence[float]]]],
    every: Mapping[str, int],
    lines: Mapping[str, Mapping[str, float]],
) -> Figure:
    """Draw the return after the inner step during meta-training, one panel for each kind of start (chapter 13).

    Returns are negative: the axis is logarithmic in their absolute value, with the best on top. The figure is
    ``fig-navigation-curves``.

    Args:
        curves: by panel, then by method (at most two), for each seed the mean return of every block of meta-updates.
        every: by panel, the number of meta-updates in a block.
        lines: by panel, then by label, a return to compare with, a horizontal line; at most three labels.
    """
    with figure(len(curves), height=1 + 2.2 * len(curves), sharey=True, squeeze=False) as (fig, axes):
        for panel, (title, methods) in zip(axes[:, 0], curves.items(), strict=True):
            for (label, runs), line in zip(methods.items(), ("-", "--"), strict=False):
                for index, values in enumerate(runs):
                    places = [every[title] * (step + 1) for step in range(len(values))]
                    colour = COLOURS["blue" if label == "Meta-SGD" else "orange"]
                    costs = [-value for value in values]
                    panel.plot(places, costs, line, color=colour, linewidth=1.5, label=None if index else label)
            for (label, value), (colour, style) in zip(
                lines[title].items(), (("black", ":"), ("grey", "-."), ("green", "--")), strict=False
            ):
                panel.axhline(-value, color=COLOURS[colour], linestyle=style, linewidth=1.2, label=label)
            panel.set(title=title, yscale="log")
        axes[0, 0].invert_yaxis()  # which all panels share
        low, high = sorted(axes[0, 0].get_ylim())
        fine, coarse = (
            [tick for tick in ladder if low < tick < high]
            for ladder in ((0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200), (0.1, 1, 10, 100, 1000))
        )
        ticks = fine if len(fine) <= MOST_TICKS else coarse
        axes[0, 0].set_yticks(ticks, [f"-{tick:g}" for tick in ticks])
        axes[0, 0].minorticks_off()
        fig.supylabel("mean return after the step")
        fig.supxlabel("meta-update")
        legend_above(fig, *axes[0, 0].get_legend_handles_labels())
    return fig
