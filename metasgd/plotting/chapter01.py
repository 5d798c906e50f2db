"""The figures of chapter 1: a round of its game, many tasks in a valley, and what practice on other tasks gains."""

from collections.abc import Callable, Collection, Mapping, Sequence

import torch
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from torch import Tensor

from metasgd.evaluation import Evaluation
from metasgd.plotting.style import COLOURS, accepts_any_tensor, draw_contours, figure, legend_above


@accepts_any_tensor
def sorted_drawings(support: Tensor, queries: Tensor, labels: Tensor, answers: Mapping[str, Tensor]) -> Figure:
    """Draw an example of each of five symbols, and drawings with what two methods take them for (chapter 1).

    The figure is ``fig-why-round``.

    Args:
        support: an example of each symbol, shape (5, 1, height, width).
        queries: the drawings, a multiple of five, shape (queries, 1, height, width).
        labels: which symbol each drawing is, int64 of shape (queries,), from 0.
        answers: by method, which symbol it takes each drawing for, int64 of shape (queries,); two methods.
    """
    columns = len(support)
    rows = 1 + len(queries) // columns
    colours = [COLOURS["blue"], COLOURS["grey"]]
    with figure(rows, columns, height=0.4 + 1.35 * rows) as (fig, grid):
        for panel, picture in zip(grid.flat, torch.cat([support, queries]), strict=True):
            panel.imshow(picture[0], cmap="gray")
            panel.set(xticks=[], yticks=[])
            panel.grid(False)
        for number, panel in enumerate(grid[0], 1):
            panel.set_title(f"symbol {number}" if number == 1 else f"{number}")
        for index, panel in enumerate(grid[1:].flat):
            for line, (given, colour) in enumerate(zip(answers.values(), colours, strict=True)):
                right = given[index] == labels[index]
                text = f"{given[index] + 1} {'✓' if right else '✗'}"
                weight = "normal" if right else "bold"
                place = {"xy": (0.3 + 0.45 * line, -0.08), "xycoords": "axes fraction"}
                panel.annotate(text, **place, ha="center", va="top", color=colour, fontweight=weight)
        patches = [Patch(color=colour, label=name) for name, colour in zip(answers, colours, strict=True)]
        legend_above(fig, handles=patches)
    return fig


@accepts_any_tensor
def valley_steps(
    loss: Callable[[Tensor], Tensor], start: Tensor, ends: Tensor, minima: Tensor, others: Tensor
) -> Figure:
    """Draw many tasks of one valley as stars, and one step from their common start for some of them (chapter 1).

    The figure is ``fig-why-valley``, as frames of a slider.

    Args:
        loss: the loss whose contours are drawn, that of the first task: from points of shape (n, 2) to values, (n,).
        start: the common start, shape (2,).
        ends: where the steps of some tasks end, shape (tasks, 2). A dotted line leads on to the task's minimum.
        minima: the minima of these tasks, shape (tasks, 2).
        others: the minima of further tasks, shape (others, 2); small stars.
    """
    stars = torch.cat([minima, others])
    low, high = stars.amin(0) - 0.5, stars.amax(0) + 0.5  # without the ends, so that all frames have the same limits
    with figure(height=3.4) as (fig, axes):
        axes.set(xlim=(low[0].item(), high[0].item()), ylim=(low[1].item(), high[1].item()))
        axes.set(xlabel=r"$\theta_1$", ylabel=r"$\theta_2$", aspect="equal")
        draw_contours(axes, loss, [0.1, 0.5, 1.5, 4, 8], colors=COLOURS["sky"], alpha=0.7)
        axes.plot(*others.T, "*", color=COLOURS["green"], markersize=5, alpha=0.4, label="other tasks")
        axes.plot(*minima.T, "*", color=COLOURS["green"], markersize=13, zorder=3, label="best weights of a task")
        for end, minimum in zip(ends, minima, strict=True):
            axes.plot(*torch.stack([end, minimum]).T, ":", color=COLOURS["grey"], linewidth=1.5)
            arrow = {"arrowstyle": "-|>", "color": COLOURS["blue"], "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", end.tolist(), start.tolist(), arrowprops=arrow, zorder=4)
        axes.plot([], [], color=COLOURS["blue"], label="one step")
        axes.plot(*start, "o", color=COLOURS["black"], markersize=7, zorder=5, label=r"start $\theta$")
        axes.grid(False)
        legend_above(fig)
    return fig


def accuracy_against_steps(
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    levels: Mapping[str, Mapping[str, float]],
    chance: float,
    *,
    dashed: Collection[str] = (),
) -> Figure:
    """Draw accuracy against the number of steps of training on a support set (chapter 1).

    The figures are ``fig-why-scratch`` and ``fig-why-start``.

    Args:
        panels: by the title of a panel, then by label, the accuracies in 0..1 after 0, 1, 2, ... steps. "Meta-SGD" is
            blue; at most three other labels have colours of their own.
        levels: by the title of a panel, then by label, the accuracy of a method that takes no steps; a horizontal
            line.
        chance: the accuracy of guessing, in 0..1; a dotted line.
        dashed: labels that are drawn dashed, each in the colour of the label before it.
    """
    with figure(len(panels), height=0.9 + 2.3 * len(panels), sharex=True, sharey=True) as (fig, grid):
        for axes, (title, curves) in zip(grid, panels.items(), strict=True):
            colours, colour = iter(("orange", "red", "purple")), ""
            for label, values in curves.items():
                if label not in dashed:
                    colour = COLOURS["blue" if label == "Meta-SGD" else next(colours)]
                style = (
                    {"marker": "o", "zorder": 4}
                    if label == "Meta-SGD"
                    else {"linestyle": "--" if label in dashed else "-"}
                )
                axes.plot([100 * value for value in values], color=colour, label=label, **style)
            for label, level in levels[title].items():
                axes.axhline(100 * level, color=COLOURS["green"], linewidth=1.5, label=label)
            axes.axhline(100 * chance, color=COLOURS["grey"], linestyle=":", label="guessing")
            longest = max(map(len, curves.values())) - 1
            axes.set(title=title, ylim=(0, 104), xticks=range(0, longest + 1, 5))
        fig.supxlabel("steps on the support set")
        fig.supylabel("accuracy [%]")
        legend_above(fig, *grid[0].get_legend_handles_labels())
    return fig


def intervals_by_shots(
    rows: Mapping[str, Sequence[Evaluation]], titles: Sequence[str], chance: float, highlight: str
) -> Figure:
    """Draw accuracies with 95% intervals, one row for each method, one panel for each number of shots (chapter 1).

    The figure is ``fig-why-comparison``.

    Args:
        rows: by method, its score for each panel, in 0..1.
        titles: the titles of the panels.
        chance: the accuracy of guessing, in 0..1; a dashed line.
        highlight: the method that is drawn in blue, with a line at its mean. The others are grey.
    """
    with figure(len(titles), height=(0.9 + 0.32 * len(rows)) * len(titles), sharex=True) as (fig, grid):
        for panel, (axes, title) in enumerate(zip(grid, titles, strict=True)):
            for label, scores in rows.items():
                score, colour = scores[panel], COLOURS["blue" if label == highlight else "grey"]
                axes.errorbar(100 * score.mean, label, xerr=100 * score.half_width, fmt="o", capsize=3, color=colour)
            axes.axvline(100 * rows[highlight][panel].mean, color=COLOURS["blue"], linewidth=1, alpha=0.4)
            axes.axvline(100 * chance, color=COLOURS["grey"], linestyle="--", linewidth=1)
            axes.set(title=title, xlim=(15, 100), ylim=(len(rows) - 0.5, -0.5))
        fig.supxlabel("accuracy [%]")
    return fig
