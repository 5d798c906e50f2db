"""The figures of chapter 10: time, precision and memory of the complete program."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from metasgd.plotting.style import COLOURS, figure, legend_above


def time_shares(shares: Mapping[str, float], notes: Mapping[str, str]) -> Figure:
    """Draw how the time of one meta-step divides among kinds of work, the longest first (chapter 10).

    The figure is ``fig-gpu-profile``.

    Args:
        shares: by kind of work, its time in milliseconds.
        notes: by kind of work, what it is, in a few words; written above its bar.
    """
    kinds, total = sorted(shares, key=shares.__getitem__, reverse=True), sum(shares.values())
    with figure(height=0.7 + 0.7 * len(kinds)) as (fig, axes):
        for place, kind in enumerate(kinds):
            axes.barh(place, shares[kind], color=COLOURS["blue"], height=0.42)
            share = f"{shares[kind]:.1f} ms, {shares[kind] / total:.0%}"
            axes.text(shares[kind] + 0.01 * total, place, share, va="center")
            note = axes.text(0, place - 0.27, f"{kind}: {notes[kind]}", va="bottom")
            note.set_in_layout(False)  # a note is longer than its bar, and would make the axes narrow
        axes.set(xlabel="time [ms]", xlim=(0, 1.35 * max(shares.values())), ylim=(len(kinds) - 0.6, -0.85), yticks=[])
        axes.spines["left"].set_visible(False)
        axes.grid(axis="y", visible=False)
    return fig


def precision_errors(errors: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw the relative error of a meta-gradient in several precisions, one mark for each meta-batch (chapter 10).

    The figure is ``fig-gpu-precision``.

    Args:
        errors: by kind of network (at most two), then by precision, the relative difference from the exact
            meta-gradient for each meta-batch.
    """
    rows = list(dict.fromkeys(name for kinds in errors.values() for name in kinds))
    with figure(height=1.5 + 0.5 * len(rows)) as (fig, axes):
        for (kind, by_name), colour, marker, offset in zip(
            errors.items(), ("red", "blue"), "os", (-0.14, 0.14), strict=False
        ):
            for name, values in by_name.items():
                place = [rows.index(name) + offset] * len(values)
                label = kind if name == next(iter(by_name)) else None
                axes.plot(values, place, marker, color=COLOURS[colour], alpha=0.6, markersize=6, label=label)
        axes.set(xscale="log", xlabel="relative difference from the exact meta-gradient", ylim=(len(rows) - 0.5, -0.5))
        axes.set_yticks(range(len(rows)), rows)
        legend_above(fig)
    return fig


def memory_curves(batches: Sequence[int], by_batch: Mapping[str, Sequence[float]]) -> Figure:
    """Draw peak memory against the number of tasks in a meta-batch (chapter 10).

    The figure is ``fig-gpu-memory``.

    Args:
        batches: the numbers of tasks in a meta-batch.
        by_batch: by way of computing the meta-gradient, the megabytes at each number of tasks; at most two ways.
    """
    with figure() as (fig, axes):
        for (name, values), marker, colour in zip(by_batch.items(), "os", ("red", "blue"), strict=False):
            axes.plot(batches, values, marker=marker, color=COLOURS[colour], label=name)
        top = 1.3 * max(map(max, by_batch.values()))
        axes.set(xlabel="tasks in a meta-batch", ylabel="peak memory [MB]", xlim=(0, None), ylim=(0, top))
        axes.legend(loc="upper left")
    return fig
