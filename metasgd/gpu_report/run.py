"""A report is run: cell by cell, in a process that may die, within a number of minutes (chapter 10)."""

import json
import time
from collections.abc import Callable, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch

from metasgd._core.files import write_json
from metasgd._core.messages import inform_once
from metasgd._core.provenance import provenance
from metasgd.gpu_report.cells import Cell

PATIENCE = 4  # times the seconds that a cell should take; then it is given up
LEAST_PATIENCE = 60.0  # seconds
SAME = ("metasgd", "torch", "device")  # what a report and its continuation must have in common
Measure = Callable[[Cell, float], dict[str, Any]]


class CellError(RuntimeError):
    """A cell failed, was lost with its process, or took too long."""


class Worker:
    """A process that measures cells, and is replaced by a new one after a cell that failed.

    An error of a GPU, such as an illegal address, stays with a process as long as it lives.

    Args:
        device: where it measures.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = str(device)
        self._process: Any = None
        self._connection: Any = None

    def __call__(self, cell: Cell, patience: float) -> dict[str, Any]:
        """Return what a cell measures.

        Args:
            cell: what to measure.
            patience: how many seconds to wait for it.

        Raises:
            CellError: it failed, with the reason.
        """
        if self._process is None:
            context = get_context("spawn")
            self._connection, other = context.Pipe()
            self._process = context.Process(target=serve, args=(other, self.device), daemon=False)
            self._process.start()
            other.close()
        try:
            self._connection.send((cell.kind, cell.settings))
            if not self._connection.poll(patience):
                raise CellError(f"it took more than {patience:.0f} s")
            values, reason = self._connection.recv()
        except (EOFError, OSError) as error:
            self.close()
            raise CellError("its process died") from error
        except CellError:
            self.close()
            raise
        if reason is not None:
            self.close()
            raise CellError(reason)
        found: dict[str, Any] = values
        return found

    def close(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._connection.close()
            self._process = None


def serve(connection: Connection, device: str) -> None:
    """Measure one cell after the other, until the other end is closed."""
    from metasgd.gpu_report.measures import MEASURES

    while True:
        try:
            kind, settings = connection.recv()
        except EOFError:
            return
        try:
            connection.send((MEASURES[kind](torch.device(device), **settings), None))
        except Exception as error:  # whatever a cell raises is its result
            text = str(error).strip().splitlines() or [""]
            connection.send((None, f"{type(error).__name__}: {text[0]}"))


def run_report(
    out: Path,
    cells: Sequence[Cell],
    device: torch.device,
    *,
    minutes: float = 8.0,
    command: str = "",
    measure: Measure | None = None,
    now: Callable[[], float] = time.monotonic,
) -> dict[str, Any]:
    """Measure cells in their order as long as there is time, write the file after each, and return the report.

    A cell that the file has is not measured again. One that failed is, after all others.

    Args:
        out: the file of the report; one that is there is gone on with.
        cells: what to measure.
        device: where.
        minutes: for how long. A cell is begun only if the time that it should take is left.
        command: the command that asked for the report, which the file keeps.
        measure: measures one cell (None: in a process of its own, see ``Worker``).
        now: a clock, in seconds.

    Raises:
        ValueError: the file is no report, or one of another device or version.
    """
    about = provenance(device)
    report = start_report(out, about, command)
    done: dict[str, Any] = {entry["name"]: entry for entry in report["results"]}
    order = [cell for cell in cells if cell.name not in done]
    order += [cell for cell in cells if cell.name in done and done[cell.name]["status"] == "failed"]
    worker = Worker(device) if measure is None else None
    end, started = now() + 60 * minutes, now()
    try:
        for number, cell in enumerate(order):
            if now() + cell.seconds > end:
                continue  # a shorter one may fit
            inform_once(f"cell {number + 1} of {len(order)}: {cell.name}")
            done[cell.name] = measured(cell, measure or worker, now)  # type: ignore[arg-type]
            report["seconds"] += now() - started
            report["results"], started = list(done.values()), now()
            write_json(out, report)
    finally:
        if worker is not None:
            worker.close()
    report["not_measured"] = [cell.name for cell in cells if cell.name not in done]
    write_json(out, report)
    return report


def measured(cell: Cell, measure: Measure, now: Callable[[], float]) -> dict[str, Any]:
    """Measure a cell and return its entry in the report, also if it fails."""
    entry: dict[str, Any] = {"name": cell.name, "kind": cell.kind, "settings": cell.settings}
    started = now()
    try:
        values = measure(cell, max(LEAST_PATIENCE, PATIENCE * cell.seconds))
        return entry | {"status": "measured", "seconds": now() - started, "values": values}
    except Exception as error:
        reason = str(error)
        inform_once(f"  failed: {reason}")
        return entry | {"status": "failed", "seconds": now() - started, "reason": reason}


def start_report(out: Path, about: dict[str, Any], command: str) -> dict[str, Any]:
    """Return the report that a file holds, or an empty one.

    Raises:
        ValueError: the file is no report, or one of another device or version.
    """
    if not out.exists() or not out.stat().st_size:
        return {"report": "gpu", "command": command, **about, "seconds": 0.0, "results": []}
    try:
        report: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{out} is no report: {error}") from error
    if report.get("report") != "gpu":
        raise ValueError(f"{out} is no report of gpu-report; choose another file")
    for name in SAME:
        if report[name] != about[name]:
            raise ValueError(
                f"{out} was measured with {name} {report[name]}, and this is {about[name]}; choose another file"
            )
    return report
