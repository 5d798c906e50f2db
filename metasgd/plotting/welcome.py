"""The figure of the book's first page and of the README."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from matplotlib.figure import Figure

from metasgd._core.task import Task
from metasgd.evaluation import Evaluation
from metasgd.plotting.style import COLOURS, accepts_any_tensor, draw_picture_grid, figure


@accepts_any_tensor
def headline(task: Task, scores: Mapping[str, Mapping[str, Sequence[Evaluation]]], chance: float) -> Figure:
    """Draw the book's story: a task of unseen digits, and the accuracy of methods on such tasks (Welcome, README).

    At the top stand one support picture of each class and its first four query pictures. Each panel below has a bar
    for each method, the mean over the folds, and a mark for each fold. Meta-SGD is blue, the other methods are grey.

    Args:
        task: one image episode, with pictures of shape (examples, 1, height, width).
        scores: by the title of a panel, then by method, one score for each fold, in 0..1.
        chance: the accuracy of guessing, in 0..1; a dashed line.
    """
    ways = int(task.support_y.max()) + 1
    support = torch.stack([task.support_x[task.support_y == label][0] for label in range(ways)])
    queries = torch.stack([task.query_x[task.query_y == label][:4] for label in range(ways)])
    heights = [2, *[1] * len(scores)]
    with figure(len(heights), 2, height=5.4, height_ratios=heights, width_ratios=[1, 4]) as (fig, axes):
        draw_picture_grid(axes[0, 0], support)
        axes[0, 0].set_title("learn")
        draw_picture_grid(axes[0, 1], queries.squeeze(2))
        axes[0, 1].set_title("then read these")
        grid = axes[0, 0].get_gridspec()
        for row, (title, methods) in enumerate(scores.items(), 1):
            axes[row, 0].remove()
            axes[row, 1].remove()
            panel: Any = fig.add_subplot(grid[row, :])
            for label, folds in methods.items():
                colour = COLOURS["blue" if label == "Meta-SGD" else "grey"]
                mean = 100 * sum(fold.mean for fold in folds) / len(folds)
                panel.barh(label, mean, color=colour, height=0.6, alpha=0.85)
                panel.plot([100 * fold.mean for fold in folds], [label] * len(folds), "k|", markersize=9)
                panel.text(2, label, f"{mean:.1f}", va="center", color="white", fontweight="bold")
            panel.axvline(100 * chance, color=COLOURS["black"], linestyle="--", linewidth=1)
            panel.set(title=title, xlim=(0, 100), xlabel="accuracy [%]" if row == len(scores) else None)
            panel.grid(axis="y", visible=False)
            panel.invert_yaxis()
    return fig
