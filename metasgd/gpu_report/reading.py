"""A report is read: by the tables and figures of chapter 10, which say where a cell is missing."""

import json
from pathlib import Path
from typing import Any, NamedTuple

from metasgd._core.files import find_file
from metasgd.experiments.results import load_benchmark

NAME = "benchmark-gpu-report"
ON_CPU = "benchmark-cpu-report"  # the same command on a CPU
EARLIER = "benchmark-gpu"  # a run of ``python -m metasgd benchmark`` on a GPU, which stands in until there is a report


class Report(NamedTuple):
    """What was measured on a device.

    Attributes:
        about: how it was made: ``command``, ``device``, ``torch``, and more.
        cells: by name, as the file holds them.
    """

    about: dict[str, Any]
    cells: dict[str, dict[str, Any]]

    def find(self, kind: str, **settings: Any) -> list[dict[str, Any]]:
        """Return the cells of a kind that were measured and have these settings."""
        return [
            cell
            for cell in self.cells.values()
            if cell["kind"] == kind
            and cell["status"] == "measured"
            and all(cell["settings"].get(name) == value for name, value in settings.items())
        ]

    def value(self, kind: str, name: str, **settings: Any) -> Any:
        """Return a value of the first such cell; None where none was measured."""
        found = self.find(kind, **settings)
        return found[0]["values"].get(name) if found else None

    def failed(self) -> dict[str, str]:
        """Return the reason of each cell that failed, by its name."""
        return {name: cell["reason"] for name, cell in self.cells.items() if cell["status"] == "failed"}


def read_report(path: Path) -> Report:
    """Return the report in a file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.get("report") != "gpu":
        raise ValueError(f"{path} is no file of python -m metasgd gpu-report")
    cells = {cell["name"]: cell for cell in content.pop("results")}
    return Report(content, cells)


def load_gpu_report() -> Report:
    """Return the report of a GPU that the book stores; until there is one, what an earlier benchmark has of it."""
    file = find_file("results", f"{NAME}.json")
    return read_report(file) if file is not None else from_benchmark(load_benchmark(EARLIER))


def load_cpu_report() -> Report:
    """Return the report of a CPU that the book stores.

    Raises:
        FileNotFoundError: it is missing.
    """
    file = find_file("results", f"{ON_CPU}.json")
    if file is None:
        raise FileNotFoundError(f"there is no {ON_CPU}.json; make it by python -m metasgd gpu-report --device cpu")
    return read_report(file)


def from_benchmark(results: dict[str, Any]) -> Report:
    """Return the cells of speed and of checks that a file of ``python -m metasgd benchmark`` has."""
    cells: dict[str, dict[str, Any]] = {}
    checks = results["checks"].get("convnet")
    if checks:
        values = {"checks": checks, "right": not any(check.get("wrong") for check in checks.values())}
        cells["strategies"] = {"kind": "strategies", "settings": {}, "status": "measured", "values": values}
    for result in results["results"]:
        work = result["workload"]
        if work["kind"] != "convnet":
            continue
        for contender, row in result["contenders"].items():
            settings = {"contender": contender, "precision": "float32"}
            settings |= {name: work[name] for name in ("meta_batch", "width", "shots")}
            names = ("per_second", "of_ceiling", "peak_memory_mb", "sampling_share")
            values = {name: row[name] for name in names}
            name = " ".join(["speed", *(f"{key}={value}" for key, value in settings.items())])
            cells[name] = {"kind": "speed", "settings": settings, "status": "measured", "values": values}
    about = {name: value for name, value in results.items() if name not in ("checks", "results")}
    return Report(about, cells)
