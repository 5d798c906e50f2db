"""The figures of chapter 7: how tasks are drawn and how a score is measured."""

from collections.abc import Mapping, Sequence
from itertools import product

from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from metasgd.plotting.style import COLOURS, accepts_any_tensor, figure, legend_above


def fold_table(held_out: Sequence[Sequence[int]]) -> Figure:
    """Draw which of the ten digits each fold trains on, and which it holds out for the test (chapter 7).

    The figure is ``fig-folds``.

    Args:
        held_out: for each fold, the digits of the test.
    """
    with figure(height=2.6) as (fig, axes):
        for fold, digits in enumerate(held_out):
            for digit in range(10):
                test = digit in digits
                face = COLOURS["orange"] if test else "white"
                axes.add_patch(Rectangle((digit - 0.5, fold - 0.5), 1, 1, facecolor=face, edgecolor=COLOURS["grey"]))
                text, weight = ("test", "bold") if test else ("train", "normal")
                axes.text(digit, fold, text, ha="center", va="center", fontweight=weight)
        axes.set(xlim=(-0.5, 9.5), ylim=(len(held_out) - 0.5, -0.5), xlabel="digit", ylabel="fold")
        axes.set_xticks(range(10))
        axes.set_yticks(range(len(held_out)))
        axes.tick_params(length=0)
        axes.grid(False)
    return fig


@accepts_any_tensor
def place_shares(shares: Mapping[str, Tensor], expected: float) -> Figure:
    """Draw how often each number is drawn to each place, one panel for each way of drawing (chapter 7).

    The figure is ``fig-places``.

    Args:
        shares: by way of drawing, how often each number came to each place, as fractions of shape (places, numbers);
            at least two ways, at most four places.
        expected: the fraction if all numbers are equally likely; a dashed line.
    """
    with figure(len(shares), height=0.6 + 2.2 * len(shares), sharex=True, sharey=True) as (fig, panels):
        for axes, (title, places) in zip(panels, shares.items(), strict=True):
            for place, (fractions, marker) in enumerate(zip(places, "os^v", strict=False), 1):
                axes.plot(fractions, marker, linestyle="-", linewidth=1, label=f"place {place}")
            axes.axhline(expected, color=COLOURS["black"], linestyle="--", linewidth=1)
            axes.set(title=title, xticks=range(places.shape[1]))
        fig.supxlabel("number drawn")
        fig.supylabel("fraction of draws")
        panels[0].set_ylim(bottom=0)
        legend_above(fig, *panels[0].get_legend_handles_labels())
    return fig


def interval_check(counts: Sequence[int], coverage: Mapping[str, Sequence[float]], widths: Sequence[float]) -> Figure:
    """Draw how often a 95% interval holds the true mean, and its half-width, against the number of tasks (chapter 7).

    The figure is ``fig-interval``.

    Args:
        counts: the numbers of tasks; the axes are logarithmic.
        coverage: by kind of interval, the fraction of experiments in which it holds the true mean; two kinds.
        widths: the mean half-width of the first kind, as a fraction. The dashed line is its law, one over the square
            root of the number of tasks.
    """
    with figure(2, height=5.2, sharex=True) as (fig, (left, right)):
        for (label, fractions), marker in zip(coverage.items(), "os", strict=True):
            left.plot(counts, [100 * value for value in fractions], marker, linestyle="-", label=label)
        left.axhline(95, color=COLOURS["black"], linestyle="--", linewidth=1)
        left.set(xscale="log", ylabel="holds the true mean [%]", ylim=(50, 100))
        left.legend(loc="lower left")
        right.loglog(counts, [100 * width for width in widths], "o", label="half-width")
        law = [100 * widths[-1] * (counts[-1] / count) ** 0.5 for count in counts]
        right.loglog(counts, law, "--", color=COLOURS["black"], linewidth=1, label="∝ 1/√T")
        right.set(xlabel="tasks", ylabel="half-width [points]")
        right.set_yticks([1, 2, 5], ["1", "2", "5"])
        for axes in (left, right):
            axes.set_xticks(counts[::2], [str(count) for count in counts[::2]])
            axes.minorticks_off()
        right.legend()
    return fig


@accepts_any_tensor
def turned_digits(accuracy: Tensor, closest: Tensor, kept: Tensor) -> Figure:
    """Draw how well turned digits are told from the upright digit that they resemble most (chapter 7).

    The figure is ``fig-quarter-turns``.

    Args:
        accuracy: fractions of shape (3, digits), for turns by 90, 180 and 270 degrees.
        closest: the upright digit in question, int, shape (3, digits); written in brackets.
        kept: bool, shape (3, digits): which of the turned digits are used as classes of their own; a blue frame.
    """
    with figure(height=3.2) as (fig, axes):
        image = axes.imshow(100 * accuracy.numpy(), cmap="Oranges_r", vmin=50, vmax=100, aspect="auto")
        for turn, digit in product(*map(range, accuracy.shape)):
            text = f"{100 * accuracy[turn, digit]:.0f}\n({closest[turn, digit]})"
            colour = "white" if accuracy[turn, digit] < 0.65 else "black"
            axes.text(digit, turn, text, ha="center", va="center", color=colour)
            if kept[turn, digit]:
                frame = Rectangle((digit - 0.44, turn - 0.44), 0.88, 0.88, fill=False, edgecolor=COLOURS["blue"])
                frame.set_linewidth(2.5)
                axes.add_patch(frame)
        axes.set_yticks(range(len(accuracy)), ["90°", "180°", "270°"])
        axes.set_xticks(range(accuracy.shape[1]))
        axes.set(xlabel="digit", ylabel="turned by")
        axes.grid(False)
        fig.colorbar(image, ax=axes, label="told apart [%]", pad=0.02)
    return fig


def selection_bias(counts: Sequence[int], reported: Sequence[float], fresh: Sequence[float]) -> Figure:
    """Draw the accuracy of the best of many settings, on the tasks that chose it and on fresh tasks (chapter 7).

    The figure is ``fig-selection``.

    Args:
        counts: the numbers of tasks used for choosing; the axis is logarithmic.
        reported: the accuracy on the tasks that chose the winner, in 0..1, for each number.
        fresh: the accuracy of the winner on fresh tasks, in 0..1, for each number.
    """
    with figure() as (fig, axes):
        for values, label, marker in (
            (reported, "on the tasks that chose it", "s"),
            (fresh, "on fresh tasks", "o"),
        ):
            axes.plot(counts, [100 * value for value in values], marker, linestyle="-", label=label)
        axes.fill_between(counts, *([100 * value for value in values] for values in (fresh, reported)), alpha=0.15)
        axes.set(xscale="log", xlabel="tasks used for choosing", ylabel="accuracy of the winner [%]")
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.minorticks_off()
        axes.legend()
    return fig
