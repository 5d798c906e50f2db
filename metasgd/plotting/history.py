"""The figure of the page that says where Meta-SGD comes from."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from metasgd.plotting.style import COLOURS, figure, legend_above

ROW = 0.245  # inches between works
LANE = 0.05  # of the width, between families


def timeline(works: Sequence[tuple[str, str, str]], families: Mapping[str, str], joined: tuple[int, int]) -> Figure:
    """Draw works from the oldest, at the top, to the newest, with a line for each family.

    Rows are as far apart as letters need, so that the years beside them do not make a scale.

    Args:
        works: of each its years, what is written beside it, and its family.
        families: the name of a colour by family, in the order of their lines.
        joined: the rows of two works, the second of which takes up the first.
    """
    lanes = {family: 0.2 + LANE * index for index, family in enumerate(families)}
    text = 0.2 + LANE * len(families)
    with figure(height=0.8 + ROW * len(works)) as (fig, axes):
        axes.set(xlim=(0, 1), ylim=(len(works) - 0.4, -0.6))
        axes.set_axis_off()
        for family, colour in families.items():
            rows = [row for row, (*_, own) in enumerate(works) if own == family]
            axes.plot(
                [lanes[family]] * len(rows), rows, "o-", color=COLOURS[colour], markersize=7, label=family, zorder=2
            )
        places = [(lanes[works[row][2]], row) for row in joined]
        arrow = {"arrowstyle": "-|>", "color": COLOURS["black"], "shrinkA": 5, "shrinkB": 5, "linewidth": 1}
        axes.annotate("", places[1], places[0], arrowprops=arrow, zorder=3)
        for row, (years, words, _) in enumerate(works):
            weight = "bold" if words.startswith("Meta-SGD") else "normal"
            axes.text(0.15, row, years, ha="right", va="center")
            axes.text(text, row, words, va="center", weight=weight)
        legend_above(fig)
    return fig
