"""Figures that several chapters draw: pictures, and the accuracy of methods in several forms."""

import math
from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from metasgd._core.task import Task
from metasgd.evaluation import Evaluation
from metasgd.plotting.style import COLOURS, accepts_any_tensor, draw_picture_grid, figure, legend_above, percent


@accepts_any_tensor
def picture_grid(pictures: Tensor, rows: Sequence[str] = (), columns: Sequence[str] = ()) -> Figure:
    """Draw pictures in rows and columns, dark ink on white paper (chapters 7, 8 and 12).

    Args:
        pictures: uint8, or float in 0..1 where 1 is ink, of shape (rows, columns, height, width).
        rows: a name for each row, written on the left, or none.
        columns: a name for each column, written above, or none.
    """
    num_rows, num_columns = pictures.shape[:2]
    with figure(height=0.4 + 4 * num_rows / num_columns) as (fig, axes):
        draw_picture_grid(axes, pictures, rows, columns)
    return fig


@accepts_any_tensor
def episodes(tasks: Task) -> Figure:
    """Draw image episodes: support set on the left, query set on the right, one row a label (chapters 1, 7 and 8).

    Args:
        tasks: a batch of episodes with pictures of shape (episodes, examples, 1, height, width), uint8 or float in
            0..1. The labels are 0, 1, 2, ..., and each has the same number of support pictures, and of query pictures.
    """
    support = _sorted_by_label(tasks.support_x, tasks.support_y)
    query = _sorted_by_label(tasks.query_x, tasks.query_y)
    count, ways = support.shape[:2]
    widths = [support.shape[2], query.shape[2]]
    height = (0.4 + 3.6 / sum(widths) * ways) * count
    with figure(count, 2, height=height, width_ratios=widths, squeeze=False) as (fig, rows):
        for index, (left, right) in enumerate(rows):
            draw_picture_grid(left, support[index], [f"label {label}" for label in range(ways)])
            draw_picture_grid(right, query[index])
            left.set_title("support")
            right.set_title("query")
    return fig


@accepts_any_tensor
def contact_sheet(
    pictures: Tensor, labels: Sequence[str | None], probabilities: Sequence[float], *, columns: int = 3
) -> Figure:
    """Draw pictures as a network sees them, each with its label and how probable that is (chapter 16).

    Args:
        pictures: uint8, or float in 0..1, of shape (pictures, height, width), bright where the number is large, or
            (pictures, 3, height, width) in colour.
        labels: of each picture, or None for "none of these".
        probabilities: of each picture, the largest of its probabilities.
        columns: pictures side by side, at most.
    """
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    colours = pictures if pictures.ndim == 4 else pictures.unsqueeze(1)
    colours = colours / (255 if pictures.dtype == torch.uint8 else 1)
    height = 1.7  # of a cell, whose picture has the height 1
    with figure(height=0.2 + 4.1 / columns * height * rows) as (fig, axes):
        for place, (picture, label, probability) in enumerate(zip(colours, labels, probabilities, strict=True)):
            row, column = divmod(place, columns)
            left, top = 1.15 * column, height * row
            image = picture.expand(3, -1, -1).movedim(0, 2).clamp(0, 1).numpy()
            axes.imshow(image, extent=(left, left + 1, top + 1, top), interpolation="nearest")
            name = "none of these" if label is None else label
            name = name if len(name) <= 13 else f"{name[:12]}…"
            said = f"{name}\n{probability:.2f}" if label is not None else f"{name}\n(at most {probability:.2f})"
            colour = COLOURS["grey" if label is None else "black"]
            axes.text(
                left + 0.5, top + 1.04, said, ha="center", va="top", color=colour, parse_math=False
            )  # fmt: skip
        axes.set(xlim=(-0.1, 1.15 * columns - 0.05), ylim=(height * rows, -0.05))
        axes.set_axis_off()
    return fig


def _sorted_by_label(pictures: Tensor, labels: Tensor) -> Tensor:
    """Sort the pictures of a batch of episodes by their labels.

    Args:
        pictures: shape (episodes, examples, 1, height, width).
        labels: int, shape (episodes, examples).

    Returns:
        The pictures, of shape (episodes, labels, examples of a label, height, width).
    """
    ways = int(labels.max()) + 1
    episodes = [
        torch.stack([episode[own_labels == label] for label in range(ways)])
        for episode, own_labels in zip(pictures, labels, strict=True)
    ]
    return torch.stack(episodes).squeeze(3)


def accuracy_by_fold(scores: Mapping[str, Sequence[Evaluation]], chance: float) -> Figure:
    """Draw the accuracy in every fold with its 95% interval, one series for each method (chapters 7 and 8).

    The values are written beside the points where there is room, that is, for one or two series.

    Args:
        scores: by method, the score of each fold, in 0..1; at most six methods.
        chance: the accuracy of guessing, in 0..1; a dashed line.
    """
    with figure() as (fig, axes):
        for index, ((label, folds), marker) in enumerate(zip(scores.items(), "osD^vP", strict=False)):
            offset = 0.12 * (index - (len(scores) - 1) / 2)
            places = [fold + offset for fold in range(len(folds))]
            means, half_widths = percent(folds)
            axes.errorbar(places, means, half_widths, fmt=marker, markersize=5, capsize=4, label=label)
            for x, mean in zip(places, means, strict=True) if len(scores) <= 2 else ():
                axes.annotate(f"{mean:.1f}", (x, mean), (0, 8), textcoords="offset points", ha="center")
        axes.axhline(100 * chance, color=COLOURS["grey"], linestyle="--", label="guessing")
        axes.set(xlabel="fold", ylabel="accuracy [%]", ylim=(0, 100), xticks=range(len(folds)))
        legend_above(fig)
    return fig


def method_intervals(scores: Mapping[str, Evaluation], chance: float, highlight: str) -> Figure:
    """Draw the accuracy of each method with its 95% interval, one row for each method (chapter 12).

    Args:
        scores: by method, its score in 0..1.
        chance: the accuracy of guessing, in 0..1; a dashed line.
        highlight: the method that is drawn in blue, with its interval as a band across all rows. The others are grey.
    """
    with figure(height=0.9 + 0.42 * len(scores)) as (fig, axes):
        for label, score in scores.items():
            colour = COLOURS["blue" if label == highlight else "grey"]
            axes.errorbar(100 * score.mean, label, xerr=100 * score.half_width, fmt="o", capsize=4, color=colour)
            axes.annotate(
                f"{100 * score.mean:.1f}", (100 * score.mean, label), (0, 7), textcoords="offset points", ha="center"
            )
        best = scores[highlight]
        axes.axvspan(
            100 * (best.mean - best.half_width), 100 * (best.mean + best.half_width), color=COLOURS["blue"], alpha=0.12
        )
        axes.axvline(100 * chance, color=COLOURS["grey"], linestyle="--")
        axes.set(xlabel="accuracy on held-out digits [%]\n(dashed: guessing)", xlim=(0, 100))
        axes.set_ylim(len(scores) - 0.5, -0.7)
    return fig


def method_seeds(rows: Mapping[str, tuple[Evaluation, Sequence[Evaluation]]], reference: str) -> Figure:
    """Draw the accuracy of each method: the mean over its seeds with an interval, and every seed (chapters 8 and 11).

    Args:
        rows: by method, the mean over the seeds with its 95% interval over tasks, and the score of every seed, in
            0..1. Seeds are marked where there are several.
        reference: the method that is drawn in blue, with a dashed line at its mean. The others are grey.
    """
    with figure(height=1.0 + 0.4 * len(rows)) as (fig, axes):
        axes.axvline(100 * rows[reference][0].mean, color=COLOURS["blue"], linestyle="--", linewidth=1)
        for row, (label, (mean, seeds)) in enumerate(rows.items()):
            colour = COLOURS["blue" if label == reference else "grey"]
            for seed in seeds if len(seeds) > 1 else ():
                axes.plot(100 * seed.mean, row, "|", markersize=13, color=COLOURS["orange"])
            axes.errorbar(100 * mean.mean, row, xerr=100 * mean.half_width, fmt="o", capsize=4, color=colour)
            axes.annotate(
                f"{100 * mean.mean:.1f}", (1.01, row), xycoords=("axes fraction", "data"), va="center",
                annotation_clip=False,
            )  # fmt: skip
        axes.set(xlabel="accuracy on held-out digits [%]", yticks=range(len(rows)))
        axes.set_yticklabels(list(rows))
        axes.set_ylim(len(rows) - 0.5, -0.6)
    return fig


@accepts_any_tensor
def layer_steps(moves: Mapping[str, float], rates: Mapping[str, Tensor]) -> Figure:
    """Draw how far one inner step moves each layer, and the range of the layer's learned rates (chapters 6, 8 and 13).

    Below, a bar holds the middle 90% of the entries of alpha, and a mark stands at their median.

    Args:
        moves: by layer, the length of the step divided by the length of the weights.
        rates: by layer, its entries of alpha, a tensor of any shape.
    """
    names = list(moves)
    with figure(2, height=1.4 + 0.6 * len(names)) as (fig, (left, right)):
        left.barh(names, [100 * move for move in moves.values()], color=COLOURS["blue"])
        left.set(xlabel="step / weights [%]")
        for name, values in rates.items():
            low, median, high = values.flatten().quantile(values.new_tensor([0.05, 0.5, 0.95])).tolist()
            right.plot([low, high], [name, name], color=COLOURS["orange"], linewidth=6, solid_capstyle="butt")
            right.plot(median, name, "|", color=COLOURS["black"], markersize=12, markeredgewidth=2)
        right.axvline(0, color=COLOURS["grey"], linewidth=1)
        right.set(xlabel="alpha: 5% to 95% of entries")
        right.locator_params(axis="x", nbins=4)
        left.invert_yaxis()
        right.invert_yaxis()
        left.grid(axis="y", visible=False)
        right.grid(axis="y", visible=False)
    return fig
