"""A report is read, and until a GPU has made one, the earlier benchmark stands in with what it has."""

import json
from pathlib import Path

import pytest

from metasgd._core import files
from metasgd.experiments import load_benchmark
from metasgd.experiments.how_made import made_by_run
from metasgd.gpu_report import load_cpu_report, load_gpu_report, read_report
from metasgd.gpu_report.reading import EARLIER, NAME, ON_CPU, from_benchmark

CONTENT = {
    "report": "gpu",
    "command": "python -m metasgd gpu-report --out x",
    "device": "a GPU",
    **dict.fromkeys(("metasgd", "commit", "torch", "processor", "threads"), "1"),
    "seconds": 3.0,
    "results": [
        {"name": "a", "kind": "speed", "settings": {"width": 64}, "status": "measured", "values": {"x": 5}},
        {"name": "b", "kind": "speed", "settings": {"width": 32}, "status": "failed", "reason": "no memory"},
    ],
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in place of the book's results."""
    monkeypatch.setitem(files.FOLDERS, "results", (tmp_path,))
    return tmp_path


def test_missing_and_failed_cells_have_no_value(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps(CONTENT))
    report = read_report(tmp_path / "report.json")
    assert report.value("speed", "x", width=64) == 5
    assert report.value("speed", "x", width=32) is None
    assert report.value("speed", "x", width=16) is None
    assert report.value("accuracy", "accuracy") is None
    assert report.failed() == {"b": "no memory"}
    assert report.about["device"] == "a GPU"


def test_another_file_is_no_report(tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text("{}")
    with pytest.raises(ValueError, match="is no file of python -m metasgd gpu-report"):
        read_report(tmp_path / "other.json")


def test_the_earlier_benchmark_stands_in_with_its_own_numbers() -> None:
    results = load_benchmark(EARLIER)
    report = from_benchmark(results)
    (result,) = results["results"]
    for contender, row in result["contenders"].items():
        found = report.value("speed", "per_second", contender=contender, precision="float32", meta_batch=32, width=64)
        assert found == row["per_second"]
        assert report.value("speed", "sampling_share", contender=contender) == row["sampling_share"]
    assert report.value("strategies", "right") is True
    assert report.value("speed", "per_second", contender="streams", precision="tf32") is None
    assert report.about["device"] == results["device"]


def test_a_stored_report_comes_before_the_earlier_benchmark(folder: Path) -> None:
    """And the appendix on how results were made reads it as any benchmark."""
    (folder / f"{EARLIER}.json").write_text(json.dumps({"checks": {}, "results": [], "device": "old"}))
    assert load_gpu_report().about["device"] == "old"
    (folder / f"{NAME}.json").write_text(json.dumps(CONTENT))
    assert load_gpu_report().about["device"] == "a GPU"
    assert [run["run"] for run in made_by_run(NAME)] == ["a", "b"]


def test_the_report_of_a_cpu_is_that_file_or_is_missed(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match="gpu-report --device cpu"):
        load_cpu_report()
    (folder / f"{ON_CPU}.json").write_text(json.dumps(CONTENT))
    assert load_cpu_report().value("speed", "x", width=64) == 5
