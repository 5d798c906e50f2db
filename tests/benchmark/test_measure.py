"""Measuring a workload: the memory of the compiler, and contenders that fail."""

from dataclasses import replace

import pytest
import torch

from metasgd.benchmark import line_up, measure
from metasgd.benchmark.peers import PEERS, REFERENCE, Peer
from metasgd.benchmark.report import format_table
from tests.benchmark.small import SINE


def test_a_tiny_compiled_step_tells_the_memory_of_the_compiler(settings, monkeypatch):
    """Both numbers by the same function, the second of the smallest workload; what does not compile has one."""
    monkeypatch.setattr(measure, "peak_memory", lambda _, name, workload, settings, device: float(workload.width))
    monkeypatch.setattr(measure, "make_step", lambda *_: lambda: None)
    result = measure.measure(SINE, ["batched", "batched, compiled"], replace(settings, memory=True))
    memory = {name: (row["peak_memory_mb"], row.get("compiler_mb")) for name, row in result["contenders"].items()}
    assert memory == {"batched": (SINE.width, None), "batched, compiled": (SINE.width, 2)}
    assert "compiler: 2 MB" in format_table(result, {name: {"wrong": False} for name in memory})


def test_a_peer_that_fails_while_it_is_measured_is_left_out_with_the_reason(settings, monkeypatch):
    def without_memory(start):
        raise MemoryError("out of memory")

    monkeypatch.setitem(PEERS, "large", Peer(None, without_memory))
    result = measure.measure(SINE, ["loop", "large", REFERENCE], replace(settings, memory=False))
    assert list(result["contenders"]) == ["loop", REFERENCE]
    assert result["failed"] == {"large": "MemoryError: out of memory"}
    assert result["contenders"]["loop"]["peak_memory_mb"] is None


def test_a_strategy_that_fails_while_it_is_measured_ends_the_benchmark(settings, monkeypatch):
    def without_memory(start, strategy, **options):
        raise MemoryError("out of memory")

    monkeypatch.setattr(line_up, "metasgd_contender", without_memory)
    with pytest.raises(MemoryError, match="out of memory"):
        measure.measure(SINE, ["loop"], settings)


def test_memory_that_cannot_be_measured_is_none_and_the_reason_is_printed(settings, monkeypatch, capsys):
    def fail(*arguments, device):
        raise OSError("the process was killed")

    monkeypatch.setattr(measure, "peak_memory", fail)
    assert measure.contender_memory("loop", SINE, settings) is None
    assert "it is unknown: OSError: the process was killed" in capsys.readouterr().err


def test_the_gpu_memory_of_jax_is_not_known(settings, capsys):
    on_gpu = replace(settings, device=torch.device("cuda"))
    assert measure.contender_memory("jax (vmap)", SINE, on_gpu) is None
    assert "JAX does not allocate GPU memory through PyTorch" in capsys.readouterr().err


def test_a_spread_by_hand():
    assert measure.spread([3.0, 1.0, 2.0]) == {"median": 2.0, "min": 1.0, "max": 3.0}
    assert measure.spread([]) is None
