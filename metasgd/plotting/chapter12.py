"""The figures of chapter 12: from one data set to another."""

from collections.abc import Mapping
from itertools import product
from typing import Any

from matplotlib.figure import Figure
from torch import Tensor

from metasgd.evaluation import Evaluation
from metasgd.plotting.style import COLOURS, accepts_any_tensor, figure, legend_above, percent


@accepts_any_tensor
def measure_ranges(measures: Mapping[str, Mapping[str, Tensor]]) -> Figure:
    """Draw four measures of the pictures of several data sets, one panel for each measure (chapter 12).

    The thin line holds 90% of the pictures, the thick one half of them, and the mark is at the median. The figure is
    ``fig-across-measures``.

    Args:
        measures: by measure, then by data set, its quantiles at 5%, 25%, 50%, 75% and 95%, shape (5,); four measures.
    """
    names = list(next(iter(measures.values())))
    with figure(4, height=4 * (0.55 + 0.28 * len(names))) as (fig, axes):
        for panel, (measure, sets) in zip(axes.flat, measures.items(), strict=True):
            for place, quantiles in enumerate(sets.values()):
                low, *quartiles, high = quantiles.tolist()
                colour = COLOURS[("blue", "orange", "green", "red", "purple")[place % 5]]
                panel.plot([low, high], [place, place], color=colour, linewidth=1.5)
                panel.plot(quartiles[::2], [place, place], color=colour, linewidth=7, solid_capstyle="butt")
                panel.plot(quartiles[1], place, "|", color=COLOURS["black"], markersize=14, markeredgewidth=2)
            panel.set(xlabel=measure, ylim=(len(names) - 0.5, -0.5), xlim=(0, None))
            panel.set_yticks(range(len(names)), names)
            panel.grid(axis="y", visible=False)
    return fig


def changed_digits(panels: Mapping[str, Mapping[float, Mapping[str, Evaluation]]], chance: float) -> Figure:
    """Draw accuracy against the size of a random change to every picture, one panel for each kind (chapter 12).

    The figure is ``fig-across-changed``.

    Args:
        panels: by kind of change (at least two), then by its size, then by method, the score in 0..1; at most three
            methods.
        chance: the accuracy of guessing, in 0..1; a dashed line.
    """
    with figure(len(panels), height=0.6 + 2.3 * len(panels), sharey=True) as (fig, axes):
        for panel, (change, strengths) in zip(axes, panels.items(), strict=True):
            for method, (colour, marker) in zip(
                next(iter(strengths.values())), (("blue", "o"), ("grey", "s"), ("orange", "^")), strict=False
            ):
                means, half_widths = percent([scores[method] for scores in strengths.values()])
                panel.errorbar(
                    list(strengths), means, half_widths, color=COLOURS[colour], marker=marker, capsize=3, label=method
                )
            panel.axhline(100 * chance, color=COLOURS["black"], linestyle="--", linewidth=1)
            panel.set(xlabel=change, ylim=(0, 100))
        fig.supylabel("accuracy [%]")
        legend_above(fig, *axes[0].get_legend_handles_labels())
    return fig


def ingredient_bars(rungs: Mapping[str, Mapping[int, Evaluation]], chance: float) -> Figure:
    """Draw the accuracy with one more ingredient of the recipe in each row, for several numbers of shots (chapter 12).

    The figure is ``fig-across-ladder``.

    Args:
        rungs: by ingredient, then by number of shots, the score in 0..1; at most two numbers of shots.
        chance: the accuracy of guessing, in 0..1; a dashed line.
    """
    shots = list(next(iter(rungs.values())))
    height = 0.8 / len(shots)
    with figure(height=(1.3 + 0.34 * len(rungs) * len(shots))) as (fig, axes):
        for number, colour in zip(shots, ("blue", "sky"), strict=False):
            places = [row + height * (shots.index(number) - (len(shots) - 1) / 2) for row in range(len(rungs))]
            means, half_widths = percent([rung[number] for rung in rungs.values()])
            label = f"{number} shot" if number == 1 else f"{number} shots"
            look: dict[str, Any] = {"height": 0.9 * height, "color": COLOURS[colour], "capsize": 3}
            axes.barh(places, means, xerr=half_widths, label=label, **look)
            for place, mean, half_width in zip(places, means, half_widths, strict=True):
                axes.text(mean + half_width + 1, place, f"{mean:.1f}", va="center")
        axes.axvline(100 * chance, color=COLOURS["black"], linestyle="--", linewidth=1)
        axes.set_yticks(range(len(rungs)), list(rungs))
        axes.set(xlabel="accuracy [%] (dashed: guessing)", xlim=(0, 105))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        legend_above(fig)
    return fig


def beside_published(ours: Mapping[str, Evaluation], published: Mapping[str, float], chance: float) -> Figure:
    """Draw accuracies with 95% intervals above those that others have published, which have none (chapter 12).

    The figure is ``fig-across-published``.

    Args:
        ours: by label, our scores in 0..1; "nearest class mean", which learns nothing, is grey, the others are blue.
        published: by label, the published accuracies in 0..1; hatched bars.
        chance: the accuracy of guessing, in 0..1; a dashed line.
    """
    with figure(height=1.0 + 0.45 * (len(ours) + len(published))) as (fig, axes):
        for label, score in ours.items():
            colour = COLOURS["grey" if label == "nearest class mean" else "blue"]
            axes.barh(label, 100 * score.mean, xerr=100 * score.half_width, color=colour, height=0.6, capsize=4)
            axes.text(100 * (score.mean + score.half_width) + 1, label, f"{100 * score.mean:.1f}", va="center")
        for label, mean in published.items():
            axes.barh(label, 100 * mean, color="white", edgecolor=COLOURS["grey"], hatch="//", height=0.6)
            axes.text(100 * mean + 1, label, f"{100 * mean:.1f}", va="center")
        axes.axvline(100 * chance, color=COLOURS["black"], linestyle="--", linewidth=1)
        axes.set(xlabel="accuracy [%] (hatched:\npublished; dashed: guessing)", xlim=(0, 105))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
    return fig


@accepts_any_tensor
def confusions(panels: Mapping[str, Tensor]) -> Figure:
    """Draw how often each class is read as each other class, as percentages of a row (chapter 12).

    Shares of 5% and more are written into their cell. The figure is ``fig-across-confusions``.

    Args:
        panels: by title (at least two), counts of shape (classes, classes): the true class, then the class it was read
            as.
    """
    with figure(len(panels), height=4 * len(panels)) as (fig, axes):
        for panel, (title, counts) in zip(axes, panels.items(), strict=True):
            shares = 100 * counts / counts.sum(1, keepdim=True)
            panel.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=100)
            for row, column in product(range(len(shares)), repeat=2):
                value = shares[row, column].item()
                if value >= 5:
                    ink = "white" if value > 50 else "black"
                    panel.text(column, row, f"{value:.0f}", ha="center", va="center", color=ink)
            panel.set(title=title, xlabel="read as", ylabel="digit")
            panel.set(xticks=range(len(shares)), yticks=range(len(shares)))
            panel.grid(False)
    return fig
