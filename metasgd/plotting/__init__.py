"""Every figure of the book: functions from data to a matplotlib figure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from itertools import product
from typing import Any, ParamSpec

import matplotlib.pyplot as plt
import torch
import torch.nn.functional as F
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.ticker import LogLocator, NullLocator
from torch import Tensor

from metasgd._core.task import Task
from metasgd.evaluation import Evaluation

P = ParamSpec("P")

# Okabe and Ito's palette, told apart by colour-blind readers and in print. Meta-SGD is blue in every figure.
COLOURS = {
    "blue": "#0072B2",
    "orange": "#E69F00",
    "green": "#009E73",
    "red": "#D55E00",
    "purple": "#CC79A7",
    "sky": "#56B4E9",
    "yellow": "#F0E442",
    "black": "#000000",
    "grey": "#767676",
}
STYLE: dict[str, Any] = {
    "figure.figsize": (6.4, 3.6),
    "figure.dpi": 110,
    "figure.constrained_layout.use": True,
    "font.size": 11,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "legend.frameon": False,
    "lines.linewidth": 2,
    "axes.prop_cycle": plt.cycler(color=[COLOURS[name] for name in ("blue", "orange", "green", "red", "purple")]),
}


@contextmanager
def figure(
    rows: int = 1, columns: int = 1, *, size: tuple[float, float] | None = None, **options: Any
) -> Iterator[tuple[Figure, Any]]:
    """Open a figure in the book's style; ``size`` is in inches. Yields (figure, axes) like ``plt.subplots``.

    The figure is closed for pyplot when the block ends, so a notebook shows it once: as the value of its cell.
    """
    with plt.rc_context(STYLE):  # type: ignore[arg-type]
        fig, axes = plt.subplots(rows, columns, figsize=size or STYLE["figure.figsize"], **options)
        yield fig, axes
        plt.close(fig)


def _to_cpu(value: Any) -> Any:
    """Return a tensor, or the tensors of a dictionary, on the CPU, and anything else as it is."""
    if isinstance(value, Mapping):
        return {key: _to_cpu(part) for key, part in value.items()}
    return value.cpu() if isinstance(value, Tensor) else value


def _from_any_device(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Let a function that draws tensors of the CPU draw those of any device."""

    @wraps(draw)
    def draw_from_any_device(*args: P.args, **kwargs: P.kwargs) -> Figure:
        return draw(*map(_to_cpu, args), **_to_cpu(kwargs))

    return draw_from_any_device


def _contours(axes: Axes, function: Callable[[Tensor], Tensor], levels: Sequence[float], **style: Any) -> None:
    """Draw the contours of a function from points (n, 2) to values (n,) within the limits of the axes.

    The function gets its points on PyTorch's default device.
    """
    first, second = (
        torch.linspace(*limits, 201, dtype=torch.float64) for limits in (axes.get_xlim(), axes.get_ylim())
    )
    values = function(torch.cartesian_prod(first, second)).reshape(201, 201)
    axes.contour(first.cpu(), second.cpu(), values.T.cpu(), levels, linewidths=1, **style)


@_from_any_device
def step_directions(
    support_loss: Callable[[Tensor], Tensor],
    query_loss: Callable[[Tensor], Tensor],
    start: Tensor,
    ends: Mapping[str, Tensor],
    optima: Tensor,
) -> Figure:
    """Draw where one inner step goes on the loss contours of a task with two weights (chapter 3).

    Args:
        support_loss: a function from weights of shape (n, 2) to losses of shape (n,).
        query_loss: the same for the query set.
        start: theta, shape (2,).
        ends: theta' for each kind of step, by its label.
        optima: the best weights of several tasks, shape (tasks, 2).
    """
    with figure(size=(6.4, 5.0)) as (fig, axes):
        axes.set(xlim=(-1.5, 3.5), ylim=(-1.8, 2.2), xlabel=r"weight $\theta_1$", ylabel=r"weight $\theta_2$")
        axes.set_aspect("equal")
        levels = [0.1, 0.5, 1.5, 4, 8, 14]
        _contours(axes, support_loss, levels, colors=COLOURS["grey"], linestyles="dashed", alpha=0.6)
        _contours(axes, query_loss, levels, colors=COLOURS["sky"], alpha=0.8)
        axes.plot([], [], "--", color=COLOURS["grey"], linewidth=1, label="support loss")
        axes.plot([], [], color=COLOURS["sky"], linewidth=1, label="query loss")
        axes.plot(*optima.T, "*", color=COLOURS["green"], markersize=12, label="best weights of tasks", zorder=4)
        colours = [COLOURS[name] for name in ("red", "blue")]
        for (label, end), colour in zip(ends.items(), colours, strict=False):
            arrow = {"arrowstyle": "-|>", "color": colour, "linewidth": 2, "shrinkA": 0, "shrinkB": 0}
            axes.annotate("", xy=end.tolist(), xytext=start.tolist(), arrowprops=arrow, zorder=5)
            axes.plot([], [], color=colour, label=label)
        axes.plot(*start, "o", color=COLOURS["black"], markersize=7, label=r"start $\theta$", zorder=6)
        axes.grid(False)
        fig.legend(loc="outside upper center", ncols=2, fontsize=10)
    return fig


@_from_any_device
def rate_landscape(meta_loss: Callable[[Tensor], Tensor], path: Tensor, best: Tensor, best_single: Tensor) -> Figure:
    """Draw the meta-loss over the two entries of alpha, and the way of the outer updates through it (chapter 3).

    Args:
        meta_loss: a function from rates of shape (n, 2) to meta-losses of shape (n,).
        path: alpha after every outer update, shape (updates, 2).
        best: the alpha of the smallest meta-loss, shape (2,).
        best_single: the best alpha whose two entries are equal, shape (2,).
    """
    with figure(size=(6.4, 5.0)) as (fig, axes):
        axes.set(xlim=(-0.1, 0.5), ylim=(-0.5, 0.3), xlabel=r"rate $\alpha_1$", ylabel=r"rate $\alpha_2$")
        _contours(axes, meta_loss, [0.1, 0.5, 1, 2, 4, 6, 10, 16, 24], colors=COLOURS["sky"])
        axes.plot([-0.1, 0.3], [-0.1, 0.3], "--", color=COLOURS["red"], label="one rate for all (MAML)")
        axes.plot(*best_single, "D", color=COLOURS["red"], label="best single rate")
        axes.plot(*path.T, ".-", color=COLOURS["blue"], linewidth=1, label=r"learned $\alpha$, update by update")
        axes.plot(*best, "*", color=COLOURS["green"], markersize=15, label=r"best $\alpha$", zorder=5)
        axes.axhline(0, color=COLOURS["grey"], linewidth=0.8)
        axes.axvline(0, color=COLOURS["grey"], linewidth=0.8)
        axes.grid(False)
        fig.legend(loc="outside upper center", ncols=2, fontsize=10)
    return fig


def difference_errors(spacings: Sequence[float], errors: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the error of central differences against their spacing h, one line for each number format (chapter 3)."""
    with figure() as (fig, axes):
        for (label, values), marker in zip(errors.items(), "os^v", strict=False):
            axes.loglog(spacings, values, marker, linestyle="-", markersize=4, label=label)
        axes.set(xlabel="spacing $h$ of the differences", ylabel="relative error")
        axes.legend()
    return fig


@_from_any_device
def task_parabolas(rates: Tensor, losses: Tensor, best: float) -> Figure:
    """Draw the query loss of several tasks against the one rate that they share, and its mean (chapter 4).

    Args:
        rates: the values of alpha, shape (rates,).
        losses: one row for each task, shape (tasks, rates).
        best: the alpha that the distribution of tasks wants.
    """
    with figure() as (fig, axes):
        for index, row in enumerate(losses):
            axes.plot(rates, row, color=COLOURS["sky"], linewidth=1, label="one task" if index == 0 else None)
            lowest = row.argmin()
            if 0 < lowest < len(rates) - 1:
                axes.plot(rates[lowest], row[lowest], ".", color=COLOURS["sky"])
        axes.plot(rates, losses.mean(0), color=COLOURS["blue"], label="mean of these tasks")
        axes.axvline(best, linestyle="--", color=COLOURS["green"], label=r"best shared $\alpha$, all tasks")
        axes.set(xlabel=r"rate $\alpha$", ylabel="query loss / loss before the step", ylim=(-0.05, 2))
        fig.legend(loc="outside upper center", ncols=3, fontsize=10)
    return fig


def rates_against_shots(
    shots: Sequence[int], rates: Mapping[str, Sequence[float]], limits: Mapping[str, float]
) -> Figure:
    """Draw the best alpha against the number of support examples, with its limit for many (chapter 4).

    Args:
        shots: the numbers of support examples K.
        rates: by label, the best rate for each K.
        limits: by the same labels, the limit for K to infinity.
    """
    with figure() as (fig, axes):
        for (label, values), marker in zip(rates.items(), "os^v", strict=False):
            (line,) = axes.semilogx(shots, values, marker, linestyle="-", markersize=5, label=label)
            axes.axhline(limits[label], linestyle="--", linewidth=1, color=line.get_color())
        axes.set(xlabel="support examples $K$", ylabel=r"best rate $\alpha_i$", ylim=(-0.005, 3))
        axes.set_yscale("symlog", linthresh=0.03)
        axes.set_yticks([0, 0.03, 0.1, 0.3, 1, 3], ["0", "0.03", "0.1", "0.3", "1", "3"])
        fig.legend(loc="outside upper center", ncols=2, fontsize=10)
    return fig


@_from_any_device
def training_path(theta: Tensor, alpha: Tensor, best_theta: Tensor, best_alpha: Tensor) -> Figure:
    """Draw how theta and alpha move during meta-training, with dashed lines where theory ends (chapter 4).

    Args:
        theta: its values before every meta-step, shape (steps, d).
        alpha: likewise.
        best_theta: the closed form, shape (d,).
        best_alpha: likewise.
    """
    with figure(2, 1, size=(6.4, 5.6), sharex=True) as (fig, rows):
        for axes, path, best, name in zip(
            rows, (theta, alpha), (best_theta, best_alpha), ("theta", "alpha"), strict=True
        ):
            for index, (values, target) in enumerate(zip(path.T, best, strict=True)):
                (line,) = axes.plot(values, label=f"$i = {index + 1}$")
                axes.axhline(float(target), linestyle="--", linewidth=1, color=line.get_color())
            axes.set(ylabel=rf"$\{name}_i$")
        rows[1].set(xlabel="meta-step")
        fig.legend(*rows[0].get_legend_handles_labels(), loc="outside upper center", ncols=4)
    return fig


def loss_against_scale(
    ratios: Sequence[float],
    theory: Mapping[str, Sequence[float]],
    measured: Mapping[str, Sequence[tuple[float, float]]],
) -> Figure:
    """Draw the query loss of each kind of rate against how badly the inputs are scaled (chapter 4).

    Args:
        ratios: the largest standard deviation of an input over the smallest.
        theory: by label, the expected query loss for every ratio.
        measured: by the same labels, (mean, 95% half-width) over tasks for every ratio.
    """
    with figure() as (fig, axes):
        for (label, values), name in zip(theory.items(), ("grey", "red", "blue"), strict=False):
            axes.semilogx(ratios, values, color=COLOURS[name], label=label)
            if label in measured:
                means, half_widths = zip(*measured[label], strict=True)
                axes.errorbar(ratios, means, half_widths, fmt="o", color=COLOURS[name], markersize=4, capsize=3)
        axes.set(
            xlabel="largest input scale / smallest input scale", ylabel="query loss after one step", ylim=(0, None)
        )
        axes.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
        axes.minorticks_off()
        axes.legend(fontsize=10)
    return fig


def _show_grid(axes: Axes, pictures: Tensor, rows: Sequence[str] = (), columns: Sequence[str] = ()) -> None:
    """Show pictures (rows, columns, height, width), uint8 or 0..1, as ink on paper, with names left and above."""
    pictures = pictures.cpu() / (255 if pictures.dtype == torch.uint8 else 1)
    gap = max(1, pictures.shape[-1] // 12)
    cells = F.pad(pictures, (0, gap, 0, gap))  # blank paper right of and below every picture
    height, width = cells.shape[2:]
    mosaic = cells.transpose(1, 2).flatten(2).flatten(0, 1)[:-gap, :-gap]
    axes.imshow(mosaic.numpy(), cmap="gray_r", vmin=0, vmax=1)
    axes.set_yticks([height * row + (height - gap) / 2 for row in range(len(rows))], rows)
    axes.set_xticks([width * column + (width - gap) / 2 for column in range(len(columns))], columns)
    axes.tick_params(length=0, top=False, labeltop=True, bottom=False, labelbottom=False)
    axes.spines[:].set_visible(False)
    axes.grid(False)


def picture_grid(pictures: Tensor, rows: Sequence[str] = (), columns: Sequence[str] = ()) -> Figure:
    """Draw pictures in rows and columns, as ink on paper (chapters 7 and 8).

    Args:
        pictures: uint8 or float in 0..1, of shape (rows, columns, height, width).
        rows: a name for each row, or none.
        columns: a name for each column, or none.
    """
    down, across = pictures.shape[:2]
    with figure(size=(6.4, 0.4 + 5.8 * down / across)) as (fig, axes):
        _show_grid(axes, pictures, rows, columns)
    return fig


def episodes(tasks: Task) -> Figure:
    """Draw a batch of image episodes: support left, query right, one row of pictures for each label (chapter 7)."""
    support, query = (
        [x[y == label] for label in y.unique()]
        for x, y in ((tasks.support_x, tasks.support_y), (tasks.query_x, tasks.query_y))
    )
    count, ways = len(tasks.support_y), len(support)
    # (labels, episodes * examples, 1, height, width) -> (episodes, labels, examples, height, width)
    support, query = (torch.stack(x).unflatten(1, (count, -1)).squeeze(3).transpose(0, 1) for x in (support, query))
    widths = [support.shape[2], query.shape[2]]
    size = (6.4, (0.4 + 5.3 / sum(widths) * ways) * count)
    with figure(count, 2, size=size, width_ratios=widths, squeeze=False) as (fig, rows):
        for index, (left, right) in enumerate(rows):
            _show_grid(left, support[index], [f"label {label}" for label in range(ways)])
            _show_grid(right, query[index])
            left.set_title("support")
            right.set_title("query")
    return fig


def fold_table(held_out: Sequence[Sequence[int]]) -> Figure:
    """Draw which of the ten digits each fold trains on and which it holds out (chapter 7)."""
    with figure(size=(6.4, 2.6)) as (fig, axes):
        for fold, digits in enumerate(held_out):
            for digit in range(10):
                test = digit in digits
                face = COLOURS["orange"] if test else "white"
                axes.add_patch(Rectangle((digit - 0.5, fold - 0.5), 1, 1, facecolor=face, edgecolor=COLOURS["grey"]))
                text, weight = ("test", "bold") if test else ("train", "normal")
                axes.text(digit, fold, text, ha="center", va="center", fontsize=10, fontweight=weight)
        axes.set(xlim=(-0.5, 9.5), ylim=(len(held_out) - 0.5, -0.5), xlabel="digit", ylabel="fold")
        axes.set_xticks(range(10))
        axes.set_yticks(range(len(held_out)))
        axes.tick_params(length=0)
        axes.grid(False)
    return fig


def place_shares(shares: Mapping[str, Tensor], expected: float) -> Figure:
    """Draw how often each number is drawn to each place, one panel for each way of drawing (chapter 7).

    Args:
        shares: for each way of drawing, fractions of shape (places, numbers).
        expected: the fraction if all are equally likely.
    """
    with figure(1, len(shares), size=(6.4, 3.2), sharey=True) as (fig, panels):
        for axes, (title, places) in zip(panels, shares.items(), strict=True):
            for place, (fractions, marker) in enumerate(zip(places, "os^v", strict=False), 1):
                axes.plot(fractions, marker, linestyle="-", linewidth=1, label=f"place {place}")
            axes.axhline(expected, color=COLOURS["black"], linestyle="--", linewidth=1)
            axes.set(title=title, xlabel="number drawn", xticks=range(places.shape[1]))
        panels[0].set_ylabel("fraction of draws")
        panels[0].set_ylim(bottom=0)
        panels[0].legend(fontsize=10)
    return fig


def interval_check(counts: Sequence[int], coverage: Mapping[str, Sequence[float]], widths: Sequence[float]) -> Figure:
    """Draw how often an interval holds the true mean, and its half-width, against the number of tasks (chapter 7).

    Args:
        counts: numbers of tasks.
        coverage: for each kind of interval, the fraction of experiments in which it holds the true mean.
        widths: mean half-width of the first kind, as a fraction.
    """
    with figure(1, 2, size=(6.6, 3.4)) as (fig, (left, right)):
        for (label, fractions), marker in zip(coverage.items(), "os", strict=True):
            left.plot(counts, [100 * value for value in fractions], marker, linestyle="-", label=label)
        left.axhline(95, color=COLOURS["black"], linestyle="--", linewidth=1)
        left.set(xscale="log", xlabel="tasks", ylabel="holds the true mean [%]", ylim=(50, 100))
        left.legend(fontsize=10, loc="lower left")
        right.loglog(counts, [100 * width for width in widths], "o", label="half-width")
        law = [100 * widths[-1] * (counts[-1] / count) ** 0.5 for count in counts]
        right.loglog(counts, law, "--", color=COLOURS["black"], linewidth=1, label=r"$\propto 1/\sqrt{T}$")
        right.set(xlabel="tasks", ylabel="half-width [points]")
        right.set_yticks([1, 2, 5], ["1", "2", "5"])
        for axes in (left, right):
            axes.set_xticks(counts[::2], [str(count) for count in counts[::2]])
            axes.minorticks_off()
        right.legend(fontsize=10)
    return fig


def accuracy_by_fold(scores: Mapping[str, Sequence[Evaluation]], chance: float) -> Figure:
    """Draw the accuracy in every fold with its 95% interval, one series for each label (chapters 7 and 8).

    The values stand beside the points where there is room: up to two series.
    """
    with figure() as (fig, axes):
        for index, ((label, folds), marker) in enumerate(zip(scores.items(), "osD^vP", strict=False)):
            place = [fold + 0.12 * (index - (len(scores) - 1) / 2) for fold in range(len(folds))]
            means = [100 * fold.mean for fold in folds]
            widths = [100 * fold.half_width for fold in folds]
            axes.errorbar(place, means, widths, fmt=marker, markersize=5, capsize=4, label=label)
            for x, mean in zip(place, means, strict=True) if len(scores) <= 2 else ():
                axes.annotate(f"{mean:.1f}", (x, mean), (0, 8), textcoords="offset points", ha="center", fontsize=10)
        axes.axhline(100 * chance, color=COLOURS["grey"], linestyle="--", label="guessing")
        axes.set(xlabel="fold", ylabel="accuracy [%]", ylim=(0, 100), xticks=range(len(folds)))
        fig.legend(loc="outside upper center", ncols=3, fontsize=10)
    return fig


def turned_digits(accuracy: Tensor, closest: Tensor, kept: Tensor) -> Figure:
    """Draw how well turned digits are told from the most similar upright digit, the turns kept framed (chapter 7).

    Args:
        accuracy: fractions of shape (turns, digits) for one, two and three quarter turns.
        closest: the upright digit in question, the same shape.
        kept: bool, the same shape.
    """
    with figure(size=(6.6, 3.0)) as (fig, axes):
        image = axes.imshow(100 * accuracy.numpy(), cmap="Oranges_r", vmin=50, vmax=100, aspect="auto")
        for turn, digit in product(*map(range, accuracy.shape)):
            text = f"{100 * accuracy[turn, digit]:.0f}\n({closest[turn, digit]})"
            colour = "white" if accuracy[turn, digit] < 0.65 else "black"
            axes.text(digit, turn, text, ha="center", va="center", fontsize=11, color=colour)
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
    """Draw the winner's accuracy on the tasks that chose it, and on fresh ones, against their number (chapter 7)."""
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


def rate_sweep(rates: Sequence[float], fixed: Sequence[Evaluation], learned: Evaluation) -> Figure:
    """Draw the query loss that each fixed rate reaches, and the level of learned rates, with 95% bands (chapter 5)."""
    with figure() as (fig, axes):
        means, widths = [score.mean for score in fixed], [score.half_width for score in fixed]
        axes.errorbar(rates, means, widths, fmt="s", capsize=4, color=COLOURS["orange"], label="one fixed rate")
        axes.axhline(learned.mean, color=COLOURS["blue"], label="Meta-SGD")
        low, high = learned.mean - learned.half_width, learned.mean + learned.half_width
        axes.axhspan(low, high, color=COLOURS["blue"], alpha=0.2, linewidth=0)
        axes.set(xscale="log", xlabel="inner rate (the same for every weight)", ylabel="query loss", ylim=(0, None))
        axes.set_xticks(rates, [f"{rate:g}" for rate in rates])
        axes.minorticks_off()
        axes.legend()
    return fig


def gradient_paths() -> Figure:
    """Draw where the meta-gradient can flow: exact, first order, written in place, and on a copy (chapter 5)."""
    places = {
        r"$\theta$": (0.08, 0.5),
        r"$g_{S}$": (0.36, 0.84),
        r"$\alpha$": (0.36, 0.16),
        r"$\theta'$": (0.64, 0.5),
        r"$L_{Q}$": (0.92, 0.5),
    }
    theta, gradient, alpha, adapted, loss = places
    edges = [(loss, adapted), (adapted, theta), (adapted, alpha), (adapted, gradient), (gradient, theta)]
    open_edges = {"exact": 5, "first order": 3, "written in place": 2, "on a copy": 1}  # so many of the edges
    with figure(2, 2, size=(6.4, 4.6)) as (fig, axes):
        for panel, (title, count) in zip(axes.flat, open_edges.items(), strict=True):
            panel.set_title(title, fontsize=12)
            panel.set(xlim=(0, 1), ylim=(0, 1))
            panel.set_axis_off()
            for name, place in places.items():
                panel.annotate(
                    name,
                    place,
                    ha="center",
                    va="center",
                    fontsize=13,
                    bbox={"boxstyle": "circle", "facecolor": "white", "edgecolor": COLOURS["black"]},
                )
            for index, (source, target) in enumerate(edges):
                lucky = title == "written in place" and (source, target) == (adapted, theta)
                colour = "red" if lucky else "blue" if index < count else "grey"
                panel.annotate(
                    "",
                    places[target],
                    places[source],
                    arrowprops={
                        "arrowstyle": "-|>" if index < count else "-",
                        "color": COLOURS[colour],
                        "linestyle": "-" if index < count else ":",
                        "linewidth": 2,
                        "shrinkA": 15,
                        "shrinkB": 15,
                    },
                )
        keys = [
            Line2D([], [], color=COLOURS["blue"], label="meta-gradient flows"),
            Line2D([], [], color=COLOURS["grey"], linestyle=":", label="cut"),
            Line2D([], [], color=COLOURS["red"], label="arrives by accident"),
        ]
        fig.legend(handles=keys, loc="outside lower center", ncols=3, fontsize=10)
    return fig


def loss_against_shots(shots: Sequence[int], losses: Mapping[str, Sequence[Evaluation]], trained_at: int) -> Figure:
    """Draw the query loss after one step against the shots, one series a learner, with 95% intervals (chapter 5)."""
    with figure() as (fig, axes):
        for (label, scores), marker in zip(losses.items(), "os", strict=True):
            means, widths = [score.mean for score in scores], [score.half_width for score in scores]
            axes.errorbar(shots, means, widths, fmt=f"{marker}-", capsize=4, label=label)
        axes.axvline(trained_at, color=COLOURS["grey"], linestyle="--", label="shots in training")
        axes.set(xscale="log", yscale="log", xlabel="support examples (shots)", ylabel="query loss")
        axes.set_xticks(shots, [str(count) for count in shots])
        axes.minorticks_off()
        axes.legend()
    return fig


def reported_losses(
    reported: Mapping[str, Sequence[float]], measured: Mapping[str, Evaluation], window: int = 20
) -> Figure:
    """Draw the meta-loss that each program prints in training, and what its result is worth (chapter 5).

    Args:
        reported: for each program, the meta-loss of every meta-step.
        measured: for each program, the query loss of the trained learner, all on the same test tasks.
        window: meta-steps over which a curve is averaged.
    """
    looks = zip(
        ("blue", "orange", "green", "red", "purple", "black"), ("-", "-", "--", "-", "--", "-"), "osD^vP", strict=True
    )
    with figure(1, 2, size=(6.6, 4.2), sharey=True, width_ratios=(3, 1)) as (fig, (left, right)):
        for place, (label, (colour, line, marker)) in enumerate(zip(reported, looks, strict=True)):
            smooth = F.avg_pool1d(torch.tensor(reported[label], device="cpu")[None], window, 1)[0]
            left.plot(range(window, len(reported[label]) + 1), smooth, linestyle=line, color=COLOURS[colour])
            score, style = measured[label], {"fmt": marker, "linestyle": line, "color": COLOURS[colour]}
            right.errorbar(place, score.mean, score.half_width, capsize=4, label=label, **style)
        left.set(yscale="log", xlabel="meta-step", ylabel="query loss", title="reported in training")
        right.set(xticks=[], xlim=(-1, len(measured)), title="measured")
        fig.legend(loc="outside upper center", ncols=3, fontsize=10)
    return fig


def accuracy_bars(scores: Mapping[str, Evaluation], chance: float) -> Figure:
    """Draw accuracies as bars with 95% intervals, the first one, which is not to be believed, in red (chapter 5)."""
    with figure(size=(6.4, 3.2)) as (fig, axes):
        labels = list(scores)
        means = [100 * score.mean for score in scores.values()]
        widths = [100 * score.half_width for score in scores.values()]
        colours = [COLOURS[name] for name in ("red", "orange", "blue", "grey")]
        axes.barh(labels, means, xerr=widths, color=colours, height=0.6, capsize=4)
        for label, mean, width in zip(labels, means, widths, strict=True):
            axes.text(mean + width + 1, label, f"{mean:.1f}", va="center", fontsize=11)
        axes.axvline(100 * chance, color=COLOURS["black"], linestyle="--", linewidth=1)
        axes.set(xlabel="accuracy [%] (dashed: guessing)", xlim=(0, 100))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
    return fig


def training_curves(
    losses: Mapping[str, Sequence[float]], window: int, steps: Sequence[int], accuracy: Mapping[str, Sequence[float]]
) -> Figure:
    """Draw the meta-loss, averaged over a window, and the accuracy on several kinds of tasks (chapter 8).

    Args:
        losses: by method, the loss of every meta-update.
        window: meta-updates in one point of the loss.
        steps: meta-updates done at each measurement of accuracy.
        accuracy: by kind of tasks, the accuracy in 0..1 at these steps.
    """
    with figure(1, 2, size=(6.8, 3.4)) as (fig, (left, right)):
        for label, values in losses.items():
            means = torch.tensor(values).unfold(0, window, window).mean(1)
            left.plot([window * (index + 1) for index in range(len(means))], means, label=label)
        left.set(xlabel="meta-update", ylabel="query loss after the step", ylim=(0, None))
        left.legend(fontsize=10)
        for (label, values), marker, colour in zip(accuracy.items(), "os^", ("green", "blue", "red"), strict=False):
            right.plot(steps, [100 * value for value in values], marker=marker, color=COLOURS[colour], label=label)
        right.set(xlabel="meta-update", ylabel="accuracy [%]", ylim=(0, 100))
        right.legend(fontsize=10, loc="lower right")
    return fig


def method_intervals(scores: Mapping[str, Evaluation], chance: float, highlight: str) -> Figure:
    """Draw accuracies with their 95% intervals, one row a method, the band of one of them marked (chapter 8)."""
    with figure(size=(6.4, 0.9 + 0.42 * len(scores))) as (fig, axes):
        for label, score in scores.items():
            colour = COLOURS["blue" if label == highlight else "grey"]
            axes.errorbar(100 * score.mean, label, xerr=100 * score.half_width, fmt="o", capsize=4, color=colour)
            axes.annotate(
                f"{100 * score.mean:.1f}", (100 * score.mean, label), (0, 7), textcoords="offset points", ha="center"
            )
        best = scores[highlight]
        axes.axvspan(
            100 * (best.mean - best.half_width), 100 * (best.mean + best.half_width), color=COLOURS["blue"], alpha=0.12
        )
        axes.axvline(100 * chance, color=COLOURS["grey"], linestyle="--")
        axes.set(xlabel="accuracy on held-out digits [%] (dashed: guessing)", xlim=(0, 100))
        axes.set_ylim(len(scores) - 0.5, -0.7)
    return fig


def class_probabilities(before: Tensor, after: Tensor, names: Sequence[str]) -> Figure:
    """Draw the mean probability of each class for the queries of each class, before and after the step (chapter 8).

    Args:
        before: probabilities with the initialisation, (queries, ways), the queries class by class.
        after: the same with the adapted parameters.
        names: what each class shows.
    """
    ways = len(names)
    with figure(1, 2, size=(6.6, 3.4), sharey=True) as (fig, axes):
        for panel, probabilities, title in zip(axes, (before, after), ("before the step", "after it"), strict=True):
            table = probabilities.reshape(ways, -1, ways).mean(1).cpu()
            panel.imshow(table, cmap="Blues", vmin=0, vmax=1)
            for row in range(ways):
                for column in range(ways):
                    value = table[row, column].item()
                    ink = "white" if value > 0.5 else "black"
                    panel.text(column, row, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=10)
            panel.set(title=title, xlabel="predicted label", xticks=range(ways), yticks=range(ways))
            panel.set_xticklabels(names)
            panel.set_yticklabels(names)
            panel.grid(False)
        axes[0].set_ylabel("queries of label")
    return fig


def layer_steps(moves: Mapping[str, float], rates: Mapping[str, Tensor]) -> Figure:
    """Draw how far one step moves each layer, and the middle and the ends of its learned rates (chapter 8).

    Args:
        moves: by layer, the length of the step relative to the length of the weights.
        rates: by layer, its entries of alpha.
    """
    names = list(moves)
    with figure(1, 2, size=(6.8, 0.9 + 0.36 * len(names)), sharey=True) as (fig, (left, right)):
        left.barh(names, [100 * move for move in moves.values()], color=COLOURS["blue"])
        left.set(xlabel="step / weights [%]")
        for name, values in rates.items():
            low, middle, high = (
                values.flatten().quantile(torch.tensor([0.05, 0.5, 0.95], device=values.device)).tolist()
            )
            right.plot([low, high], [name, name], color=COLOURS["orange"], linewidth=6, solid_capstyle="butt")
            right.plot(middle, name, "|", color=COLOURS["black"], markersize=12, markeredgewidth=2)
        right.axvline(0, color=COLOURS["grey"], linewidth=1)
        right.set(xlabel="alpha: 5% to 95% of entries")
        right.locator_params(axis="x", nbins=4)
        left.invert_yaxis()
        left.grid(axis="y", visible=False)
        right.grid(axis="y", visible=False)
    return fig


def gap_ladder(rungs: Mapping[str, tuple[Evaluation, Evaluation]]) -> Figure:
    """Draw accuracy on a run's own digits and on held-out ones, one pair for each widening of the classes (chapter 8).

    Args:
        rungs: by name, (own digits, held-out digits).
    """
    with figure(size=(6.4, 3.4)) as (fig, axes):
        for place, (own, held_out) in enumerate(rungs.values()):
            axes.plot([place, place], [100 * own.mean, 100 * held_out.mean], color=COLOURS["grey"], linewidth=1)
            for score, colour, marker, below in ((own, "green", "o", 6), (held_out, "blue", "s", -16)):
                axes.errorbar(
                    place, 100 * score.mean, 100 * score.half_width, fmt=marker, color=COLOURS[colour], capsize=4,
                    label={"green": "its own digits", "blue": "held-out digits"}[colour] if place == 0 else None,
                )  # fmt: skip
                axes.annotate(
                    f"{100 * score.mean:.1f}", (place, 100 * score.mean), (0, below), textcoords="offset points",
                    ha="center",
                )  # fmt: skip
        axes.set(ylabel="accuracy [%]", ylim=(40, 105), xticks=range(len(rungs)), xlim=(-0.5, len(rungs) - 0.5))
        axes.set_xticklabels(list(rungs))
        axes.legend(fontsize=10, loc="lower right")
    return fig


def headline(task: Task, scores: Mapping[str, Mapping[str, Sequence[Evaluation]]], chance: float) -> Figure:
    """Draw the book's story: one task of digits never seen before, and how well methods do on such tasks (README).

    Args:
        task: one image episode; one support picture of each class and its first query pictures are shown.
        scores: by panel title, then by method, the scores of the five folds.
        chance: the accuracy of guessing.
    """
    ways = int(task.support_y.max()) + 1
    support = torch.stack([task.support_x[task.support_y == label][0] for label in range(ways)])
    queries = torch.stack([task.query_x[task.query_y == label][:4] for label in range(ways)])
    with figure(1, 2 + len(scores), size=(9.6, 3.3), width_ratios=[0.27, 1, *[1.3] * len(scores)]) as (fig, axes):
        _show_grid(axes[0], support)
        axes[0].set_title("learn", fontsize=11)
        _show_grid(axes[1], queries.squeeze(2))
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


# ---------------------------------------------------------------------------------------------------------------
# Chapter 10


def time_shares(shares: Mapping[str, float], notes: Mapping[str, str]) -> Figure:
    """Draw where the time of one meta-step goes, the longest part first, with a note at each bar (chapter 10).

    Args:
        shares: milliseconds by kind of work.
        notes: what each kind is, in a few words.
    """
    kinds, total = sorted(shares, key=shares.__getitem__, reverse=True), sum(shares.values())
    with figure(size=(6.4, 0.7 + 0.62 * len(kinds))) as (fig, axes):
        for place, kind in enumerate(kinds):
            axes.barh(place, shares[kind], color=COLOURS["blue"], height=0.42)
            share = f"{shares[kind]:.1f} ms, {shares[kind] / total:.0%}"
            axes.text(shares[kind] + 0.01 * total, place, share, va="center", fontsize=10)
            axes.text(0, place - 0.27, f"{kind}: {notes[kind]}", va="bottom", fontsize=10)
        axes.set(xlabel="time [ms]", xlim=(0, 1.35 * max(shares.values())), ylim=(len(kinds) - 0.6, -0.85), yticks=[])
        axes.spines["left"].set_visible(False)
        axes.grid(axis="y", visible=False)
    return fig


def precision_errors(errors: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw relative errors of a meta-gradient, one row a precision, one mark for each meta-batch (chapter 10).

    Args:
        errors: by kind of network, then by precision, one error for each meta-batch.
    """
    rows = list(dict.fromkeys(name for kinds in errors.values() for name in kinds))
    with figure(size=(6.4, 1.5 + 0.5 * len(rows))) as (fig, axes):
        for (kind, by_name), colour, marker, lift in zip(
            errors.items(), ("red", "blue"), "os", (-0.14, 0.14), strict=False
        ):
            for name, values in by_name.items():
                place = [rows.index(name) + lift] * len(values)
                label = kind if name == next(iter(by_name)) else None
                axes.plot(values, place, marker, color=COLOURS[colour], alpha=0.6, markersize=6, label=label)
        axes.set(xscale="log", xlabel="relative difference from the exact meta-gradient", ylim=(len(rows) - 0.5, -0.5))
        axes.set_yticks(range(len(rows)), rows)
        fig.legend(loc="outside upper center", ncols=2, fontsize=10)
    return fig


def memory_curves(
    batches: Sequence[int],
    by_batch: Mapping[str, Sequence[float]],
    steps: Sequence[int],
    by_steps: Mapping[str, Sequence[float]],
) -> Figure:
    """Draw peak memory against the meta-batch and against the inner steps (chapter 10).

    Args:
        batches: numbers of tasks.
        by_batch: by way of computing, megabytes at these numbers.
        steps: numbers of inner steps.
        by_steps: by way of computing, megabytes at these.
    """
    with figure(1, 2, size=(6.8, 3.4)) as (fig, panels):
        for axes, places, curves, label in zip(
            panels, (batches, steps), (by_batch, by_steps), ("tasks in a meta-batch", "inner steps"), strict=True
        ):
            for (name, values), marker, colour in zip(curves.items(), "os", ("red", "blue"), strict=False):
                axes.plot(places, values, marker=marker, color=COLOURS[colour], label=name)
            top = 1.3 * max(map(max, curves.values()))
            axes.set(xlabel=label, ylabel="peak memory [MB]", xlim=(0, None), ylim=(0, top))
            axes.legend(fontsize=10, loc="upper left")
    return fig


def contender_speeds(panels: Mapping[str, Sequence[Mapping[str, Any]]], ours: Sequence[str]) -> Figure:
    """Draw the speed of every contender of a benchmark, with its range over the rounds (chapter 10).

    Args:
        panels: by title, results of ``metasgd.benchmark`` that differ in the meta-batch alone.
        ours: the names that are drawn in blue.
    """
    names = list(
        dict.fromkeys(name for results in panels.values() for result in results for name in result["contenders"])
    )
    columns = min(2, len(panels))
    size = (6.8, 1.3 + (0.27 * len(names) + 0.6) * -(-len(panels) // columns))
    with figure(-(-len(panels) // columns), columns, size=size, sharey=True, squeeze=False) as (fig, grid):
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        markers: dict[int, str] = {}
        for axes, (title, results) in zip(grid.flat, panels.items(), strict=False):
            for index, result in enumerate(results):
                batch = result["workload"]["meta_batch"]
                marker = markers.setdefault(batch, "os^Dv"[len(markers) % 5])
                for name, row in result["contenders"].items():
                    speed, colour = row["per_second"], COLOURS["blue" if name in ours else "grey"]
                    place = names.index(name) + 0.2 * (index - (len(results) - 1) / 2)
                    axes.errorbar(
                        speed["median"], place, fmt=marker, markersize=5, color=colour,
                        xerr=[[speed["median"] - speed["min"]], [speed["max"] - speed["median"]]], linewidth=1,
                    )  # fmt: skip
            axes.set(title=title, xscale="log" if results[0]["unit"] == "meta-steps" else "linear")
            axes.set(xlabel=f"{results[0]['unit']} per second", ylim=(len(names) - 0.5, -0.5))
            axes.set_yticks(range(len(names)), names, fontsize=9)
            if axes.get_xscale() == "linear":
                axes.set_xlim(0, None)
        keys = [
            Line2D([], [], color=COLOURS["black"], marker=marker, linestyle="", label=f"{batch}")
            for batch, marker in sorted(markers.items())
        ]
        fig.legend(handles=keys, title="meta-batch", loc="outside upper center", ncols=len(keys), fontsize=10)
    return fig


def sine_tasks(x: Tensor, y: Tensor, tasks: Task) -> Figure:
    """Draw sine waves and the points of each that a learner sees (chapter 6).

    Args:
        x: inputs along the axis, shape (positions,).
        y: the curves there, shape (tasks, positions).
        tasks: a batch of the same tasks, of which the support sets are drawn.
    """
    columns = 3
    with figure(-(-len(y) // columns), columns, size=(6.4, 3.8), sharex=True, sharey=True) as (fig, axes):
        for panel, curve, support_x, support_y in zip(axes.flat, y, tasks.support_x, tasks.support_y, strict=True):
            panel.plot(x, curve, color=COLOURS["grey"])
            panel.plot(support_x.flatten(), support_y.flatten(), "o", color=COLOURS["black"])
            panel.set(ylim=(-5.4, 5.4))
        fig.supxlabel("$x$", fontsize=11)
        fig.supylabel("$y$", fontsize=11)
    return fig


def sine_adaptation(
    x: Tensor, curves: Mapping[str, tuple[Tensor, Task, Mapping[str, tuple[Tensor, Tensor]]]]
) -> Figure:
    """Draw curves, one a row, and what each learner makes of them, before and after its step (chapter 6).

    Args:
        x: inputs along the axis, shape (positions,).
        curves: by name, the curve at ``x``, its task, of which the support set is drawn, and by learner the
            predictions at ``x`` (before the step, after it).
    """
    columns = len(next(iter(curves.values()))[2])
    with figure(len(curves), columns, size=(6.6, 1.0 + 1.9 * len(curves)), sharex=True, sharey="row") as (fig, axes):
        for row, (name, (truth, task, fits)) in zip(axes, curves.items(), strict=True):
            for panel, (label, (before, after)) in zip(row, fits.items(), strict=True):
                colour = COLOURS["blue" if label == "Meta-SGD" else "orange"]
                panel.plot(x, truth, color=COLOURS["grey"], linewidth=4, alpha=0.4)
                panel.plot(x, before, "--", color=colour, linewidth=1.5)
                panel.plot(x, after, color=colour)
                panel.plot(task.support_x.flatten(), task.support_y.flatten(), "o", color=COLOURS["black"], zorder=5)
            row[0].set_ylabel(f"{name}\n$y$", fontsize=10)
        for panel, label in zip(axes[0], fits, strict=True):
            panel.set_title(label)
        for panel in axes[-1]:
            panel.set_xlabel("$x$")
        keys = [
            Line2D([], [], color=COLOURS["grey"], linewidth=4, alpha=0.4, label="the curve"),
            Line2D([], [], color=COLOURS["black"], linestyle="", marker="o", label="points seen"),
            Line2D([], [], color=COLOURS["black"], linestyle="--", linewidth=1.5, label="before the step"),
            Line2D([], [], color=COLOURS["black"], label="after it"),
        ]
        fig.legend(handles=keys, loc="outside upper center", ncols=4, fontsize=10)
    return fig


def sine_losses(losses: Mapping[int, Mapping[str, Sequence[float]]], window: int) -> Figure:
    """Draw the meta-loss during meta-training, one panel for each number of support points (chapter 6).

    Args:
        losses: by support points, by method, the loss of every meta-update.
        window: meta-updates in one point of a line.
    """
    with figure(1, len(losses), size=(6.8, 3.3), sharex=True, sharey=True) as (fig, axes):
        for panel, (shots, methods) in zip(axes, losses.items(), strict=True):
            for (label, values), line in zip(methods.items(), ("-", "--"), strict=True):
                means = torch.tensor(values).unfold(0, window, window).mean(1)
                places = [window * (index + 1) for index in range(len(means))]
                colour = COLOURS["blue" if label == "Meta-SGD" else "orange"]
                panel.plot(places, means, line, color=colour, linewidth=1.5, label=label)
            panel.set(title=f"{shots} points", yscale="log")
            panel.set_yticks([0.2, 0.5, 1, 2, 5], ["0.2", "0.5", "1", "2", "5"])
            panel.minorticks_off()
        axes[0].set_ylabel("query loss after the step")
        fig.supxlabel("meta-update", fontsize=11)
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2)
    return fig


def sine_cells(
    ours: Mapping[str, Mapping[int, Mapping[int, Evaluation]]], paper: Mapping[str, Mapping[int, Mapping[int, float]]]
) -> Figure:
    """Draw the paper's table of sine waves and ours, one panel for each number of points trained with (chapter 6).

    Args:
        ours: by method, points of meta-training, points of the test: the error, with its 95% interval.
        paper: the same for the paper's means.
    """
    panels = list(next(iter(ours.values())))
    with figure(1, len(panels), size=(6.8, 3.7), sharex=True, sharey=True) as (fig, axes):
        for panel, trained in zip(axes, panels, strict=True):
            for (label, rows), name, marker in zip(ours.items(), ("blue", "orange"), "os", strict=True):
                points, scores = list(rows[trained]), list(rows[trained].values())
                means, widths = [score.mean for score in scores], [score.half_width for score in scores]
                published = list(paper[label][trained].values())
                panel.plot(points, published, f"{marker}--", color=COLOURS[name], markerfacecolor="white",
                           linewidth=1, label=f"{label}, the paper")  # fmt: skip
                panel.errorbar(points, means, widths, fmt=f"{marker}-", color=COLOURS[name], capsize=3,
                               label=f"{label}, this page")  # fmt: skip
            panel.set(title=f"trained with {trained}", xscale="log")
            panel.set_xticks(points, [str(count) for count in points])
            panel.minorticks_off()
        axes[0].set_ylabel("mean squared error")
        axes[0].set_ylim(bottom=0)
        fig.supxlabel("points of a new curve", fontsize=11)
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=2, fontsize=10)
    return fig


def sine_errors(
    places: Sequence[int],
    errors: Mapping[str, Sequence[float]],
    xlabel: str,
    *,
    marked: Sequence[int] = (),
    top: float | None = None,
) -> Figure:
    """Draw the error on new curves against the number of points or of steps, one line a learner (chapter 6).

    Args:
        places: the numbers of points or steps.
        errors: by learner, its error at each of them.
        xlabel: what they count.
        marked: where to draw vertical lines: what was trained with.
        top: the highest error to show (None: all).
    """
    with figure(size=(6.4, 3.8)) as (fig, axes):
        looks = {
            "Meta-SGD": iter((("blue", "o-"), ("sky", "^-"), ("green", "D-"))),
            "MAML": iter((("orange", "s--"), ("red", "v--"))),
        }
        for label, values in errors.items():
            colour, style = next(looks["MAML" if "MAML" in label else "Meta-SGD"])
            axes.plot(places, values, style, color=COLOURS[colour], markersize=5, label=label)
        for place in marked:
            axes.axvline(place, color=COLOURS["grey"], linestyle=":", linewidth=1)
        axes.set(xlabel=xlabel, ylabel="mean squared error", yscale="log")
        if 0 not in places:
            axes.set_xscale("log")
        axes.set_xticks(places, [str(place) for place in places])
        axes.set_ylim(0.8 * min(map(min, errors.values())), top)
        low, high = axes.get_ylim()
        ticks = [tick for tick in (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10) if low < tick < high]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        fig.legend(loc="outside upper center", ncols=2, fontsize=10)
    return fig


# ---------------------------------------------------------------------------------------------------------------
# Chapter 9


def call_costs(sizes: Sequence[int], seconds: Sequence[float], marks: Mapping[str, int]) -> Figure:
    """Draw the time of one small operation against the numbers it works on (chapter 9).

    Args:
        sizes: how many numbers.
        seconds: time of a call at each size.
        marks: sizes to point out, by what has them.
    """
    micro = [1e6 * value for value in seconds]
    with figure() as (fig, axes):
        axes.loglog(sizes, micro, "o-", markersize=4, color=COLOURS["blue"], label="one addition")
        axes.axhline(micro[0], color=COLOURS["grey"], linestyle="--", label="fixed cost of a call")
        for (label, size), colour in zip(marks.items(), ("green", "red"), strict=False):
            axes.axvline(size, color=COLOURS[colour], linestyle=":")
            style = {"color": COLOURS[colour], "rotation": 90, "va": "top", "ha": "right", "fontsize": 10}
            axes.text(size, 0.98, label, transform=axes.get_xaxis_transform(), **style)
        axes.set(xlabel="numbers in each of the two tensors", ylabel="time [µs]")
        axes.legend(loc="upper left", fontsize=10)
    return fig


def seconds_by_tasks(panels: Mapping[str, Mapping[str, Mapping[int, float]]]) -> Figure:
    """Draw the time of a meta-gradient, divided by the number of its tasks, against that number (chapter 9).

    Args:
        panels: by network, then by strategy, then by number of tasks: seconds for all of them together.
    """
    looks = {"loop": ("red", "o"), "batched": ("blue", "s"), "threads": ("green", "^")}
    with figure(1, len(panels), size=(6.6, 3.7)) as (fig, grid):
        for axes, (title, strategies) in zip(grid, panels.items(), strict=True):
            for name, times in strategies.items():
                colour, marker = looks[name]
                each = [1e3 * seconds / tasks for tasks, seconds in times.items()]
                axes.plot(list(times), each, marker=marker, color=COLOURS[colour], label=name)
            axes.set(xscale="log", xlabel="tasks at once", title=title, ylim=(0, None))
            axes.set_xticks(list(times), [str(tasks) for tasks in times])
            axes.minorticks_off()
        grid[0].set_ylabel("time for each task [ms]")
        handles, labels = grid[-1].get_legend_handles_labels()
        fig.legend(handles, labels, loc="outside upper center", ncols=3, fontsize=10)
    return fig


def error_against_rate(rates: Sequence[float], errors: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the relative error of a meta-gradient against the inner rate, one line for each way (chapter 9)."""
    with figure() as (fig, axes):
        for (label, values), colour, marker in zip(errors.items(), ("red", "blue", "green"), "os^", strict=False):
            axes.loglog(rates, values, marker=marker, markersize=5, color=COLOURS[colour], label=label)
        axes.set(xlabel=r"inner rate $\alpha$ (all entries)", ylabel="relative error in theta", ylim=(1e-17, 10))
        axes.legend(loc="center right", fontsize=10)
    return fig


def saved_memory(steps: Sequence[int], megabytes: Mapping[str, Sequence[float]]) -> Figure:
    """Draw what autograd holds at most against the number of inner steps, one line for each way (chapter 9)."""
    with figure() as (fig, axes):
        looks = zip(("red", "orange", "blue"), "os^", ("-", "--", "-"), strict=True)
        for (label, values), (colour, marker, line) in zip(megabytes.items(), looks, strict=False):
            axes.plot(steps, values, line, marker=marker, color=COLOURS[colour], label=label)
        axes.set(xlabel="inner steps", ylabel="held at most [MB]", xscale="log", ylim=(0, None))
        axes.set_xticks(steps, [str(count) for count in steps])
        axes.xaxis.minorticks_off()
        axes.legend(fontsize=10)
    return fig


def roofline(ceiling: float, bandwidth: float, points: Mapping[str, Mapping[str, tuple[float, float]]]) -> Figure:
    """Draw measured operations under the roof of a machine (chapter 9).

    Args:
        ceiling: operations per second of a large matrix product.
        bandwidth: bytes per second of a large copy.
        points: by kind, then by name, (operations per byte, operations per second).
    """
    places = [place for kind in points.values() for place, _ in kind.values()]
    speeds = [speed for kind in points.values() for _, speed in kind.values()]
    with figure(size=(6.4, 4.6)) as (fig, axes):
        ends = [min(places) / 3, ceiling / bandwidth, max([*places, ceiling / bandwidth]) * 4]
        roof = [min(ceiling, end * bandwidth) / 1e9 for end in ends]
        label = f"roof: {roof[2]:.0f} GFLOP/s, {bandwidth / 1e9:.0f} GB/s"
        axes.loglog(ends, roof, color=COLOURS["black"], label=label)
        axes.set(xlabel="arithmetic intensity [operations per byte]", ylabel="speed [GFLOP/s]")
        axes.set(xlim=(ends[0] / 1.5, ends[2] * 3), ylim=(min([*speeds, 1e9 * roof[0]]) / 2e9, 2.5 * roof[2]))
        looks = zip(("red", "purple", "blue", "orange"), "ovsD", strict=True)
        labels = []
        for (kind, named), (colour, marker) in zip(points.items(), looks, strict=False):
            for index, (name, (place, speed)) in enumerate(named.items()):
                axes.plot(place, speed / 1e9, marker, color=COLOURS[colour], label=None if index else kind)
                labels.append((place, speed / 1e9, name, COLOURS[colour]))
        _labels_apart(axes, labels)
        fig.legend(loc="outside upper center", ncols=2, fontsize=10)
    return fig


def _labels_apart(axes: Axes, labels: Sequence[tuple[float, float, str, str]]) -> None:
    """Write (x, y, text, colour) to the right of points, from low to high, each clear of those below and beside it.

    Distances are in points of type; both axes are logarithmic, and their limits set.
    """
    placed: list[tuple[float, float, int]] = []
    for x, y, text, colour in sorted(labels, key=lambda label: label[1]):
        across, up = axes.transData.transform((x, y)) * 72 / axes.figure.dpi
        height = up - 4
        for left, low, length in placed:
            if left - 6 * len(text) < across < left + 6 * length:
                height = max(height, low + 10)
        placed.append((across, height, len(text)))
        offset = (7, height - up)
        look: dict[str, Any] = {"color": colour, "fontsize": 9, "zorder": 3}
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}  # where a line passes behind it
        axes.annotate(text, (x, y), offset, textcoords="offset points", bbox=paper, **look)


def ablation_bars(seconds: Mapping[str, Sequence[float]], tasks: int) -> Figure:
    """Draw the speed of one way after the other, each with what was added: medians and ranges (chapter 9).

    Args:
        seconds: by what was added, the time of a meta-gradient in every round.
        tasks: in a meta-batch.
    """
    speeds = {label: sorted(tasks / value for value in values) for label, values in seconds.items()}
    with figure(size=(6.4, 0.9 + 0.5 * len(speeds))) as (fig, axes):
        for label, values in speeds.items():
            middle = values[len(values) // 2]
            axes.barh(label, middle, color=COLOURS["blue"], height=0.55)
            axes.plot([values[0], values[-1]], [label] * 2, color=COLOURS["black"], linewidth=1)
            axes.text(0.02 * max(map(max, speeds.values())), label, f"{middle:.1f}", va="center", color="white")
        axes.set(xlabel="tasks per second (line: all rounds)", xlim=(0, None))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
    return fig


def relative_speeds(results: Sequence[Mapping[str, Any]], ours: Sequence[str]) -> Figure:
    """Draw how many times as fast as the reference each contender of a benchmark was (chapter 9).

    Each network has a panel, named by the first two parts of its workloads' names, and each contender that ran there a
    row with a mark for each workload. The reference itself is the dashed line.

    Args:
        results: those of ``metasgd.benchmark``, one for each workload.
        ours: names that are drawn in blue.
    """
    panels: dict[str, dict[str, list[Mapping[str, float]]]] = {}
    for result in results:
        panel = panels.setdefault(", ".join(result["name"].split(", ")[:2]), {})
        for name, row in result["contenders"].items():
            ratio = row["times_reference"]
            if ratio is not None and (ratio["min"], ratio["max"]) != (1, 1):
                panel.setdefault(name, []).append(ratio)
    heights = [len(panel) + 0.5 for panel in panels.values()]
    size = (6.6, 1.0 + 0.5 * len(panels) + 0.26 * sum(heights))
    with figure(len(panels), 1, size=size, sharex=True, squeeze=False, height_ratios=heights) as (fig, grid):
        for axes, (title, rows) in zip(grid[:, 0], panels.items(), strict=True):
            for index, (name, ratios) in enumerate(rows.items()):
                colour = COLOURS["blue" if name in ours else "grey"]
                for number, ratio in enumerate(ratios):
                    place = index + 0.6 * ((number + 0.5) / len(ratios) - 0.5)
                    axes.plot([ratio["min"], ratio["max"]], [place] * 2, color=colour, linewidth=1, alpha=0.5)
                    axes.plot(ratio["median"], place, "o", color=colour, markersize=4)
            axes.axvline(1, color=COLOURS["black"], linestyle="--", linewidth=1)
            axes.set(xscale="log", ylim=(len(rows) - 0.5, -0.5))
            axes.set_yticks(range(len(rows)), rows, fontsize=9)
            axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel("times as fast as learn2learn's algorithm")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    return fig


# ---------------------------------------------------------------------------------------------------------------
# Chapter 13


def estimator_means(
    places: Sequence[float], truth: Sequence[float], estimates: Mapping[str, Sequence[Evaluation]], xlabel: str
) -> Figure:
    """Draw the means of several estimators of a gradient, with 95% intervals, beside the truth (chapter 13).

    Args:
        places: where the gradient was estimated, along the axis.
        truth: the gradient there.
        estimates: by estimator, the mean at each place.
        xlabel: what the axis holds.
    """
    with figure(size=(6.4, 3.8)) as (fig, axes):
        axes.plot(places, truth, color=COLOURS["black"], label="truth")
        for (label, scores), look in zip(estimates.items(), (("blue", "o"), ("sky", "^"), ("red", "s")), strict=False):
            means, widths = [score.mean for score in scores], [score.half_width for score in scores]
            axes.errorbar(
                places, means, widths, fmt=look[1], color=COLOURS[look[0]], markersize=5, capsize=3, label=label
            )
        axes.axhline(0, color=COLOURS["grey"], linewidth=0.8)
        axes.set(xlabel=xlabel, ylabel="meta-gradient in theta")
        fig.legend(loc="outside upper center", ncols=4, fontsize=10)
    return fig


def navigation_paths(goals: Tensor, panels: Mapping[str, Tensor]) -> Figure:
    """Draw trajectories in the plane, each task in a colour of its own, beside its goal (chapter 13).

    Args:
        goals: one for each task, shape (tasks, 2).
        panels: by title, positions of shape (tasks, trajectories, times, 2).
    """
    with figure(1, len(panels), size=(6.8, 2.9), sharex=True, sharey=True) as (fig, axes):
        colours = [COLOURS[name] for name in ("blue", "orange", "green", "purple")]
        for panel, (title, paths) in zip(axes, panels.items(), strict=True):
            square = Rectangle((-0.5, -0.5), 1, 1, fill=False, edgecolor=COLOURS["grey"], linestyle=":", linewidth=1)
            panel.add_patch(square)
            for goal, task, colour in zip(goals, paths, colours, strict=False):
                for path in task:
                    panel.plot(*path.T, color=colour, linewidth=0.7, alpha=0.7)
                panel.plot(*goal, "*", color=colour, markersize=14, markeredgecolor=COLOURS["black"], zorder=5)
            panel.plot(*paths[0, 0, 0], "o", color=COLOURS["black"], markersize=5, zorder=6)
            panel.set(title=title, xlim=(-0.75, 0.75), ylim=(-0.75, 0.75))
            panel.set_aspect("equal")
            panel.set_xticks([-0.5, 0, 0.5])
            panel.set_yticks([-0.5, 0, 0.5])
        axes[0].set_ylabel("second coordinate")
        fig.supxlabel("first coordinate", fontsize=11)
    return fig


def navigation_curves(
    curves: Mapping[str, Mapping[str, Sequence[Sequence[float]]]],
    every: Mapping[str, int],
    lines: Mapping[str, Mapping[str, float]],
) -> Figure:
    """Draw the return after the step during meta-training, one panel for each kind of start (chapter 13).

    Args:
        curves: by panel, by method, one run for each seed: mean returns of so many meta-updates.
        every: by panel, meta-updates in one point.
        lines: by panel, by label, a return to compare with.
    """
    with figure(1, len(curves), size=(6.8, 3.6), sharey=True, squeeze=False) as (fig, axes):
        for panel, (title, methods) in zip(axes[0], curves.items(), strict=True):
            for (label, runs), line in zip(methods.items(), ("-", "--"), strict=False):
                for index, values in enumerate(runs):
                    places = [every[title] * (step + 1) for step in range(len(values))]
                    colour = COLOURS["blue" if label == "Meta-SGD" else "orange"]
                    costs = [-value for value in values]
                    panel.plot(places, costs, line, color=colour, linewidth=1.5, label=None if index else label)
            for (label, value), (colour, style) in zip(
                lines[title].items(), (("black", ":"), ("grey", "-."), ("green", "--")), strict=False
            ):
                panel.axhline(-value, color=COLOURS[colour], linestyle=style, linewidth=1.2, label=label)
            panel.set(title=title, yscale="log")
        axes[0, 0].invert_yaxis()  # which all panels share
        low, high = sorted(axes[0, 0].get_ylim())
        ticks = [tick for tick in (0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200) if low < tick < high]
        axes[0, 0].set_yticks(ticks, [f"-{tick:g}" for tick in ticks])
        axes[0, 0].minorticks_off()
        axes[0, 0].set_ylabel("mean return after the step")
        fig.supxlabel("meta-update", fontsize=11)
        fig.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=10)
    return fig


def crossing_curves(
    x: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    *,
    xlabel: str,
    ylabel: str,
    floor: float | None = None,
    log_x: bool = True,
) -> Figure:
    """Draw positive values of several methods on a logarithmic axis, Meta-SGD thick (chapter 15).

    Args:
        x: what is changed.
        curves: the value of each method at every x, by its name.
        xlabel: name of the x axis.
        ylabel: name of the y axis.
        floor: a value that nothing can fall below, drawn dashed.
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


# ---------------------------------------------------------------------------------------------------------------
# Chapter 12


def measure_ranges(measures: Mapping[str, Mapping[str, Tensor]]) -> Figure:
    """Draw what the pictures of several data sets are like, one panel for each measure (chapter 12).

    The thin line holds 90% of the pictures, the thick one half of them, the mark is the middle one.

    Args:
        measures: by measure, by data set, five quantiles: 5%, 25%, 50%, 75% and 95%.
    """
    names = list(next(iter(measures.values())))
    with figure(2, 2, size=(6.8, 1.6 + 0.5 * len(names)), sharey=True) as (fig, axes):
        for panel, (measure, sets) in zip(axes.flat, measures.items(), strict=True):
            for place, quantiles in enumerate(sets.values()):
                low, quarter, middle, three_quarters, high = quantiles.tolist()
                colour = COLOURS[("blue", "orange", "green", "red", "purple")[place % 5]]
                panel.plot([low, high], [place, place], color=colour, linewidth=1.5)
                panel.plot([quarter, three_quarters], [place, place], color=colour, linewidth=7, solid_capstyle="butt")
                panel.plot(middle, place, "|", color=COLOURS["black"], markersize=14, markeredgewidth=2)
            panel.set(xlabel=measure, ylim=(len(names) - 0.5, -0.5), xlim=(0, None))
            panel.set_yticks(range(len(names)), names)
            panel.grid(axis="y", visible=False)
    return fig


def changed_digits(panels: Mapping[str, Mapping[float, Mapping[str, Evaluation]]], chance: float) -> Figure:
    """Draw accuracy against how much every picture was changed, one panel for each kind of change (chapter 12).

    Args:
        panels: by the kind of change, by its strength, by method.
        chance: the accuracy of guessing.
    """
    with figure(1, len(panels), size=(6.8, 3.2), sharey=True) as (fig, axes):
        for panel, (change, strengths) in zip(axes, panels.items(), strict=True):
            for method, (colour, marker) in zip(
                next(iter(strengths.values())), (("blue", "o"), ("grey", "s"), ("orange", "^")), strict=False
            ):
                scores = [scores[method] for scores in strengths.values()]
                panel.errorbar(
                    list(strengths),
                    [100 * score.mean for score in scores],
                    [100 * score.half_width for score in scores],
                    color=COLOURS[colour],
                    marker=marker,
                    capsize=3,
                    label=method,
                )
            panel.axhline(100 * chance, color=COLOURS["black"], linestyle="--", linewidth=1)
            panel.set(xlabel=change, ylim=(0, 100))
        axes[0].set_ylabel("accuracy [%]")
        fig.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=10)
    return fig


def ingredient_bars(rungs: Mapping[str, Mapping[int, Evaluation]], chance: float) -> Figure:
    """Draw the accuracy with one ingredient more in each row, for several numbers of shots (chapter 12).

    Args:
        rungs: by ingredient, by shots.
        chance: the accuracy of guessing.
    """
    shots = list(next(iter(rungs.values())))
    height = 0.8 / len(shots)
    with figure(size=(6.4, 1.3 + 0.34 * len(rungs) * len(shots))) as (fig, axes):
        for number, colour in zip(shots, ("blue", "sky"), strict=False):
            places = [row + height * (shots.index(number) - (len(shots) - 1) / 2) for row in range(len(rungs))]
            scores = [rung[number] for rung in rungs.values()]
            axes.barh(
                places,
                [100 * score.mean for score in scores],
                xerr=[100 * score.half_width for score in scores],
                height=0.9 * height,
                color=COLOURS[colour],
                capsize=3,
                label=f"{number} shot" + "s" * (number > 1),
            )
            for place, score in zip(places, scores, strict=True):
                axes.text(
                    100 * (score.mean + score.half_width) + 1,
                    place,
                    f"{100 * score.mean:.1f}",
                    va="center",
                    fontsize=10,
                )
        axes.axvline(100 * chance, color=COLOURS["black"], linestyle="--", linewidth=1)
        axes.set_yticks(range(len(rungs)), list(rungs))
        axes.set(xlabel="accuracy [%] (dashed: guessing)", xlim=(0, 105))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
        fig.legend(loc="outside upper center", ncols=2, fontsize=10)
    return fig


def beside_published(ours: Mapping[str, Evaluation], published: Mapping[str, float], chance: float) -> Figure:
    """Draw accuracies with intervals above those that others have published, which have none (chapter 12)."""
    with figure(size=(6.4, 1.0 + 0.45 * (len(ours) + len(published)))) as (fig, axes):
        for label, score in ours.items():
            colour = COLOURS["grey" if label == "nearest class mean" else "blue"]
            axes.barh(label, 100 * score.mean, xerr=100 * score.half_width, color=colour, height=0.6, capsize=4)
            axes.text(100 * (score.mean + score.half_width) + 1, label, f"{100 * score.mean:.1f}", va="center")
        for label, mean in published.items():
            axes.barh(label, 100 * mean, color="white", edgecolor=COLOURS["grey"], hatch="//", height=0.6)
            axes.text(100 * mean + 1, label, f"{100 * mean:.1f}", va="center")
        axes.axvline(100 * chance, color=COLOURS["black"], linestyle="--", linewidth=1)
        axes.set(xlabel="accuracy [%] (hatched: published; dashed: guessing)", xlim=(0, 105))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
    return fig


def confusions(panels: Mapping[str, Tensor]) -> Figure:
    """Draw how often each class is read as each other one, side by side, as shares of each row (chapter 12).

    Args:
        panels: by title, counts of shape (classes, classes): what it is, what it was read as.
    """
    with figure(1, len(panels), size=(6.8, 3.7), sharey=True) as (fig, axes):
        for panel, (title, counts) in zip(axes, panels.items(), strict=True):
            shares = 100 * counts / counts.sum(1, keepdim=True)
            panel.imshow(shares.numpy(), cmap="Blues", vmin=0, vmax=100)
            for row, column in product(range(len(shares)), repeat=2):
                value = shares[row, column].item()
                if value >= 5:
                    ink = "white" if value > 50 else "black"
                    panel.text(column, row, f"{value:.0f}", ha="center", va="center", color=ink, fontsize=9)
            panel.set(title=title, xlabel="read as", xticks=range(len(shares)), yticks=range(len(shares)))
            panel.grid(False)
        axes[0].set_ylabel("digit")
    return fig


# ---------------------------------------------------------------------------------------------------------------
# Chapter 2


@_from_any_device
def error_factors(rates: Tensor, factors: Mapping[str, Tensor], crossing: tuple[float, float]) -> Figure:
    """Draw what a step leaves of the error in two directions, against its single rate (chapter 2).

    Args:
        rates: shape (n,).
        factors: by direction, the absolute factors of the error, shape (n,).
        crossing: the best rate, and the factor there.
    """
    with figure(size=(6.4, 3.4)) as (fig, axes):
        for (label, values), colour in zip(factors.items(), ("orange", "green"), strict=True):
            axes.plot(rates, values, color=COLOURS[colour], label=label)
        axes.plot(*crossing, "o", color=COLOURS["black"], markersize=8, label="best compromise", zorder=4)
        axes.set(xlabel="rate $a$", ylabel="factor of the error", xlim=(0, rates[-1].item()), ylim=(0, 1.5))
        fig.legend(loc="outside upper center", ncols=3, fontsize=10)
    return fig


@_from_any_device
def map_fields(
    loss: Callable[[Tensor], Tensor],
    points: Tensor,
    panels: Mapping[str, Tensor],
    minimum: Tensor,
    drift: Mapping[str, Tensor],
) -> Figure:
    """Draw optimisers as maps of the plane: an arrow from every point to where one step takes it (chapter 2).

    Args:
        loss: a function from points of shape (n, 2) to losses of shape (n,).
        points: where the arrows start, shape (n, 2).
        panels: by optimiser, where they end, shape (n, 2).
        minimum: of the loss, shape (2,).
        drift: by optimiser with a state, how far its state alone carries every point, shape (2,).
    """
    with figure(2, 2, size=(6.6, 6.6), sharex=True, sharey=True) as (fig, grid):
        for axes, (label, ends) in zip(grid.flat, panels.items(), strict=True):
            limits = torch.stack([minimum - 3, minimum + 3])
            axes.set(xlim=limits[:, 0].tolist(), ylim=limits[:, 1].tolist(), title=label, aspect="equal")
            _contours(axes, loss, [0.1, 0.5, 1.5, 4, 8, 14], colors=COLOURS["sky"], alpha=0.8)
            colour = COLOURS["blue" if label == "learned map" else "red"]
            arrows = {"angles": "xy", "scale_units": "xy", "scale": 1, "width": 0.006, "zorder": 3}
            axes.quiver(*points.T, *(ends - points).T, color=colour, **arrows)
            axes.plot(*points.T, ".", color=colour, markersize=4, zorder=3)
            if label in drift:
                axes.quiver(
                    *(minimum + minimum.new_tensor([2.8, -2.8])),
                    *drift[label],
                    color=COLOURS["black"],
                    **arrows | {"width": 0.014},
                )
            axes.plot(*minimum, "*", color=COLOURS["green"], markersize=13, zorder=4)
            axes.grid(False)
        fig.supxlabel(r"$\theta_1$", fontsize=12)
        fig.supylabel(r"$\theta_2$", fontsize=12)
    return fig


@_from_any_device
def steps_of_tasks(start: Tensor, panels: Mapping[str, Tensor], minima: Tensor) -> Figure:
    """Draw one step in each of several tasks, and what it misses of their minima (chapter 2).

    Args:
        start: where all steps start, shape (2,).
        panels: by optimiser, where the steps end, shape (tasks, 2).
        minima: of the tasks, shape (tasks, 2).
    """
    with figure(1, 2, size=(6.6, 4.0), sharey=True) as (fig, both):
        for axes, (label, ends), colour in zip(both, panels.items(), ("red", "blue"), strict=True):
            for end, minimum in zip(ends, minima, strict=True):
                axes.plot(*torch.stack([end, minimum]).T, ":", color=COLOURS["grey"], linewidth=1.5)
                axes.plot(*torch.stack([start, end]).T, color=COLOURS[colour], linewidth=1.5)
            axes.plot(*minima.T, "*", color=COLOURS["green"], markersize=12, zorder=3)
            axes.plot(*ends.T, "o", color=COLOURS[colour], markersize=5, zorder=4)
            axes.plot(*start, "o", color=COLOURS["black"], markersize=8, zorder=5)
            axes.set(title=label, xlabel=r"$\theta_1$")
            axes.set_aspect("equal", adjustable="datalim")
            axes.grid(False)
        both[0].set_ylabel(r"$\theta_2$")
    return fig


@_from_any_device
def losses_by_steps(curves: Mapping[str, Tensor], target: float, target_label: str) -> Figure:
    """Draw the mean loss after 0, 1, 2, ... steps of several optimisers, the learned one in blue (chapter 2)."""
    styles = [("orange", "s"), ("purple", "^"), ("red", "v"), ("blue", "o")]
    with figure(size=(6.4, 3.8)) as (fig, axes):
        for (label, values), (colour, marker) in zip(curves.items(), styles, strict=True):
            shown = values[values > 1e-9]
            axes.semilogy(range(len(shown)), shown, marker=marker, markersize=4, color=COLOURS[colour], label=label)
        axes.axhline(target, color=COLOURS["black"], linestyle="--", linewidth=1, label=target_label)
        axes.set(xlabel="steps", ylabel="mean query loss", ylim=(1e-7, None))
        fig.legend(loc="outside upper center", ncols=3, fontsize=10)
    return fig


# ---------------------------------------------------------------------------------------------------------------
# Chapter 1


def accuracy_against_steps(
    panels: Mapping[str, Mapping[str, Sequence[float]]], levels: Mapping[str, Mapping[str, float]], chance: float
) -> Figure:
    """Draw accuracies against the steps of training on a support set, those on the support set dashed (chapter 1).

    Args:
        panels: by panel title, then by label, accuracies in 0..1 after 0, 1, 2, ... steps. A label that ends in
            "support" has the colour of the one before it, and is dashed; "Meta-SGD" is blue.
        levels: by panel title, then by label, accuracies that take no steps.
        chance: the accuracy of guessing.
    """
    with figure(1, len(panels), size=(6.8, 4.2), sharey=True) as (fig, grid):
        for axes, (title, curves) in zip(grid, panels.items(), strict=True):
            colours, colour = iter(("orange", "red", "purple")), ""
            for label, values in curves.items():
                dashed = label.endswith("support")
                if not dashed:
                    colour = COLOURS["blue" if label == "Meta-SGD" else next(colours)]
                style = {"marker": "o", "zorder": 4} if label == "Meta-SGD" else {"linestyle": "--" if dashed else "-"}
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
    """Draw accuracies with 95% intervals, one row a method and one panel a number of shots (chapter 1).

    Args:
        rows: by method, its score for each panel.
        titles: of the panels.
        chance: the accuracy of guessing.
        highlight: the method drawn in blue.
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


# ---------------------------------------------------------------------------------------------------------------
# Chapter 11: what alpha learned


def rate_densities(rates: Mapping[str, Tensor], limit: float) -> Figure:
    """Draw how the learned rates of each layer are distributed, one histogram a layer, on one axis (chapter 11).

    Args:
        rates: by layer, its entries of alpha, any shape.
        limit: rates between -limit and limit are shown.
    """
    edges = torch.linspace(-limit, limit, 61)
    with figure(size=(6.4, 0.9 + 0.75 * len(rates))) as (fig, axes):
        for row, entries in enumerate(rates.values()):
            values = entries.detach().flatten().float().cpu()
            counts = torch.histogram(values, edges).hist
            heights = 0.85 * counts / counts.max()
            negative = edges[:-1] < -1e-6
            for part, colour in ((negative, "red"), (~negative, "blue")):
                axes.bar(
                    edges[:-1][part], heights[part], edges[1] - edges[0], -row, align="edge", color=COLOURS[colour]
                )
            share = f"{100 * (values < 0).double().mean():.0f}% negative"
            axes.text(-limit, -row + 0.5, share, fontsize=10, color=COLOURS["red"], va="center")
        axes.axvline(0, color=COLOURS["black"], linewidth=1)
        axes.set(xlabel=r"rate $\alpha_j$", xlim=(-limit, limit), yticks=[-row for row in range(len(rates))])
        axes.set_yticklabels(list(rates), va="bottom")
        axes.grid(axis="y", visible=False)
    return fig


def rate_ranges(rows: Mapping[str, Sequence[Mapping[str, float]]], start: float) -> Figure:
    """Draw the range of the learned rates of each parameter tensor, one bar for each run (chapter 11).

    Args:
        rows: by tensor, what ``metasgd.rates.rate_statistics`` says about it in each run.
        start: where all rates began.
    """
    with figure(size=(6.4, 0.9 + 0.36 * len(rows))) as (fig, axes):
        for row, runs in enumerate(rows.values()):
            for index, values in enumerate(runs):
                height = row + 0.22 * (index - (len(runs) - 1) / 2)
                axes.plot([values["low"], values["high"]], [height, height], color=COLOURS["blue"], linewidth=2.5)
                axes.plot(values["middle"], height, "o", markersize=4, color=COLOURS["orange"])
            share = sum(values["negative"] for values in runs) / len(runs)
            colour = COLOURS["red" if share > 0 else "grey"]
            axes.annotate(
                f"{100 * share:.0f}%", (1.01, row), xycoords=("axes fraction", "data"), va="center", color=colour,
                fontsize=10, annotation_clip=False,
            )  # fmt: skip
        axes.axvline(0, color=COLOURS["red"], linewidth=1)
        axes.axvline(start, color=COLOURS["grey"], linestyle="--")
        axes.set(xlabel=r"rate $\alpha_j$ (dashed: start; at the right: negative)", yticks=range(len(rows)))
        axes.set_yticklabels(list(rows))
        axes.set_ylim(len(rows) - 0.5, -0.6)
    return fig


def scaled_steps(factors: Sequence[float], errors: Mapping[str, Sequence[float]], untouched: float) -> Figure:
    """Draw the error after a step whose rates are all multiplied by a factor (chapter 11).

    Args:
        factors: what the rates are multiplied by.
        errors: by kind of rates, the mean squared error at each factor; the learned ones first.
        untouched: the error without a step.
    """
    styles = [("blue", "o"), ("red", "s"), ("orange", "v"), ("green", "^")]
    with figure(size=(6.4, 3.9)) as (fig, axes):
        for (label, values), (colour, marker) in zip(errors.items(), styles, strict=False):
            axes.semilogy(factors, values, marker=marker, markersize=5, color=COLOURS[colour], label=label)
        axes.axhline(untouched, color=COLOURS["grey"], linestyle="--", label="no step")
        axes.set(xlabel="all rates are multiplied by", ylabel="mean squared error")
        fig.legend(loc="outside upper center", ncols=2, fontsize=10)
    return fig


def rate_plane(objective: Callable[[Tensor], Tensor], points: Mapping[str, Tensor]) -> Figure:
    """Draw an objective of two rates with some points on it; where a rate is negative, the plane is grey (chapter 11).

    Args:
        objective: from rates of shape (n, 2) to values of shape (n,).
        points: by label, two rates.
    """
    styles = [("blue", "o"), ("red", "s"), ("green", "^")]
    with figure(size=(6.4, 4.4)) as (fig, axes):
        axes.set(xlim=(-0.4, 2.4), ylim=(-1.4, 0.9), xlabel=r"rate $\alpha_1$", ylabel=r"rate $\alpha_2$")
        axes.axhspan(-1.4, 0, color=COLOURS["grey"], alpha=0.15)
        axes.axvspan(-0.4, 0, color=COLOURS["grey"], alpha=0.15)
        _contours(axes, objective, [-0.6, -0.5, -0.4, -0.278, -0.1, 0.2, 0.6], colors=COLOURS["sky"])
        for (label, point), (colour, marker) in zip(points.items(), styles, strict=True):
            axes.plot(*point, marker, color=COLOURS[colour], markersize=9, linestyle="", label=label, zorder=4)
        axes.grid(False)
        fig.legend(loc="outside upper center", ncols=3, fontsize=10)
    return fig


def method_seeds(rows: Mapping[str, tuple[Evaluation, Sequence[Evaluation]]], reference: str) -> Figure:
    """Draw accuracies, one row a method: the mean over the seeds with its interval, and each seed (chapters 8, 11).

    Args:
        rows: by method, the mean over the seeds with its 95% interval over tasks, and the score of every seed. Seeds
            are marked where there are several.
        reference: the method whose mean is marked by a line.
    """
    with figure(size=(6.4, 1.0 + 0.4 * len(rows))) as (fig, axes):
        axes.axvline(100 * rows[reference][0].mean, color=COLOURS["blue"], linestyle="--", linewidth=1)
        for row, (label, (mean, seeds)) in enumerate(rows.items()):
            colour = COLOURS["blue" if label == reference else "grey"]
            for seed in seeds if len(seeds) > 1 else ():
                axes.plot(100 * seed.mean, row, "|", markersize=13, color=COLOURS["orange"])
            axes.errorbar(100 * mean.mean, row, xerr=100 * mean.half_width, fmt="o", capsize=4, color=colour)
            axes.annotate(
                f"{100 * mean.mean:.1f}", (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=10,
                annotation_clip=False,
            )  # fmt: skip
        axes.set(xlabel="accuracy on held-out digits [%]", yticks=range(len(rows)))
        axes.set_yticklabels(list(rows))
        axes.set_ylim(len(rows) - 0.5, -0.6)
    return fig


@_from_any_device
def adapted_probabilities(support: Tensor, queries: Tensor, probabilities: Mapping[str, Tensor]) -> Figure:
    """Show examples of a few classes, and what several methods make of new pictures of them (chapter 14).

    Args:
        support: one picture of each class, (classes, 1, height, width).
        queries: the new pictures, one of each class, in the same order.
        probabilities: by method, (queries, classes).
    """
    letters = "ABCDE"[: len(support)]
    colours = ["grey", "blue", "red"]
    rows, columns = len(queries) + 1, len(probabilities) + 1
    with figure(rows, columns, size=(6.4, 1.25 * rows)) as (fig, axes):
        for ax in axes.flat:
            ax.grid(False)
            ax.set(xticks=[], yticks=[])
        for ax in axes[0]:
            ax.axis("off")
        axes[0, 0].text(0.5, 0.5, "examples", ha="center", va="center")
        for letter, picture, ax in zip(letters, support, axes[0, 1:], strict=True):
            ax.imshow(picture[0], cmap="gray")
            ax.set_title(letter)
        for row, query in enumerate(queries):
            axes[row + 1, 0].imshow(query[0], cmap="gray")
            for (name, shares), colour, ax in zip(probabilities.items(), colours, axes[row + 1, 1:], strict=True):
                ax.barh(list(letters), shares[row].tolist(), color=COLOURS[colour])
                ax.set(xlim=(0, 1.25), yticks=range(len(letters)), yticklabels=list(letters))
                ax.invert_yaxis()
                for place, share in enumerate(shares[row].tolist()):
                    ax.text(share + 0.03, place, f"{share:.0%}", va="center", fontsize=9)
                if row == 0:
                    ax.set_title(name, fontsize=11)
        axes[1, 0].set_title("new", fontsize=11)
        return fig
