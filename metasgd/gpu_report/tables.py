"""A report as tables, which say where a cell is missing (chapter 10)."""

from metasgd.gpu_report.cells import COMPILED, PRECISIONS, PROGRAM, PROGRAM_BATCHED, Sizes
from metasgd.gpu_report.reading import Report

MISSING = "not measured"
CONTENDERS = ("loop", "batched", "streams", PROGRAM_BATCHED, PROGRAM)


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
    lines = [f"{'tasks per second':32}" + "".join(f"{precision:>18}" for precision in PRECISIONS)]
    for name in names:
        row = f"{name:32}"
        for precision in PRECISIONS:
            found = report.value("speed", "per_second", contender=name, precision=precision, **workload)
            row += f"{speed_text(found, loop):>18}"
        lines.append(row)
    return "\n".join(lines)


def speed_text(found: dict[str, float] | None, loop: dict[str, float] | None) -> str:
    """Return a speed, with its ratio to that of the loop if this is known."""
    if found is None:
        return MISSING
    ratio = f" ({found['median'] / loop['median']:.1f} x)" if loop else ""
    return f"{found['median']:,.0f}{ratio}"


def memory_table(report: Report, *, width: int = 64, shots: int = 1) -> str:
    """Return the peak memory, in MB, of the contenders for each size of a meta-batch, in float32.

    Args:
        report: what was measured.
        width: filters of a convolution.
        shots: support pictures of a class.
    """
    sizes = Sizes().meta_batches
    lines = [f"{'peak memory, MB; meta-batch':32}" + "".join(f"{size:>14}" for size in sizes)]
    for name in ("streams", PROGRAM_BATCHED, PROGRAM):
        workload = {"contender": name, "precision": "float32", "width": width, "shots": shots}
        peaks = [report.value("speed", "peak_memory_mb", meta_batch=size, **workload) for size in sizes]
        lines.append(f"{name:32}" + "".join(f"{MISSING if peak is None else f'{peak:,.0f}':>14}" for peak in peaks))
    return "\n".join(lines)


def accuracy_table(report: Report) -> str:
    """Return the error of the meta-gradient at the start, and after training the seconds and the mean accuracy."""
    lines = [f"{'precision':12}{'error at the start':>22}{'seconds of training':>22}{'accuracy':>16}"]
    for precision in PRECISIONS:
        errors = report.value("error", "errors", precision=precision)
        seconds = report.value("accuracy", "seconds", precision=precision)
        folds = report.value("accuracy", "accuracy", precision=precision)
        error = MISSING if errors is None else f"{sorted(errors)[len(errors) // 2]:.1e}"
        time = MISSING if seconds is None else f"{seconds:.0f}"
        right = MISSING if folds is None else f"{100 * sum(folds) / len(folds):.1f} %"
        lines.append(f"{precision:12}{error:>22}{time:>22}{right:>16}")
    return "\n".join(lines)


def check_lines(report: Report) -> str:
    """Return what was checked for being right, one line each, and what failed."""
    names = {
        "the program's meta-gradient": ("meta_gradient", "right"),
        "the strategies' meta-gradients": ("strategies", "right"),
        "float32 is float32": ("switches", "right"),
        "a resumed run is the same, bit for bit": ("resume", "same"),
    }
    lines = []
    for label, (kind, name) in names.items():
        found = [cell["values"][name] for cell in report.find(kind)]
        answer = MISSING if not found else "yes" if all(found) else "NO"
        lines.append(f"{label:42} {answer}")
    lines += [f"failed: {name}: {reason}" for name, reason in report.failed().items()]
    return "\n".join(lines)
