"""The figures of chapter 6: regression of sine waves."""

from collections.abc import Collection, Mapping, Sequence

import torch
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from torch import Tensor

from metasgd._core.task import Task
from metasgd.evaluation import Evaluation
from metasgd.plotting.style import COLOURS, accepts_any_tensor, figure, legend_above, window_means


@accepts_any_tensor
def sine_tasks(x: Tensor, y: Tensor, tasks: Task) -> Figure:
    """Draw sine waves, and the points of each that a learner sees (chapter 6).

    The figure is ``fig-sine-tasks``.

    Args:
        x: positions along the axis, shape (positions,).
        y: the values of the waves there, shape (tasks, positions); a multiple of three tasks.
        tasks: a batch of the same tasks, of which the support sets are drawn.
    """
    rows, columns = -(-len(y) // 3), 3
    with figure(rows, columns, height=1.6 * rows, sharex=True, sharey=True) as (
        fig,
        axes,
    ):
        for panel, curve, support_x, support_y in zip(axes.flat, y, tasks.support_x, tasks.support_y, strict=True):
            panel.plot(x, curve, color=COLOURS["grey"])
            panel.plot(support_x.flatten(), support_y.flatten(), "o", color=COLOURS["black"])
            panel.set(ylim=(-5.4, 5.4))
        fig.supxlabel("$x$")
        fig.supylabel("$y$")
    return fig


@accepts_any_tensor
def sine_adaptation(
    x: Tensor, curves: Mapping[str, tuple[Tensor, Task, Mapping[str, tuple[Tensor, Tensor]]]]
) -> Figure:
    """Draw waves, one a row, and what each learner predicts before and after its step, one a column (chapter 6).

    The figure is ``fig-sine-step``.

    Args:
        x: positions along the axis, shape (positions,).
        curves: by name of the wave, at least two: its values at ``x``, shape (positions,); its task, of which the
            support set is drawn; and by learner the predictions at ``x`` before and after the step, shape (positions,)
            each.
    """
    columns = len(next(iter(curves.values()))[2])
    with figure(len(curves), columns, height=1.2 + 1.8 * len(curves), sharex=True, sharey="row") as (fig, axes):
        for row, (name, (truth, task, fits)) in zip(axes, curves.items(), strict=True):
            for panel, (label, (before, after)) in zip(row, fits.items(), strict=True):
                colour = COLOURS["blue" if label == "Meta-SGD" else "orange"]
                panel.plot(x, truth, color=COLOURS["grey"], linewidth=4, alpha=0.4)
                panel.plot(x, before, "--", color=colour, linewidth=1.5)
                panel.plot(x, after, color=colour)
                panel.plot(task.support_x.flatten(), task.support_y.flatten(), "o", color=COLOURS["black"], zorder=5)
            row[0].set_ylabel(f"{name}\n$y$")
        for panel, label in zip(axes[0], fits, strict=True):
            panel.set_title(label)
        for panel in axes[-1]:
            panel.set_xlabel("$x$")
        keys = [
            Line2D([], [], color=COLOURS["grey"], linewidth=4, alpha=0.4, label="the curve"),
            Line2D([], [], color=COLOURS["black"], linestyle="", marker="o", label="points seen"),
            Line2D([], [], color=COLOURS["black"], linestyle="--", linewidth=1.5, label="before the step"),
            Line2D([], [], color=COLOURS["black"], label="after it"),
        ]
        legend_above(fig, handles=keys)
    return fig


@accepts_any_tensor
def sine_training(
    x: Tensor, curve: tuple[Tensor, Task], moments: Mapping[int, tuple[Mapping[str, tuple[Tensor, Tensor]], Tensor]]
) -> Figure:
    """Draw what two learners make of one wave at some moments of their meta-training, and all rates (chapter 6).

    The figure is ``fig-sine-live``. Each moment is a row: the predictions before and after one step by MAML and by
    Meta-SGD, and a histogram of the rates of Meta-SGD, negative ones in another colour.

    Args:
        x: positions along the axis, shape (positions,).
        curve: the values of the wave at ``x``, shape (positions,), and its task, of which the support set is drawn.
        moments: by number of meta-updates, in their order: by learner the predictions at ``x`` before and after the
            step, shape (positions,) each; and all rates of Meta-SGD, shape (rates,), at the first moment all equal.
    """
    truth, task = curve
    start = float(next(iter(moments.values()))[1][0])
    edges = (start * torch.linspace(-4.5, 4.5, 49).sinh()).tolist()
    with figure(len(moments), 3, height=1.2 + 1.35 * len(moments), sharex="col", sharey="col") as (fig, axes):
        for row, (updates, (fits, rates)) in zip(axes, moments.items(), strict=True):
            for panel, (label, (before, after)) in zip(row, fits.items(), strict=False):
                colour = COLOURS["blue" if label == "Meta-SGD" else "orange"]
                panel.plot(x, truth, color=COLOURS["grey"], linewidth=4, alpha=0.4)
                panel.plot(x, before, "--", color=colour, linewidth=1.5)
                panel.plot(x, after, color=colour)
                panel.plot(
                    task.support_x.flatten(),
                    task.support_y.flatten(),
                    "o",
                    color=COLOURS["black"],
                    markersize=3,
                    zorder=5,
                )
                panel.set(ylim=(-5.4, 5.4), yticks=[-4, 0, 4])
            for part, name in ((rates[rates < 0], "purple"), (rates[rates >= 0], "blue")):
                row[2].hist(part.tolist(), bins=edges, weights=[1 / len(rates)] * len(part), color=COLOURS[name])
            row[2].axvline(start, color=COLOURS["orange"], linestyle="--", linewidth=1)
            row[2].set_xscale("asinh", linear_width=start)
            row[2].set(xlim=(edges[0], edges[-1]), ylim=(0, 0.16), yticks=[])
            row[2].set_xticks([-0.1, 0, 0.1], ["−0.1", "0", "0.1"])
            row[0].set_ylabel(f"after {updates:,}")
        for panel, title in zip(axes[0], (*next(iter(moments.values()))[0], "rates"), strict=True):
            panel.set_title(title)
        for panel, name in zip(axes[-1], ("$x$", "$x$", r"$\alpha$"), strict=True):
            panel.set_xlabel(name)
        keys = [
            Line2D([], [], color=COLOURS["grey"], linewidth=4, alpha=0.4, label="the curve"),
            Line2D([], [], color=COLOURS["black"], linestyle="--", linewidth=1.5, label="before the step"),
            Line2D([], [], color=COLOURS["black"], label="after it"),
        ]
        legend_above(fig, handles=keys)
    return fig


def sine_losses(losses: Mapping[int, Mapping[str, Sequence[float]]], window: int) -> Figure:
    """Draw the meta-loss during meta-training, one panel for each number of support points (chapter 6).

    The figure is ``fig-sine-losses``.

    Args:
        losses: by number of support points, then by method, the meta-loss of every meta-update; two methods.
        window: the number of meta-updates that are averaged for one point of a line.
    """
    with figure(len(losses), height=0.8 + 1.8 * len(losses), sharex=True, sharey=True) as (fig, axes):
        for panel, (shots, methods) in zip(axes, losses.items(), strict=True):
            for (label, values), line in zip(methods.items(), ("-", "--"), strict=True):
                updates, means = window_means(values, window)
                colour = COLOURS["blue" if label == "Meta-SGD" else "orange"]
                panel.plot(updates, means, line, color=colour, linewidth=1.5, label=label)
            panel.set(title=f"{shots} points", yscale="log")
            panel.set_yticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"])
            panel.minorticks_off()
        fig.supylabel("query loss after the step")
        fig.supxlabel("meta-update")
        legend_above(fig, *axes[0].get_legend_handles_labels())
    return fig


def sine_cells(
    ours: Mapping[str, Mapping[int, Mapping[int, Evaluation]]], paper: Mapping[str, Mapping[int, Mapping[int, float]]]
) -> Figure:
    """Draw the paper's table of errors on sine waves beside ours, one panel for each row of the table (chapter 6).

    The figure is ``fig-sine-table``.

    Args:
        ours: by method, then by number of points in meta-training, then by number of points in the test: the mean
            squared error with its 95% interval; two methods.
        paper: the means of the paper in the same order.
    """
    panels = list(next(iter(ours.values())))
    with figure(len(panels), height=1.2 + 1.9 * len(panels), sharex=True, sharey=True) as (fig, axes):
        for panel, trained in zip(axes, panels, strict=True):
            for (label, rows), name, marker in zip(ours.items(), ("blue", "orange"), "os", strict=True):
                points, scores = list(rows[trained]), list(rows[trained].values())
                means, half_widths = [score.mean for score in scores], [score.half_width for score in scores]
                published = list(paper[label][trained].values())
                panel.plot(
                    points, published, f"{marker}--", color=COLOURS[name], markerfacecolor="white", linewidth=1,
                    label=f"{label}, the paper",
                )  # fmt: skip
                panel.errorbar(
                    points, means, half_widths, fmt=f"{marker}-", color=COLOURS[name], capsize=3,
                    label=f"{label}, this page",
                )  # fmt: skip
            panel.set(title=f"trained with {trained}", xscale="log")
            panel.set_xticks(points, [str(count) for count in points])
            panel.minorticks_off()
        fig.supylabel("mean squared error")
        axes[0].set_ylim(bottom=0)
        fig.supxlabel("points of a new curve")
        legend_above(fig, *axes[0].get_legend_handles_labels())
    return fig


def sine_errors(
    places: Sequence[int],
    errors: Mapping[str, Sequence[float]],
    xlabel: str,
    *,
    maml: Collection[str] = (),
    marked: Sequence[int] = (),
    top: float | None = None,
) -> Figure:
    """Draw the error on new waves against the number of points or of steps, one line for each learner (chapter 6).

    The figures are ``fig-sine-points`` and ``fig-sine-steps``.

    Args:
        places: the numbers of points or steps. Their axis is logarithmic where none is zero.
        errors: by learner, its mean squared error at each of these numbers.
        xlabel: what the numbers count.
        maml: the learners by MAML, at most two, which are drawn in orange and red. All others, at most three, are
            drawn in blue, sky and green.
        marked: the numbers that were used in meta-training; dotted lines.
        top: the highest error that is shown (None: all are).
    """
    with figure(height=3.8) as (fig, axes):
        maml_looks = iter((("orange", "s--"), ("red", "v--")))
        other_looks = iter((("blue", "o-"), ("sky", "^-"), ("green", "D-")))
        for label, values in errors.items():
            colour, style = next(maml_looks if label in maml else other_looks)
            axes.plot(places, values, style, color=COLOURS[colour], markersize=5, label=label)
        for place in marked:
            axes.axvline(place, color=COLOURS["grey"], linestyle=":", linewidth=1)
        axes.set(xlabel=xlabel, ylabel="mean squared error", yscale="log")
        if 0 not in places:
            axes.set_xscale("log")
        axes.set_xticks(places, [str(place) for place in places])
        axes.set_ylim(0.8 * min(map(min, errors.values())), top)
        low, high = axes.get_ylim()
        ticks = [tick for tick in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10) if low < tick < high]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        legend_above(fig)
    return fig
