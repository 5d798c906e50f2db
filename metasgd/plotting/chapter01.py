"""The figures of chapter 1: training from scratch, and what practice on other tasks gains."""

from collections.abc import Collection, Mapping, Sequence

from matplotlib.figure import Figure

from metasgd.evaluation import Evaluation
from metasgd.plotting.style import COLOURS, figure


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
    with figure(1, len(panels), size=(6.8, 4.2), sharey=True) as (fig, grid):
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
            axes.set(title=title, xlabel="steps on the support set", ylim=(0, 104), xticks=range(0, longest + 1, 5))
        grid[0].set_ylabel("accuracy [%]")
        fig.legend(*grid[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=10)
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
    with figure(1, len(titles), size=(6.8, 1.2 + 0.32 * len(rows)), sharey=True) as (fig, grid):
        for panel, (axes, title) in enumerate(zip(grid, titles, strict=True)):
            for label, scores in rows.items():
                score, colour = scores[panel], COLOURS["blue" if label == highlight else "grey"]
                axes.errorbar(100 * score.mean, label, xerr=100 * score.half_width, fmt="o", capsize=3, color=colour)
            axes.axvline(100 * rows[highlight][panel].mean, color=COLOURS["blue"], linewidth=1, alpha=0.4)
            axes.axvline(100 * chance, color=COLOURS["grey"], linestyle="--", linewidth=1)
            axes.set(title=title, xlabel="accuracy [%]", xlim=(15, 100))
        grid[0].set_ylim(len(rows) - 0.5, -0.5)
    return fig
