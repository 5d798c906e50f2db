"""The figures of chapter 9: the speed, memory and exactness of ways to compute a meta-gradient."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from metasgd.plotting.style import COLOURS, figure, legend_above


def call_costs(sizes: Sequence[int], seconds: Sequence[float], marks: Mapping[str, int]) -> Figure:
    """Draw the time of one small operation against the number of entries that it works on (chapter 9).

    The figure is ``fig-batch-call``.

    Args:
        sizes: the numbers of entries of a tensor; both axes are logarithmic.
        seconds: the time of one call at each size, in seconds. The dashed line is the time at the first size.
        marks: sizes to point out, by what has them; at most two, dotted lines.
    """
    microseconds = [1e6 * value for value in seconds]
    with figure() as (fig, axes):
        axes.loglog(sizes, microseconds, "o-", markersize=4, color=COLOURS["blue"], label="one addition")
        axes.axhline(microseconds[0], color=COLOURS["grey"], linestyle="--", label="fixed cost of a call")
        for (label, size), colour in zip(marks.items(), ("green", "red"), strict=False):
            axes.axvline(size, color=COLOURS[colour], linestyle=":")
            style = {"color": COLOURS[colour], "rotation": 90, "va": "top", "ha": "right"}
            axes.text(size, 0.98, label, transform=axes.get_xaxis_transform(), **style)
        axes.set(xlabel="numbers in each of the two tensors", ylabel="time [µs]")
        legend_above(fig)
    return fig


def seconds_by_tasks(panels: Mapping[str, Mapping[str, Mapping[int, float]]]) -> Figure:
    """Draw the time of a meta-gradient for each of its tasks against the number of tasks (chapter 9).

    The figure is ``fig-batch-tasks``.

    Args:
        panels: by network (at least two), then by strategy ("loop", "batched" or "threads"), then by number of tasks:
            the time for all of these tasks, in seconds.
    """
    looks = {"loop": ("red", "o"), "batched": ("blue", "s"), "threads": ("green", "^")}
    with figure(len(panels), height=0.8 + 2.2 * len(panels), sharex=True) as (fig, grid):
        for axes, (title, strategies) in zip(grid, panels.items(), strict=True):
            for name, times in strategies.items():
                colour, marker = looks[name]
                milliseconds = [1e3 * seconds / tasks for tasks, seconds in times.items()]
                axes.plot(list(times), milliseconds, marker=marker, color=COLOURS[colour], label=name)
            axes.set(xscale="log", title=title, ylim=(0, None))
            axes.set_xticks(list(times), [str(tasks) for tasks in times])
            axes.minorticks_off()
        fig.supxlabel("tasks at once")
        fig.supylabel("time for each task [ms]")
        handles, labels = grid[-1].get_legend_handles_labels()
        legend_above(fig, handles, labels)
    return fig


def error_against_rate(rates: Sequence[float], errors: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the relative error of a meta-gradient against the inner rate, both axes logarithmic (chapter 9).

    The figure is ``fig-batch-trap``.

    Args:
        rates: the inner rate, the same for all parameters.
        errors: by way of computing the meta-gradient, its relative error in theta at each rate; at most three ways.
    """
    with figure() as (fig, axes):
        for (label, values), colour, marker in zip(errors.items(), ("red", "blue", "green"), "os^", strict=False):
            axes.loglog(rates, values, marker=marker, markersize=5, color=COLOURS[colour], label=label)
        axes.set(xlabel=r"inner rate $\alpha$ (all entries)", ylabel="relative error in theta", ylim=(1e-17, 10))
        axes.legend(loc="center right")
    return fig


def saved_memory(steps: Sequence[int], megabytes: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the most memory that autograd holds against the number of inner steps (chapter 9).

    The figure is ``fig-batch-memory``.

    Args:
        steps: the numbers of inner steps; the axis is logarithmic.
        megabytes: by way of computing the meta-gradient, the megabytes at each number of steps; at most three ways.
    """
    with figure() as (fig, axes):
        looks = zip(("red", "orange", "blue"), "os^", ("-", "--", "-"), strict=True)
        for (label, values), (colour, marker, line) in zip(megabytes.items(), looks, strict=False):
            axes.plot(steps, values, line, marker=marker, color=COLOURS[colour], label=label)
        axes.set(xlabel="inner steps", ylabel="held at most [MB]", xscale="log", ylim=(0, None))
        axes.set_xticks(steps, [str(count) for count in steps])
        axes.xaxis.minorticks_off()
        axes.legend()
    return fig


def roofline(ceiling: float, bandwidth: float, points: Mapping[str, Mapping[str, tuple[float, float]]]) -> Figure:
    """Draw the speed of operations under the roof that the memory and the processor of a machine set (chapter 9).

    The figure is ``fig-batch-roofline``.

    Args:
        ceiling: the speed of a large matrix product, in floating-point operations per second.
        bandwidth: the speed of a large copy, in bytes per second.
        points: by kind of operation (at most four), then by name, (operations per byte, operations per second).
    """
    intensities = [intensity for kind in points.values() for intensity, _ in kind.values()]
    speeds = [speed for kind in points.values() for _, speed in kind.values()]
    with figure(height=5) as (fig, axes):
        ridge = ceiling / bandwidth  # the intensity from which on the processor is the limit, not the memory
        ends = [min(intensities) / 3, ridge, max([*intensities, ridge]) * 4]
        roof = [min(ceiling, end * bandwidth) / 1e9 for end in ends]
        label = f"roof: {roof[2]:.0f} GFLOP/s, {bandwidth / 1e9:.0f} GB/s"
        axes.loglog(ends, roof, color=COLOURS["black"], label=label)
        axes.set(xlabel="arithmetic intensity [operations per byte]", ylabel="speed [GFLOP/s]")
        axes.set(xlim=(ends[0] / 1.5, ends[2] * 3), ylim=(min([*speeds, 1e9 * roof[0]]) / 2e9, 2.5 * roof[2]))
        looks = zip(("red", "purple", "blue", "orange"), "ovsD", strict=True)
        labels = []
        for (kind, named), (colour, marker) in zip(points.items(), looks, strict=False):
            for index, (name, (intensity, speed)) in enumerate(named.items()):
                axes.plot(intensity, speed / 1e9, marker, color=COLOURS[colour], label=None if index else kind)
                labels.append((intensity, speed / 1e9, name, COLOURS[colour]))
        _write_labels_without_overlap(axes, labels)
        legend_above(fig)
    return fig


def _write_labels_without_overlap(axes: Axes, labels: Sequence[tuple[float, float, str, str]]) -> None:
    """Write labels to the right of points, and higher where they would overlap labels written before.

    Lower points are labelled first. Widths and heights of labels are estimated.

    Args:
        axes: where to write; their limits must have been set.
        labels: for each point its x, its y, the text and the colour.
    """
    written: list[tuple[float, float, int]] = []  # left end, lower end (both in typographic points), characters
    for x, y, text, colour in sorted(labels, key=lambda label: label[1]):
        left, point_height = axes.transData.transform((x, y)) * 72 / axes.figure.dpi
        height = point_height - 4
        for other_left, other_height, other_length in written:
            if other_left - 7 * len(text) < left < other_left + 7 * other_length:
                height = max(height, other_height + 13)
        written.append((left, height, len(text)))
        look: dict[str, Any] = {"color": colour, "zorder": 3}
        paper = {"facecolor": "white", "edgecolor": "none", "pad": 0.5, "alpha": 0.8}  # readable on top of a line
        offset = (7, height - point_height)
        axes.annotate(text, (x, y), offset, textcoords="offset points", bbox=paper, **look)


def ablation_bars(seconds: Mapping[str, Sequence[float]], tasks: int) -> Figure:
    """Draw the speed of a meta-gradient as one change after the other is added, one bar each (chapter 9).

    Bars are medians, lines the range over the rounds. The figure is ``fig-batch-ablation``.

    Args:
        seconds: by what was added, the time of a meta-gradient in every round, in seconds.
        tasks: the number of tasks in a meta-batch.
    """
    speeds = {label: sorted(tasks / value for value in values) for label, values in seconds.items()}
    with figure(height=0.9 + 0.5 * len(speeds)) as (fig, axes):
        for label, values in speeds.items():
            median = values[len(values) // 2]
            axes.barh(label, median, color=COLOURS["blue"], height=0.55)
            axes.plot([values[0], values[-1]], [label] * 2, color=COLOURS["black"], linewidth=1)
            axes.text(0.02 * max(map(max, speeds.values())), label, f"{median:.1f}", va="center", color="white")
        axes.set(xlabel="tasks per second (line: all rounds)", xlim=(0, None))
        axes.invert_yaxis()
        axes.grid(axis="y", visible=False)
    return fig


def relative_speeds(results: Sequence[Mapping[str, Any]], ours: Sequence[str]) -> Figure:
    """Draw how many times as fast as the reference each contender of a benchmark was (chapter 9).

    Each network has a panel. A contender that ran there has a row, with a mark at the median and a line over the range
    for each workload. The dashed line is the reference, which has no row of its own. The figure is
    ``fig-batch-benchmark``.

    Args:
        results: the results of the package's benchmark, one for each workload.
        ours: the contenders that are drawn in blue. The others are grey.
    """
    panels = _ratios_by_network(results)
    heights = [len(panel) + 0.5 for panel in panels.values()]
    height = 1.0 + 0.5 * len(panels) + 0.3 * sum(heights)
    with figure(len(panels), height=height, sharex=True, squeeze=False, height_ratios=heights) as (fig, grid):
        for axes, (title, rows) in zip(grid[:, 0], panels.items(), strict=True):
            for row, (name, ratios) in enumerate(rows.items()):
                colour = COLOURS["blue" if name in ours else "grey"]
                for number, ratio in enumerate(ratios):
                    place = row + 0.6 * ((number + 0.5) / len(ratios) - 0.5)
                    axes.plot([ratio["min"], ratio["max"]], [place] * 2, color=colour, linewidth=1, alpha=0.5)
                    axes.plot(ratio["median"], place, "o", color=colour, markersize=4)
            axes.axvline(1, color=COLOURS["black"], linestyle="--", linewidth=1)
            axes.set(xscale="log", ylim=(len(rows) - 0.5, -0.5))
            axes.set_yticks(range(len(rows)), rows)
            axes.set_title(title, loc="left")
        axes.set_xlabel("times as fast as learn2learn's algorithm")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    return fig


def _ratios_by_network(results: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, list[Mapping[str, float]]]]:
    """Return by network, then by contender, its speed relative to the reference in each workload.

    Contenders without a ratio are left out, and so is the reference itself, whose ratio is exactly 1 in every round.
    """
    networks: dict[str, dict[str, list[Mapping[str, float]]]] = {}
    for result in results:
        network = networks.setdefault(_network_title(result["workload"]), {})
        for name, contender in result["contenders"].items():
            ratio = contender["times_reference"]
            if ratio is not None and (ratio["min"], ratio["max"]) != (1, 1):
                network.setdefault(name, []).append(ratio)
    return networks


def _network_title(workload: Mapping[str, Any]) -> str:
    """Return what the panel of a workload's network is called."""
    width = workload["width"]
    return f"convnet, {width} filters" if workload["kind"] == "convnet" else f"sine waves, 1-{width}-{width}-1"
