"""The figures of chapter 11: what the learned rates are, and what depends on them."""

from collections.abc import Callable, Mapping, Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from metasgd.plotting.style import COLOURS, accepts_any_tensor, draw_contours, figure, legend_above


@accepts_any_tensor
def rate_densities(rates: Mapping[str, Tensor], limit: float) -> Figure:
    """Draw how the learned rates of each layer are distributed: histograms one below the other (chapter 11).

    Negative rates are red, others blue; each histogram has the same height. The figure is ``fig-rate-densities``.

    Args:
        rates: by layer, its entries of alpha, a tensor of any shape.
        limit: rates between -limit and limit are shown.
    """
    edges = torch.linspace(-limit, limit, 61, device="cpu")
    with figure(height=0.9 + 0.85 * len(rates)) as (fig, axes):
        for row, entries in enumerate(rates.values()):
            values = entries.flatten().float()
            counts = torch.histogram(values, edges).hist
            heights = 0.85 * counts / counts.max()
            negative = edges[:-1] < -1e-6
            for part, colour in ((negative, "red"), (~negative, "blue")):
                axes.bar(
                    edges[:-1][part], heights[part], edges[1] - edges[0], -row, align="edge", color=COLOURS[colour]
                )
            share = f"{100 * (values < 0).double().mean():.0f}% negative"
            paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}  # readable on top of a bar
            axes.text(-0.97 * limit, -row + 0.5, share, color=COLOURS["red"], va="center", bbox=paper)
        axes.axvline(0, color=COLOURS["black"], linewidth=1)
        axes.set(xlabel=r"rate $\alpha_j$", xlim=(-limit, limit), yticks=[-row for row in range(len(rates))])
        axes.set_yticklabels(list(rates), va="bottom")
        axes.grid(axis="y", visible=False)
    return fig


def rate_ranges(rows: Mapping[str, Sequence[Mapping[str, float]]], start: float) -> Figure:
    """Draw the range of the learned rates of each parameter tensor, one bar for each run (chapter 11).

    At the right stands the share of negative rates, the mean over the runs. The figure is ``fig-rate-ranges``.

    Args:
        rows: by parameter tensor, for each run the ends of the range ("low", "high"), the median ("middle") and the
            share of negative rates ("negative"), as ``rate_statistics`` returns them.
        start: the rate at which all entries began; a dashed line.
    """
    with figure(height=1.1 + 0.36 * len(rows)) as (fig, axes):
        for row, runs in enumerate(rows.values()):
            for index, values in enumerate(runs):
                height = row + 0.22 * (index - (len(runs) - 1) / 2)
                axes.plot([values["low"], values["high"]], [height, height], color=COLOURS["blue"], linewidth=2.5)
                axes.plot(values["middle"], height, "o", markersize=4, color=COLOURS["orange"])
            share = sum(values["negative"] for values in runs) / len(runs)
            colour = COLOURS["red" if share > 0 else "grey"]
            axes.annotate(
                f"{100 * share:.0f}%", (1.01, row), xycoords=("axes fraction", "data"), va="center", color=colour,
                annotation_clip=False,
            )  # fmt: skip
        axes.axvline(0, color=COLOURS["red"], linewidth=1)
        axes.axvline(start, color=COLOURS["grey"], linestyle="--")
        axes.set(xlabel="rate $\\alpha_j$ (dashed: start)\nat the right: negative rates", yticks=range(len(rows)))
        axes.set_yticklabels(list(rows))
        axes.set_ylim(len(rows) - 0.5, -0.6)
    return fig


def scaled_steps(factors: Sequence[float], errors: Mapping[str, Sequence[float]], untouched: float) -> Figure:
    """Draw the error after an inner step whose rates are all multiplied by a factor (chapter 11).

    The figure is ``fig-scaled-steps``.

    Args:
        factors: the factors.
        errors: by kind of rates, the mean squared error at each factor; at most four kinds, the learned rates first,
            in blue.
        untouched: the error without a step; a dashed line.
    """
    styles = [("blue", "o"), ("red", "s"), ("orange", "v"), ("green", "^")]
    with figure(height=3.9) as (fig, axes):
        for (label, values), (colour, marker) in zip(errors.items(), styles, strict=False):
            axes.semilogy(factors, values, marker=marker, markersize=5, color=COLOURS[colour], label=label)
        axes.axhline(untouched, color=COLOURS["grey"], linestyle="--", label="no step")
        axes.set(xlabel="all rates are multiplied by", ylabel="mean squared error")
        legend_above(fig)
    return fig


@accepts_any_tensor
def rate_plane(objective: Callable[[Tensor], Tensor], points: Mapping[str, Tensor]) -> Figure:
    """Draw contours of an objective over two rates, and three points on it (chapter 11).

    Where a rate is negative, the plane is grey. The figure is ``fig-rate-plane``.

    Args:
        objective: a function from rates of shape (n, 2) to values of shape (n,).
        points: by label, two rates, shape (2,); three points.
    """
    styles = [("blue", "o"), ("red", "s"), ("green", "^")]
    with figure(height=4.4) as (fig, axes):
        axes.set(xlim=(-0.4, 2.4), ylim=(-1.4, 0.9), xlabel=r"rate $\alpha_1$", ylabel=r"rate $\alpha_2$")
        axes.axhspan(-1.4, 0, color=COLOURS["grey"], alpha=0.15)
        axes.axvspan(-0.4, 0, color=COLOURS["grey"], alpha=0.15)
        draw_contours(axes, objective, [-0.6, -0.5, -0.4, -0.278, -0.1, 0.2, 0.6], colors=COLOURS["sky"])
        for (label, point), (colour, marker) in zip(points.items(), styles, strict=True):
            axes.plot(*point, marker, color=COLOURS[colour], markersize=9, linestyle="", label=label, zorder=4)
        axes.grid(False)
        legend_above(fig)
    return fig
