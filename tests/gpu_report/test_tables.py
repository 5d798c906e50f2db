"""Tables of a report show what was measured where it belongs, and say where a cell is missing."""

from typing import Any

from metasgd.gpu_report import Report, accuracy_table, check_lines, memory_table, speed_table
from metasgd.gpu_report.tables import MISSING


def cell(kind: str, values: dict[str, Any], status: str = "measured", **settings: Any) -> dict[str, Any]:
    return {"kind": kind, "settings": settings, "status": status, "values": values}


def speed(contender: str, precision: str, tasks: float, meta_batch: int = 32) -> dict[str, Any]:
    values = {"per_second": {"median": tasks}, "peak_memory_mb": 10 * tasks}
    workload = {"meta_batch": meta_batch, "width": 64, "shots": 1}
    return cell("speed", values, contender=contender, precision=precision, **workload)


def report_of(*cells: dict[str, Any]) -> Report:
    return Report({}, {str(number): one for number, one in enumerate(cells)})


def row(table: str, name: str) -> list[str]:
    (line,) = (line for line in table.splitlines() if line.startswith(name + "  "))
    return line.removeprefix(name).replace(MISSING, "missing").split("  ")


def fields(table: str, name: str) -> list[str]:
    return [part.strip() for part in row(table, name) if part.strip()]


def test_speeds_stand_in_their_places_with_their_ratio_to_the_loop() -> None:
    table = speed_table(report_of(speed("loop", "float32", 50), speed("streams, compiled", "bfloat16", 1500)))
    assert fields(table, "loop") == ["50 (1.0 x)", "missing", "missing"]
    assert fields(table, "streams, compiled") == ["missing", "missing", "1,500 (30.0 x)"]
    assert fields(table, "batched") == ["missing"] * 3


def test_memory_stands_under_its_meta_batch() -> None:
    table = memory_table(report_of(speed("streams", "float32", 7, meta_batch=512)))
    assert fields(table, "streams") == ["missing"] * 3 + ["70"]


def test_accuracy_is_the_mean_of_the_folds_beside_the_error() -> None:
    table = accuracy_table(
        report_of(
            cell("accuracy", {"seconds": 12.3, "accuracy": [0.9, 0.92]}, precision="tf32"),
            cell("error", {"errors": [3e-3, 1e-3, 2e-3]}, precision="tf32", width=64),
        )
    )
    assert fields(table, "tf32") == ["2.0e-03", "12", "91.0 %"]
    assert fields(table, "float32") == ["missing"] * 3


def test_checks_are_right_wrong_or_missing_and_failures_are_listed() -> None:
    lost = cell("speed", {}, status="failed") | {"reason": "no memory"}
    cells = (
        cell("meta_gradient", {"right": True}),
        cell("meta_gradient", {"right": False}),
        cell("resume", {"same": True}),
    )
    lines = check_lines(report_of(*cells, lost)).splitlines()
    assert [line.split()[-1] for line in lines[:4]] == ["NO", "measured", "measured", "yes"]
    assert lines[4] == "failed: 3: no memory"
