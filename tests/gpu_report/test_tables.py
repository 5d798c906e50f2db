"""Tables of a report show what was measured where it belongs, and name what was not."""

from typing import Any

from metasgd.gpu_report import (
    Report,
    accuracy_table,
    check_lines,
    memory_table,
    speed_table,
    turns_table,
    usage_table,
)
from metasgd.gpu_report.tables import table


def cell(kind: str, values: dict[str, Any], status: str = "measured", **settings: Any) -> dict[str, Any]:
    return {"kind": kind, "settings": settings, "status": status, "values": values}


def speed(contender: str, precision: str, tasks: float, meta_batch: int = 32) -> dict[str, Any]:
    values = {"per_second": {"median": tasks}, "peak_memory_mb": 10 * tasks}
    workload = {"meta_batch": meta_batch, "width": 64, "shots": 1}
    return cell("speed", values, contender=contender, precision=precision, **workload)


def report_of(*cells: dict[str, Any]) -> Report:
    return Report({}, {str(number): one for number, one in enumerate(cells)})


def fields(text: str, name: str) -> list[str]:
    """The parts of the line that begins with a name, which stand at least two spaces apart."""
    (line,) = (line for line in text.splitlines() if line.startswith(name + "  "))
    return [part.strip() for part in line.removeprefix(name).split("  ") if part.strip()]


def test_speeds_stand_in_their_places_with_their_ratio_to_the_loop() -> None:
    text = speed_table(report_of(speed("loop", "float32", 50), speed("streams, compiled", "bfloat16", 1500)))
    assert fields(text, "tasks per second") == ["float32", "bfloat16"]
    assert fields(text, "loop") == ["50 (1.0 x)", "-"]
    assert fields(text, "streams, compiled") == ["-", "1,500 (30.0 x)"]
    assert text.count("Not measured") == 1
    assert "tf32." in text
    assert "batched; batched, compiled; streams;" in text.replace("\n", " ")


def test_speeds_of_a_few_tasks_per_second_have_a_decimal() -> None:
    cells = (speed("loop", "float32", 2.5), speed("batched", "float32", 40.0))
    text = speed_table(report_of(*cells))
    assert fields(text, "loop") == ["2.5 (1.0 x)"]
    assert fields(text, "batched") == ["40 (16.0 x)"]


def test_what_is_used_of_a_device_stands_beside_what_drawing_takes() -> None:
    workload = {"precision": "float32", "meta_batch": 32, "width": 64, "shots": 1}
    loop = cell("speed", {"of_ceiling": 0.006, "sampling_share": 0.01}, contender="loop", **workload)
    streams = cell("speed", {"of_ceiling": 0.117}, contender="streams", **workload)
    text = usage_table(report_of(loop, streams))
    assert fields(text, "used") == ["of a large product", "for drawing"]
    assert fields(text, "loop") == ["0.6%", "1.0%"]
    assert fields(text, "streams") == ["11.7%", "-"]
    assert "Not measured: batched;" in text


def test_contenders_that_took_turns_stand_beside_the_loop() -> None:
    speeds = {"loop": 4.0, "program, side by side": 3.0}
    values = {name: {"median": one, "min": one - 1, "max": one + 2} for name, one in speeds.items()}
    text = turns_table(report_of(cell("turns", values)))
    assert fields(text, "loop") == ["4.0", "3.0 to 6.0", "1.00 x"]
    assert fields(text, "program, side by side") == ["3.0", "2.0 to 5.0", "0.75 x"]
    assert turns_table(report_of()) == "tasks per second, taking turns: not measured"


def test_memory_stands_under_its_meta_batch() -> None:
    text = memory_table(report_of(speed("streams", "float32", 7, meta_batch=512)))
    assert fields(text, "peak memory, MB") == ["512 tasks"]
    assert fields(text, "streams") == ["70"]


def test_a_table_without_any_measurement_is_a_line() -> None:
    assert memory_table(report_of()) == "peak memory, MB: not measured"
    assert accuracy_table(report_of()) == "training by precision: not measured"


def test_a_table_of_which_all_was_measured_names_nothing() -> None:
    assert table("a", ["b", "c"], {"d": ["1", "2"]}).splitlines()[1:] == [f"{'d':32}  1  2"]


def test_accuracy_is_the_mean_of_the_folds_beside_the_error() -> None:
    text = accuracy_table(
        report_of(
            cell(
                "accuracy",
                {"seconds": 12.3, "accuracy": [0.9, 0.92], "seconds_to": {"85": 4.2, "90": None}},
                precision="tf32",
            ),
            cell("error", {"errors": [3e-3, 1e-3, 2e-3]}, precision="tf32", width=64),
        )
    )
    assert fields(text, "tf32") == ["2.0e-03", "4", "not reached", "12", "91.0 %"]
    assert "Not measured: float32; bfloat16." in text


def test_checks_are_right_wrong_or_missing_and_failures_are_listed() -> None:
    lost = cell("speed", {}, status="failed") | {"reason": "no memory"}
    cells = (
        cell("meta_gradient", {"right": True}),
        cell("meta_gradient", {"right": False}),
        cell("resume", {"right": True}),
    )
    lines = check_lines(report_of(*cells, lost)).splitlines()
    assert [line.split()[-1] for line in lines[:2]] == ["NO", "yes"]
    assert lines[2].startswith("Not checked: the strategies' meta-gradients; float32")
    assert lines[-1] == "failed: 3: no memory"
