"""The figures of chapter 15: where Meta-SGD helps and where it does not."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from metasgd.plotting.style import COLOURS, figure, legend_above


def crossing_curves(
    x: Sequence[float],
    panels: Mapping[str, Mapping[str, Sequence[float]]],
    *,
    xlabel: str,
    floor: float | None = None,
    log_x: bool = True,
) -> Figure:
    """Draw errors of several methods on logarithmic axes, one panel above the other (chapter 15).

    The figures are ``fig-where-shots`` and ``fig-where-shift``. Meta-SGD has a thick line. Where an error is infinite,
    its curve has a gap.

    Args:
        x: the values of what is varied.
        panels: by the label of its y axis, the curves of a panel: by method, its error at each x. "Meta-SGD, one
            step", "no adaptation", "least squares", "ridge", "ridge from the start" and "ideal" have lines of their
            own.
        xlabel: the label of the x axis.
        floor: a value that no method can fall below, drawn dashed, or None.
        log_x: whether the x axis is logarithmic, too.
    """
    styles = {
        "Meta-SGD, one step": ("blue", "-"),
        "no adaptation": ("grey", "-"),
        "least squares": ("red", "-"),
        "ridge": ("orange", "--"),
        "ridge from the start": ("green", "-"),
        "ideal": ("black", ":"),
    }
    with figure(len(panels), height=0.8 + 2.4 * len(panels), sharex=True, squeeze=False) as (fig, rows):
        for (ylabel, curves), (axes,) in zip(panels.items(), rows, strict=True):
            for name, values in curves.items():
                colour, line = styles[name]
                width = 3 if name.startswith("Meta-SGD") else 1.8
                axes.plot(x, values, line, color=COLOURS[colour], label=name, linewidth=width)
            if floor is not None:
                axes.axhline(floor, linestyle="--", linewidth=1, color=COLOURS["grey"])
            axes.set(yscale="log", ylabel=ylabel)
            axes.yaxis.set_major_formatter("{x:g}")
        if log_x:
            axes.set_xscale("log", base=2)
            axes.xaxis.set_major_formatter("{x:g}")
        axes.set_xlabel(xlabel)
        handles, labels = axes.get_legend_handles_labels()
        legend_above(fig, handles, labels)
    return fig
