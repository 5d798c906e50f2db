"""The command ``gpu-report``: measure everything of chapter 10 on a GPU, within some minutes."""

import argparse
from pathlib import Path
from typing import Any

import torch

from metasgd import gpu_report
from metasgd.cli.options import HelpFormatter, add_device, choose_device, number_from, typed_command
from metasgd.gpu_report.cells import TINY


def add_gpu_report(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "gpu-report",
        help="measure everything of chapter 10 on this device: errors, speed, memory, accuracy",
        description="Check the meta-gradient, then measure speed, memory and accuracy by strategy, precision, "
        "compilation and workload,\nthose cells first that say most. The file is written after each cell; the same "
        "command goes on with it, and tries\nagain what failed.",
        epilog="example: python -m metasgd gpu-report --out gpu-report.json --minutes 8",
        formatter_class=HelpFormatter,
    )
    command.set_defaults(run=run_gpu_report)
    command.add_argument("--out", metavar="FILE", required=True, help="where the report is written, or goes on")
    command.add_argument("--minutes", type=number_from(float, 0), default=8.0, help="how long cells are begun")
    command.add_argument("--tiny", action="store_true", help="tiny sizes, whose numbers mean nothing: to try it")
    add_device(command)


def run_gpu_report(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure as many cells as there is time for, and return how many were measured, failed, and are left."""
    device = choose_device(arguments.device)
    has_tf32 = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    gpus = torch.cuda.device_count()
    cells = gpu_report.make_cells(device.type, TINY if arguments.tiny else None, has_tf32=has_tf32, gpus=gpus)
    out = Path(arguments.out)
    report = gpu_report.run_report(out, cells, device, minutes=arguments.minutes, command=typed_command())
    states = [cell["status"] for cell in report["results"]]
    counts = {state: states.count(state) for state in ("measured", "failed")}
    return {"out": str(out), **counts, "not_measured": len(report["not_measured"])}
