"""A report as tables of what was measured; what was not is named below each (chapter 10)."""

import textwrap
from collections.abc import Sequence

from metasgd.gpu_report.cells import COMPILED, GOALS, PRECISIONS, PROGRAM, PROGRAM_BATCHED, Sizes
from metasgd.gpu_report.reading import Report

CONTENDERS = ("loop", "batched", "streams", PROGRAM_BATCHED, PROGRAM)
NAME_WIDTH, TEXT_WIDTH = 32, 86
ABSENT = "-"  # in a table of which the rest was measured


def table(title: str, columns: Sequence[str], rows: dict[str, list[str | None]]) -> str:
    """Lay out what was measured; rows and columns of which nothing was are named in a line below.

    Args:
        title: stands above the names of the rows.
        columns: their titles.
        rows: for each name, a text for each column, or None where nothing was measured.
    """
    seen = {name: row for name, row in rows.items() if any(row)}
    kept = [place for place in range(len(columns)) if any(row[place] for row in seen.values())]
    if not seen:
        return f"{title}: not measured"
    width = 2 + max(len(text) for place in kept for text in (columns[place], *(r[place] or "" for r in seen.values())))
    lines = [f"{title:{NAME_WIDTH}}" + "".join(f"{columns[place]:>{width}}" for place in kept)]
    lines += [
        f"{name:{NAME_WIDTH}}" + "".join(f"{row[place] or ABSENT:>{width}}" for place in kept)
        for name, row in seen.items()
    ]
    absent = [name for name in rows if name not in seen]
    absent += [column for place, column in enumerate(columns) if place not in kept]
    if absent:
        lines.append(textwrap.fill(f"Not measured: {'; '.join(absent)}.", TEXT_WIDTH))
    return "\n".join(lines)


def speed_table(report: Report, *, meta_batch: int = 32, width: int = 64, shots: int = 1) -> str:
    """Return tasks per second of each contender in each precision, and how many times those of the loop that is.

    Args:
        report: what was measured.
        meta_batch: of the workload.
        width: its filters of a convolution.
        shots: its support pictures of a class.
    """
    workload = {"meta_batch": meta_batch, "width": width, "shots": shots}
    loop = report.value("speed", "per_second", contender="loop", precision="float32", **workload)
    names = [name for base in CONTENDERS for name in (base, base + COMPILED) if name != "loop" + COMPILED]

    def text(contender: str, precision: str) -> str | None:
        found = report.value("speed", "per_second", contender=contender, precision=precision, **workload)
        return None if found is None else speed_text(found, loop)

    return table("tasks per second", PRECISIONS, {name: [text(name, each) for each in PRECISIONS] for name in names})


def usage_table(report: Report, *, meta_batch: int = 32, width: int = 64, shots: int = 1) -> str:
    """Return how much of a device each contender uses in float32, and how much of a step drawing its tasks takes.

    The first is the arithmetic that the contender does in a second, as a share of that of one large matrix product.

    Args:
        report: what was measured.
        meta_batch: of the workload.
        width: its filters of a convolution.
        shots: its support pictures of a class.
    """
    workload = {"precision": "float32", "meta_batch": meta_batch, "width": width, "shots": shots}
    rows: dict[str, list[str | None]] = {}
    for name in CONTENDERS:
        shares = [
            report.value("speed", share, contender=name, **workload) for share in ("of_ceiling", "sampling_share")
        ]
        rows[name] = [None if share is None else f"{share:.1%}" for share in shares]
    return table("used", ["of a large product", "for drawing"], rows)


def turns_table(report: Report) -> str:
    """Return tasks per second of contenders that took turns, their range over rounds, and the ratio to the loop."""
    found = [cell["values"] for cell in report.find("turns")]
    rows: dict[str, list[str | None]] = {}
    for name, speeds in found[0].items() if found else ():
        span = f"{speeds['min']:.1f} to {speeds['max']:.1f}"
        rows[name] = [f"{speeds['median']:.1f}", span, f"{speeds['median'] / found[0]['loop']['median']:.2f} x"]
    return table("tasks per second, taking turns", ["median", "range", "loop"], rows)


def speed_text(found: dict[str, float], loop: dict[str, float] | None) -> str:
    """Return a speed, with its ratio to that of the loop if this is known."""
    ratio = f" ({found['median'] / loop['median']:.1f} x)" if loop else ""
    digits = 1 if found["median"] < 10 else 0  # of a CPU, whose tasks take a good part of a second
    return f"{found['median']:,.{digits}f}{ratio}"


def memory_table(report: Report, *, width: int = 64, shots: int = 1) -> str:
    """Return the peak memory, in MB, of the contenders for each size of a meta-batch, in float32.

    Args:
        report: what was measured.
        width: filters of a convolution.
        shots: support pictures of a class.
    """
    sizes = Sizes().meta_batches
    rows: dict[str, list[str | None]] = {}
    for name in CONTENDERS:
        workload = {"contender": name, "precision": "float32", "width": width, "shots": shots}
        peaks = [report.value("speed", "peak_memory_mb", meta_batch=size, **workload) for size in sizes]
        rows[name] = [None if peak is None else f"{peak:,.0f}" for peak in peaks]
    return table("peak memory, MB", [f"{size} tasks" for size in sizes], rows)


def accuracy_table(report: Report) -> str:
    """Return the error of the meta-gradient at the start, the seconds to two accuracies, and the end of training.

    The end is the seconds of the whole recipe, and the mean accuracy over the folds after it.
    """
    rows: dict[str, list[str | None]] = {}
    for precision in PRECISIONS:
        errors = report.value("error", "errors", precision=precision)
        times = report.value("accuracy", "seconds_to", precision=precision)
        seconds = report.value("accuracy", "seconds", precision=precision)
        folds = report.value("accuracy", "accuracy", precision=precision)
        rows[precision] = [
            None if errors is None else f"{sorted(errors)[len(errors) // 2]:.1e}",
            *(None if times is None else reached_text(times[str(goal)]) for goal in GOALS),
            None if seconds is None else f"{seconds:.0f}",
            None if folds is None else f"{100 * sum(folds) / len(folds):.1f} %",
        ]
    columns = ["error", *(f"s to {goal} %" for goal in GOALS), "s in all", "accuracy"]
    return table("training by precision", columns, rows)


def reached_text(seconds: float | None) -> str:
    """Return the seconds to an accuracy, or that it was not reached."""
    return "not reached" if seconds is None else f"{seconds:.0f}"


def check_lines(report: Report) -> str:
    """Return what was checked for being right, one line each, what was not checked, and what failed."""
    names = {
        "the program's meta-gradient": "meta_gradient",
        "the strategies' meta-gradients": "strategies",
        "float32 is float32": "switches",
        "a resumed run repeats an uninterrupted one": "resume",
    }
    found = {label: [cell["values"]["right"] for cell in report.find(kind)] for label, kind in names.items()}
    lines = [f"{label:42} {'yes' if all(right) else 'NO'}" for label, right in found.items() if right]
    absent = [label for label, right in found.items() if not right]
    if absent:
        lines.append(textwrap.fill(f"Not checked: {'; '.join(absent)}.", TEXT_WIDTH))
    lines += [f"failed: {name}: {reason}" for name, reason in report.failed().items()]
    return "\n".join(lines)
