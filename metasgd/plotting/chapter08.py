"""The figures of chapter 8: Meta-SGD on MNIST."""

from collections.abc import Mapping, Sequence
from itertools import product

from matplotlib.figure import Figure
from torch import Tensor

from metasgd.evaluation import Evaluation
from metasgd.plotting.style import COLOURS, accepts_any_tensor, figure, window_means

ONE_LINE = 36  # letters of names that fit below a figure side by side


def training_curves(
    losses: Mapping[str, Sequence[float]], window: int, steps: Sequence[int], accuracy: Mapping[str, Sequence[float]]
) -> Figure:
    """Draw the meta-loss during meta-training, and the accuracy on several kinds of tasks (chapter 8).

    The figure is ``fig-curves``.

    Args:
        losses: by method, the meta-loss of every meta-update.
        window: the number of meta-updates that are averaged for one point of the loss.
        steps: the numbers of meta-updates after which the accuracy was measured.
        accuracy: by kind of tasks, the accuracy in 0..1 at each of these; at most three kinds.
    """
    with figure(2, height=5.2, sharex=True) as (fig, (left, right)):
        for label, values in losses.items():
            left.plot(*window_means(values, window), label=label)
        left.set(ylabel="query loss after the step", ylim=(0, None))
        left.legend()
        for (label, values), marker, colour in zip(accuracy.items(), "os^", ("green", "blue", "red"), strict=False):
            right.plot(steps, [100 * value for value in values], marker=marker, color=COLOURS[colour], label=label)
        right.set(xlabel="meta-update", ylabel="accuracy [%]", ylim=(0, 100))
        right.legend(loc="lower right")
    return fig


@accepts_any_tensor
def class_probabilities(before: Tensor, after: Tensor, names: Sequence[str]) -> Figure:
    """Draw the mean probability of each label for the queries of each class, before and after the step (chapter 8).

    The figure is ``fig-step``.

    Args:
        before: probabilities with the initialisation, shape (queries, ways), sorted by the class of the query.
        after: probabilities with the adapted parameters, of the same shape and in the same order.
        names: the name of each label, in order; as many as there are ways.
    """
    ways = len(names)
    with figure(2, height=6.4, sharex=True) as (fig, axes):
        for panel, probabilities, title in zip(axes, (before, after), ("before the step", "after it"), strict=True):
            table = probabilities.reshape(ways, -1, ways).mean(1)
            panel.imshow(table, cmap="Blues", vmin=0, vmax=1)
            for row, column in product(range(ways), repeat=2):
                value = table[row, column].item()
                ink = "white" if value > 0.5 else "black"
                panel.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink)
            panel.set(title=title, ylabel="queries of label", xticks=range(ways), yticks=range(ways))
            panel.set_xticklabels(names)
            panel.set_yticklabels(names)
            panel.grid(False)
        axes[-1].set_xlabel("predicted label")
    return fig


def gap_ladder(rungs: Mapping[str, tuple[Evaluation, Evaluation]]) -> Figure:
    """Draw accuracy on the digits of meta-training and on held-out digits, while classes are added (chapter 8).

    The figure is ``fig-gap``.

    Args:
        rungs: by what was added to the classes of meta-training, the score on its own digits and the score on held-out
            digits, both in 0..1.
    """
    # by series: colour, marker, and where the value is written, in points above the marker
    looks = {"its own digits": ("green", "o", 6), "held-out digits": ("blue", "s", -16)}
    with figure(height=3.6) as (fig, axes):
        for place, scores in enumerate(rungs.values()):
            axes.plot([place, place], [100 * score.mean for score in scores], color=COLOURS["grey"], linewidth=1)
            for score, (label, (colour, marker, height)) in zip(scores, looks.items(), strict=True):
                axes.errorbar(
                    place, 100 * score.mean, 100 * score.half_width, fmt=marker, color=COLOURS[colour], capsize=4,
                    label=None if place else label,
                )  # fmt: skip
                axes.annotate(
                    f"{100 * score.mean:.1f}", (place, 100 * score.mean), (0, height), textcoords="offset points",
                    ha="center",
                )  # fmt: skip
        axes.set(ylabel="accuracy [%]", ylim=(40, 105), xticks=range(len(rungs)), xlim=(-0.5, len(rungs) - 0.5))
        crowded = sum(map(len, rungs)) > ONE_LINE  # then names take turns in two lines
        axes.set_xticklabels(["\n" * (crowded and place % 2) + name for place, name in enumerate(rungs)])
        axes.tick_params(axis="x", length=0)  # a mark above "+ glyphs" would read as part of it
        axes.legend(loc="lower right")
    return fig
