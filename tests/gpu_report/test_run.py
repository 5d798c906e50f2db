"""A report is measured in order, within its minutes, and goes on after whatever happens to a cell."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from metasgd.cli import main
from metasgd.gpu_report import Cell, cells, make_cells, read_report, run, run_report
from metasgd.gpu_report.run import CellError, Worker

CPU = torch.device("cpu")
THREE = [Cell("speed", {"contender": name}, seconds=20) for name in ("a", "b", "c")]


class Clock:
    """A clock that goes on by ten seconds for each cell."""

    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def measuring(clock: Clock, failing: set[str] = frozenset()) -> Any:  # type: ignore[assignment]
    def measure(cell: Cell, patience: float) -> dict[str, Any]:
        clock.time += 10
        name = cell.settings["contender"]
        if name in failing:
            raise CellError(f"no {name}")
        return {"per_second": name, "patience": patience}

    return measure


def names(report: dict[str, Any], status: str) -> list[str]:
    return [cell["settings"]["contender"] for cell in report["results"] if cell["status"] == status]


def test_a_cell_that_fails_costs_nothing_but_itself_and_is_tried_again_last(tmp_path: Path) -> None:
    out, clock = tmp_path / "report.json", Clock()
    first = run_report(out, THREE, CPU, measure=measuring(clock, {"a"}), now=clock)
    assert (names(first, "measured"), names(first, "failed")) == (["b", "c"], ["a"])
    assert read_report(out).failed() == {"speed contender=a": "no a"}
    seen: list[str] = []

    def note(cell: Cell, patience: float) -> dict[str, Any]:
        seen.append(cell.settings["contender"])
        return {}

    again = run_report(out, [*THREE, Cell("speed", {"contender": "d"})], CPU, measure=note, now=clock)
    assert seen == ["d", "a"]
    assert sorted(names(again, "measured")) == ["a", "b", "c", "d"]
    assert json.loads(out.read_text()) == again


def test_only_cells_are_begun_for_which_there_is_time(tmp_path: Path) -> None:
    """Forty seconds are enough for two cells of twenty that took ten each, and for a short one after them."""
    out, clock = tmp_path / "report.json", Clock()
    short = Cell("speed", {"contender": "short"}, seconds=1)
    report = run_report(out, [*THREE, short], CPU, minutes=35 / 60, measure=measuring(clock), now=clock)
    assert names(report, "measured") == ["a", "b", "short"]
    assert report["not_measured"] == ["speed contender=c"]


def test_the_file_is_written_after_every_cell(tmp_path: Path) -> None:
    out, clock = tmp_path / "report.json", Clock()

    def measure(cell: Cell, patience: float) -> dict[str, Any]:
        if cell is THREE[2]:
            raise KeyboardInterrupt
        return {}

    with pytest.raises(KeyboardInterrupt):
        run_report(out, THREE, CPU, measure=measure, now=clock)
    assert len(read_report(out).cells) == 2


def test_a_report_of_another_device_is_not_gone_on_with(tmp_path: Path) -> None:
    out, clock = tmp_path / "report.json", Clock()
    report = run_report(out, THREE, CPU, measure=measuring(clock), now=clock)
    out.write_text(json.dumps(report | {"device": "another GPU"}))
    with pytest.raises(ValueError, match="was measured with device another GPU"):
        run_report(out, THREE, CPU, measure=measuring(clock), now=clock)
    for content in ("{}", "no JSON"):
        out.write_text(content)
        with pytest.raises(ValueError, match="is no report"):
            run_report(out, THREE, CPU, measure=measuring(clock), now=clock)


def test_a_worker_survives_an_error_a_death_and_a_cell_that_hangs() -> None:
    """Each in one process after another, on real processes."""
    worker = Worker(CPU)
    try:
        with pytest.raises(CellError, match="KeyError"):
            worker(Cell("no such kind"), 60)
        found = worker(Cell("switches"), 60)
        assert found["right"]
        worker._process.kill()
        with pytest.raises(CellError, match="its process died"):
            worker(Cell("switches"), 60)
        with pytest.raises(CellError, match="it took more than 0 s"):
            worker(Cell("switches"), 0.01)
        assert worker._process is None
    finally:
        worker.close()


def test_the_command_measures_on_a_cpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Two of its cells, tiny, in a process of their own."""
    chosen = [cell for cell in make_cells("cpu", cells.TINY) if cell.kind in ("switches", "drawing")]
    monkeypatch.setattr("metasgd.gpu_report.make_cells", lambda *_, **__: chosen)
    out = tmp_path / "report.json"
    assert main(["gpu-report", "--out", str(out), "--device", "cpu", "--tiny"]) == 0
    assert json.loads(capsys.readouterr().out) == {"out": str(out), "measured": 2, "failed": 0, "not_measured": 0}
    report = read_report(out)
    assert report.value("switches", "right") is True
    assert report.about["device"].startswith("cpu")
    assert report.about["command"].startswith("python -m metasgd")


def test_patience_grows_with_a_cell() -> None:
    clock = Clock()
    cell = Cell("speed", {"contender": "a"}, seconds=90)
    assert run.measured(cell, measuring(clock), clock)["values"]["patience"] == 360
    assert run.measured(THREE[0], measuring(clock), clock)["values"]["patience"] == 80
