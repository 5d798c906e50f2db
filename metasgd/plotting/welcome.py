"""The figure of the book's first page and of the README."""

from collections.abc import Mapping, Sequence

import torch
from matplotlib.figure import Figure

from metasgd._core.task import Task
from metasgd.evaluation import Evaluation
from metasgd.plotting.style import COLOURS, accepts_any_tensor, draw_picture_grid, figure


@accepts_any_tensor
def headline(task: Task, scores: Mapping[str, Mapping[str, Sequence[Evaluation]]], chance: float) -> Figure:
    """Draw the book's story: a task of unseen digits, and the accuracy of methods on such tasks (Welcome, README).

    On the left stand one support picture of each class and its first four query pictures. Each panel on the right has
    a bar for each method, the mean over the folds, and a mark for each fold. Meta-SGD is blue, the other methods are
    grey.

    Args:
        task: one image episode, with pictures of shape (examples, 1, height, width).
        scores: by the title of a panel, then by method, one score for each fold, in 0..1.
        chance: the accuracy of guessing, in 0..1; a dashed line.
    """
    ways = int(task.support_y.max()) + 1
    support = torch.stack([task.support_x[task.support_y == label][0] for label in range(ways)])
    queries = torch.stack([task.query_x[task.query_y == label][:4] for label in range(ways)])
    with figure(1, 2 + len(scores), size=(9.6, 3.3), width_ratios=[0.27, 1, *[1.3] * len(scores)]) as (fig, axes):
        draw_picture_grid(axes[0], support)
        axes[0].set_title("learn", fontsize=11)
        draw_picture_grid(axes[1], queries.squeeze(2))
        axes[1].set_title("then read these", fontsize=11)
        for panel, (title, methods) in zip(axes[2:], scores.items(), strict=True):
            for label, folds in methods.items():
                colour = COLOURS["blue" if label == "Meta-SGD" else "grey"]
                mean = 100 * sum(fold.mean for fold in folds) / len(folds)
                panel.barh(label, mean, color=colour, height=0.6, alpha=0.85)
                panel.plot([100 * fold.mean for fold in folds], [label] * len(folds), "k|", markersize=9)
                panel.text(2, label, f"{mean:.1f}", va="center", color="white", fontweight="bold")
            panel.axvline(100 * chance, color=COLOURS["black"], linestyle="--", linewidth=1)
            panel.set(title=title, xlim=(0, 100), xlabel="accuracy [%]")
            panel.grid(axis="y", visible=False)
            panel.invert_yaxis()
    return fig
