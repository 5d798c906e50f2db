"""The figures of chapter 5: Meta-SGD from scratch, and wrong programs that look right."""

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from metasgd.evaluation import Evaluation
from metasgd.plotting.style import COLOURS, figure, legend_above, percent

# The quantities of one meta-update: how each is written, and where it stands in a panel.
QUANTITIES = {
    "theta": (r"$\theta$", (0.08, 0.5)),
    "support gradient": (r"$g$", (0.36, 0.84)),
    "alpha": (r"$\alpha$", (0.36, 0.16)),
    "theta'": (r"$\theta'$", (0.64, 0.5)),
    "query loss": (r"$L_{Q}$", (0.92, 0.5)),
}
# The edges that the meta-gradient runs along. Programs differ in how many of them, counted from the first, are open.
EDGES = [
    ("query loss", "theta'"),
    ("theta'", "theta"),
    ("theta'", "alpha"),
    ("theta'", "support gradient"),
    ("support gradient", "theta"),
]


def rate_sweep(rates: Sequence[float], fixed: Sequence[Evaluation], learned: Evaluation) -> Figure:
    """Draw the query loss that each fixed rate reaches, and the level that learned rates reach (chapter 5).

    The figure is ``fig-scratch-rates``.

    Args:
        rates: the fixed inner rates; the axis is logarithmic.
        fixed: the query loss of the learner of each fixed rate, drawn with its 95% interval.
        learned: the query loss of Meta-SGD, drawn as a line with its 95% interval as a band.
    """
    with figure() as (fig, axes):
        means, half_widths = [score.mean for score in fixed], [score.half_width for score in fixed]
        axes.errorbar(rates, means, half_widths, fmt="s", capsize=4, color=COLOURS["orange"], label="one fixed rate")
        axes.axhline(learned.mean, color=COLOURS["blue"], label="Meta-SGD")
        low, high = learned.mean - learned.half_width, learned.mean + learned.half_width
        axes.axhspan(low, high, color=COLOURS["blue"], alpha=0.2, linewidth=0)
        axes.set(xscale="log", xlabel="inner rate (the same for every weight)", ylabel="query loss", ylim=(0, None))
        axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axes.minorticks_off()
        axes.legend()
    return fig


def gradient_paths() -> Figure:
    """Draw through which quantities the meta-gradient flows in four programs (chapter 5).

    The programs are: exact, first order, parameters written in place, and a step on a copy of the model. The figure is
    ``fig-scratch-paths``.
    """
    num_open_edges = {"exact": 5, "first order": 3, "written in place": 2, "on a copy": 1}
    with figure(2, 2, height=4.6) as (fig, axes):
        for panel, (title, num_open) in zip(axes.flat, num_open_edges.items(), strict=True):
            panel.set_title(title, fontsize=12)
            panel.set(xlim=(0, 1), ylim=(0, 1))
            panel.set_axis_off()
            _draw_graph(panel, num_open, by_accident=("theta'", "theta") if title == "written in place" else None)
        keys = [
            Line2D([], [], color=COLOURS["blue"], label="meta-gradient flows"),
            Line2D([], [], color=COLOURS["grey"], linestyle=":", label="cut"),
            Line2D([], [], color=COLOURS["red"], label="arrives by accident"),
        ]
        legend_above(fig, handles=keys)
    return fig


def _draw_graph(panel: Axes, num_open: int, by_accident: tuple[str, str] | None) -> None:
    """Draw the quantities of a meta-update, and the edges: open ones as arrows, the others dotted.

    Args:
        panel: where to draw; its limits are 0 and 1 on both axes.
        num_open: how many of ``EDGES``, counted from the first, the meta-gradient can run along.
        by_accident: an edge that is drawn in red, or None.
    """
    circle = {"boxstyle": "circle", "facecolor": "white", "edgecolor": COLOURS["black"]}
    for symbol, place in QUANTITIES.values():
        panel.annotate(symbol, place, ha="center", va="center", fontsize=13, bbox=circle)
    for index, (source, target) in enumerate(EDGES):
        is_open = index < num_open
        colour = "red" if (source, target) == by_accident else "blue" if is_open else "grey"
        arrow = {
            "arrowstyle": "-|>" if is_open else "-",
            "linestyle": "-" if is_open else ":",
            "color": COLOURS[colour],
            "linewidth": 2,
            "shrinkA": 15,
            "shrinkB": 15,
        }
        panel.annotate("", QUANTITIES[target][1], QUANTITIES[source][1], arrowprops=arrow)


def loss_against_shots(shots: Sequence[int], losses: Mapping[str, Sequence[Evaluation]], trained_at: int) -> Figure:
    """Draw the query loss after one step against the number of shots, one series for each learner (chapter 5).

    The figure is ``fig-scratch-shots``.

    Args:
        shots: the numbers of support examples; both axes are logarithmic.
        losses: by learner, its query loss at each number of shots, drawn with its 95% interval; two learners.
        trained_at: the number of shots of meta-training; a dashed line.
    """
    with figure() as (fig, axes):
        for (label, scores), marker in zip(losses.items(), "os", strict=True):
            means, half_widths = [score.mean for score in scores], [score.half_width for score in scores]
            axes.errorbar(shots, means, half_widths, fmt=f"{marker}-", capsize=4, label=label)
        axes.axvline(trained_at, color=COLOURS["grey"], linestyle="--", label="shots in training")
        axes.set(xscale="log", yscale="log", xlabel="support examples (shots)", ylabel="query loss")
        axes.set_xticks(shots, [str(count) for count in shots])
        axes.minorticks_off()
        legend_above(fig)
    return fig


def reported_losses(
    reported: Mapping[str, Sequence[float]], measured: Mapping[str, Evaluation], window: int = 20
) -> Figure:
    """Draw the meta-loss that each program reports in training beside what its result is worth (chapter 5).

    The figure is ``fig-scratch-curves``.

    Args:
        reported: by program, the meta-loss of every meta-update; six programs.
        measured: by program, the query loss of the trained learner, all on the same test tasks.
        window: the number of meta-updates over which a curve is averaged.
    """
    looks = zip(
        ("blue", "orange", "green", "red", "purple", "black"), ("-", "-", "--", "-", "--", "-"), "osD^vP", strict=True
    )
    with figure(2, height=5.4, sharey=True, height_ratios=(3, 2)) as (fig, (left, right)):
        for place, (label, (colour, line, marker)) in enumerate(zip(reported, looks, strict=True)):
            smooth = F.avg_pool1d(torch.tensor(reported[label], device="cpu")[None], window, 1)[0]
            left.plot(range(window, len(reported[label]) + 1), smooth, linestyle=line, color=COLOURS[colour])
            score, style = measured[label], {"fmt": marker, "linestyle": line, "color": COLOURS[colour]}
            right.errorbar(place, score.mean, score.half_width, capsize=4, label=label, **style)
        left.set(yscale="log", xlabel="meta-update", ylabel="query loss", title="reported in training")
        right.set(xticks=[], xlim=(-1, len(measured)), title="measured")
        legend_above(fig)
    return fig


def accuracy_bars(scores: Mapping[str, Evaluation], chance: float) -> Figure:
    """Draw accuracies as bars with 95% intervals, the first of which, a leak, is red (chapter 5).

    The figure is ``fig-scratch-leak``.

    Args:
        scores: by label, the score in 0..1; four labels, drawn in red, orange, blue and grey.
        chance: the accuracy of guessing, in 0..1; a dashed line.
    """
    with figure() as (fig, axes):
        labels, (means, half_widths) = list(scores), percent(list(scores.values()))
        colours = [COLOURS[name] for name in ("red", "orange", "blue", "grey")]
        axes.barh(labels, means, xerr=half_widths, color=colours, height=0.6, capsize=4)
        for label, mean, half_width in zip(labels, means, half_widths, strict=True):
            axes.text(mean + half_width + 1, label, f"{mean:.1f}", va="center")
        axes.axvline(100 * chance, color=COLOURS["black"], linestyle="--", linewidth=1)
        axes.set(xlabel="accuracy [%] (dashed: guessing)", xlim=(0, 100))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
    return fig
