"""A whole run: every number it promises is there, earlier results are kept, and limits are lifted afterwards."""

import json
import os
from dataclasses import replace

import pytest
import torch

from metasgd.__main__ import main
from metasgd.benchmark import Workload, measure, run, run_benchmark
from metasgd.benchmark.peers import REFERENCE
from tests.benchmark.small import QUICK


def test_the_command_prints_and_writes_all_numbers(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(measure, "peak_memory", lambda *arguments, device: 1.0)  # it has a test of its own
    small = ["--widths", "4", "--queries", "2", "--meta-batch", "2", "--sine-meta-batch", "3"]
    assert main(["benchmark", *small, "--strategies", "threads", "--out", str(tmp_path / "b.json"), *QUICK]) == 0
    streams = capsys.readouterr()
    result = json.loads(streams.out)
    assert result == json.loads((tmp_path / "b.json").read_text())
    assert result.keys() >= {"command", "checks", "missing", "results", "peers", "torch", "threads"}
    assert [cell["unit"] for cell in result["results"]] == ["tasks", "meta-steps"]
    for cell in result["results"]:
        assert cell["name"] in streams.err
        assert list(cell["contenders"]) == ["threads", REFERENCE]
        for row in cell["contenders"].values():
            assert 0 < row["per_second"]["min"] <= row["per_second"]["median"] <= row["per_second"]["max"]
            assert row["of_ceiling"] > 0
            assert row["peak_memory_mb"] == 1.0
        assert cell["contenders"][REFERENCE]["times_reference"] == {"median": 1, "min": 1, "max": 1}
    assert 0 < result["results"][0]["contenders"]["threads"]["sampling_share"] < 1


def test_a_later_run_adds_to_what_the_file_holds(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(measure, "peak_memory", lambda *arguments, device: 1.0)
    out = tmp_path / "b.json"
    small = ["benchmark", "--workloads", "sine", "--strategies", "loop", "--out", str(out), *QUICK]
    for more in (["--sine-meta-batch", "3", "4"], ["--sine-meta-batch", "2", "3", "--add"]):
        assert main([*small, *more]) == 0
    added = json.loads(out.read_text())["results"]
    assert [result["workload"]["meta_batch"] for result in added] == [2, 3, 4]
    assert main([*small, "--sine-meta-batch", "2"]) == 0
    assert len(json.loads(out.read_text())["results"]) == 1
    capsys.readouterr()


def test_a_run_that_is_killed_leaves_earlier_results_of_what_it_has_not_measured(settings, monkeypatch):
    """Two workloads are measured again, and the second measurement does not come to its end."""
    first, second = Workload("sine", meta_batch=2), Workload("sine", meta_batch=3)
    earlier = run_benchmark([first, second], settings, strategies=["loop"])
    measured, kept = iter(["new"]), []

    def measure_once(workload, names, settings):
        return earlier["results"][0] | {"unit": next(measured)}

    monkeypatch.setattr(run, "measure", measure_once)
    with pytest.raises(StopIteration):
        run_benchmark([first, second], settings, strategies=["loop"], earlier=earlier, save=kept.append)
    (saved,) = kept
    assert [result["unit"] for result in saved["results"]] == ["new", "meta-steps"]
    assert saved["results"][1] == earlier["results"][1]


def test_a_peer_that_is_not_installed_is_named_with_the_reason(settings, monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    result = run_benchmark(
        [Workload("sine", meta_batch=2)], replace(settings, memory=False), strategies=["loop"], packages=["higher"]
    )
    assert result["missing"] == {"higher": "higher is not installed"}
    assert result["peers"] == {}
    assert "not measured: higher, as higher is not installed" in capsys.readouterr().err


def test_limits_hold_inside_and_are_lifted_after_an_error():
    def limits():
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
        return torch.get_num_threads(), cores

    def fail_within_limits():
        with run.limited_to(1):
            assert limits() == (1, 1)
            raise RuntimeError("in between")

    before = limits()
    with pytest.raises(RuntimeError, match="in between"):
        fail_within_limits()
    assert limits() == before


@pytest.mark.parametrize("option", ["--rounds", "--sine-meta-batch"])
def test_a_count_of_zero_is_found_before_the_work(option, capsys):
    with pytest.raises(SystemExit):
        main(["benchmark", "--workloads", "sine", option, "0"])
    assert f"argument {option}: 0 is not allowed; it must be at least 1" in capsys.readouterr().err


def test_a_file_that_cannot_be_written_is_found_before_the_work(capsys):
    assert main(["benchmark", "--workloads", "sine", "--out", "nowhere/b.json"]) == 2
    streams = capsys.readouterr()
    assert "nowhere/b.json" in streams.err
    assert "checking" not in streams.err
