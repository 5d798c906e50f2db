"""One command that measures everything of chapter 10 on a device: ``python -m metasgd gpu-report``.

A report is a file of cells. A cell is one thing that was measured: whether the meta-gradient is right, how fast one
contender is on one workload, how accurate the learner of chapter 8 becomes in one precision. Cells come in the order
of their worth, as far as the minutes reach; each is measured in a process of its own kind, so that a cell that fails
or hangs costs nothing but itself; and the file is written after each of them, so that a report that was stopped goes
on where it was.
"""

from metasgd.gpu_report.cells import Cell, make_cells
from metasgd.gpu_report.reading import Report, load_cpu_report, load_gpu_report, read_report
from metasgd.gpu_report.run import run_report
from metasgd.gpu_report.tables import (
    accuracy_table,
    check_lines,
    memory_table,
    speed_table,
    turns_table,
    usage_table,
)

__all__ = [
    "Cell",
    "Report",
    "accuracy_table",
    "check_lines",
    "load_cpu_report",
    "load_gpu_report",
    "make_cells",
    "memory_table",
    "read_report",
    "run_report",
    "speed_table",
    "turns_table",
    "usage_table",
]
