"""The figures of chapter 15: where Meta-SGD helps and where it does not."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from metasgd.plotting.style import COLOURS, figure


def crossing_curves(
    x: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    *,
    xlabel: str,
    ylabel: str,
    floor: float | None = None,
    log_x: bool = True,
) -> Figure:
    """Draw positive values of several methods on a logarithmic axis, Meta-SGD with a thick line (chapter 15).

    The figures are ``fig-where-shots`` and ``fig-where-shift``.

    Args:
        x: the values of what is varied.
        curves: by method, its value at each x. "no adaptation", "least squares" and "ideal" have thin lines; any
            others, at most two, are Meta-SGD.
        xlabel: the label of the x axis.
        ylabel: the label of the y axis.
        floor: a value that no method can fall below, drawn dashed, or None.
        log_x: whether the x axis is logarithmic, too.
    """
    styles = {"no adaptation": ("grey", "-"), "least squares": ("red", "-"), "ideal": ("black", ":")}
    with figure(size=(6.4, 4.0)) as (fig, axes):
        ours = iter((("blue", "-"), ("green", "-")))
        for name, values in curves.items():
            colour, line = styles.get(name) or next(ours)
            axes.plot(x, values, line, color=COLOURS[colour], label=name, linewidth=1.8 if name in styles else 3)
        if floor is not None:
            axes.axhline(floor, linestyle="--", linewidth=1, color=COLOURS["grey"])
        axes.set(yscale="log", xlabel=xlabel, ylabel=ylabel)
        if log_x:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_major_formatter("{x:g}")
        fig.legend(loc="outside upper center", ncols=2, fontsize=10)
    return fig
