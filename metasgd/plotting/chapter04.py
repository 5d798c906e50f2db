"""The figures of chapter 4: Meta-SGD for linear regression, in closed form and trained."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure
from torch import Tensor

from metasgd.plotting.style import COLOURS, accepts_any_tensor, figure, legend_above


@accepts_any_tensor
def task_parabolas(rates: Tensor, losses: Tensor, best: float) -> Figure:
    """Draw the query loss of several tasks, and its mean, against the one rate that all tasks share (chapter 4).

    A dot marks the best rate of a task where it lies inside the range. The figure is ``fig-task-parabolas``.

    Args:
        rates: the rates, shape (rates,).
        losses: query losses divided by the losses before the step, one row for each task, shape (tasks, rates).
        best: the best shared rate for the whole distribution of tasks; a dashed line.
    """
    with figure() as (fig, axes):
        for index, row in enumerate(losses):
            axes.plot(rates, row, color=COLOURS["sky"], linewidth=1, label="one task" if index == 0 else None)
            lowest = row.argmin()
            if 0 < lowest < len(rates) - 1:
                axes.plot(rates[lowest], row[lowest], ".", color=COLOURS["sky"])
        axes.plot(rates, losses.mean(0), color=COLOURS["blue"], label="mean of these tasks")
        axes.axvline(best, linestyle="--", color=COLOURS["green"], label=r"best shared $\alpha$, all tasks")
        axes.set(xlabel=r"rate $\alpha$", ylabel="relative query loss", ylim=(-0.05, 2))
        legend_above(fig)
    return fig


def rates_against_shots(
    shots: Sequence[int], rates: Mapping[str, Sequence[float]], limits: Mapping[str, float]
) -> Figure:
    """Draw the best rates against the number of support examples, with their limits for many examples (chapter 4).

    The figure is ``fig-rates-against-shots``.

    Args:
        shots: the numbers of support examples K.
        rates: by label, the best rate for each K; at most four labels.
        limits: by the same labels, the limit of the rate for K to infinity; dashed lines.
    """
    with figure() as (fig, axes):
        for (label, values), marker in zip(rates.items(), "os^v", strict=False):
            (line,) = axes.semilogx(shots, values, marker, linestyle="-", markersize=5, label=label)
            axes.axhline(limits[label], linestyle="--", linewidth=1, color=line.get_color())
        axes.set(xlabel="support examples $K$", ylabel=r"best rate $\alpha_i$")
        axes.set_ylim(-0.005 if min(limits.values()) == 0 else 0.03, 3)
        axes.set_yscale("symlog", linthresh=0.03)
        axes.set_yticks([0, 0.03, 0.1, 0.3, 1, 3], ["0", "0.03", "0.1", "0.3", "1", "3"])
        legend_above(fig)
    return fig


@accepts_any_tensor
def training_path(theta: Tensor, alpha: Tensor, best_theta: Tensor, best_alpha: Tensor) -> Figure:
    """Draw how theta and alpha move during meta-training, with dashed lines where theory says they end (chapter 4).

    The figure is ``fig-training-path``.

    Args:
        theta: theta before every meta-update, shape (steps, d).
        alpha: alpha before every meta-update, shape (steps, d).
        best_theta: the optimal theta in closed form, shape (d,).
        best_alpha: the optimal alpha in closed form, shape (d,).
    """
    with figure(2, height=5.2, sharex=True) as (fig, rows):
        for axes, path, best, name in zip(
            rows, (theta, alpha), (best_theta, best_alpha), ("theta", "alpha"), strict=True
        ):
            for index, (values, target) in enumerate(zip(path.T, best, strict=True)):
                (line,) = axes.plot(values, label=f"$i = {index + 1}$")
                axes.axhline(float(target), linestyle="--", linewidth=1, color=line.get_color())
            axes.set(ylabel=rf"$\{name}_i$")
        rows[1].set(xlabel="meta-update")
        legend_above(fig, *rows[0].get_legend_handles_labels())
    return fig


def loss_against_scale(
    ratios: Sequence[float],
    theory: Mapping[str, Sequence[float]],
    measured: Mapping[str, Sequence[tuple[float, float]]],
) -> Figure:
    """Draw the query loss of each kind of rate, or method, against the ratio of the scales of the inputs (chapter 4).

    The figure is ``fig-loss-against-scale``.

    Args:
        ratios: the largest standard deviation of an input divided by the smallest.
        theory: by kind of rate, the expected query loss at each ratio, drawn as a line; at most four kinds, in
            grey, red, blue (Meta-SGD) and green.
        measured: by some of the same kinds, (mean, half-width of the 95% interval over tasks) at each ratio, drawn as
            points.
    """
    with figure() as (fig, axes):
        for (label, values), name in zip(theory.items(), ("grey", "red", "blue", "green"), strict=False):
            axes.semilogx(ratios, values, color=COLOURS[name], label=label)
            if label in measured:
                means, half_widths = zip(*measured[label], strict=True)
                axes.errorbar(ratios, means, half_widths, fmt="o", color=COLOURS[name], markersize=4, capsize=3)
        axes.set(
            xlabel="largest input scale / smallest input scale", ylabel="query loss after adaptation", ylim=(0, None)
        )
        axes.set_xticks(ratios, [f"{ratio:g}" for ratio in ratios])
        axes.minorticks_off()
        legend_above(fig)
    return fig
