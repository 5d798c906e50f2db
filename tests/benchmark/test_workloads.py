"""Workloads: what they are called, how they are sorted, and that the seed decides their tasks."""

from dataclasses import replace

import pytest
import torch

from metasgd.benchmark import Settings, Workload
from metasgd.benchmark.line_up import make_start
from metasgd.benchmark.workloads import META_BATCHES, make_tasks
from tests.benchmark.small import CONVNET, SINE


@pytest.mark.parametrize("workload", [CONVNET, SINE])
def test_the_seed_decides_tasks_and_start(workload, settings):
    def everything(seed):
        other = Settings(settings.device, seed=seed)
        start = make_start(workload, other, torch.float32, relu_first=False)
        tensors = [x for batch in make_tasks(workload, other, torch.float32) for x in batch]
        return torch.cat([x.flatten() for x in [*tensors, *start.network.parameters(), *start.rates.values()]])

    assert torch.equal(everything(0), everything(0))
    assert not torch.equal(everything(0), everything(1))


def test_tasks_have_the_sizes_of_the_workload(settings):
    """Five classes: 5 x shots and 5 x queries images a task; labels stay integers in float64."""
    batches = make_tasks(replace(CONVNET, meta_batch=3, shots=2, queries=4), settings, torch.float64)
    assert len(batches) == META_BATCHES
    for batch in batches:
        assert [tuple(x.shape) for x in batch] == [(3, 10, 1, 28, 28), (3, 10), (3, 20, 1, 28, 28), (3, 20)]
        assert [x.dtype for x in batch] == [torch.float64, torch.int64] * 2
    first, second = batches
    assert not torch.equal(first.support_x, second.support_x)


def test_sine_tasks_have_points_in_place_of_images(settings):
    for batch in make_tasks(replace(SINE, shots=4, queries=7), settings, torch.float64):
        assert [tuple(x.shape) for x in batch] == [(3, 4, 1), (3, 4, 1), (3, 7, 1), (3, 7, 1)]
        assert {x.dtype for x in batch} == {torch.float64}


def test_results_are_sorted_by_kind_width_shots_and_meta_batch():
    workloads = [
        Workload("convnet", 4, 1, 15, 32),
        Workload("convnet", 16, 1, 15, 32),
        Workload("convnet", 4, 5, 15, 32),
        Workload("convnet", 4, 1, 15, 64),
        Workload("sine", 4),
    ]
    assert sorted(reversed(workloads), key=lambda workload: workload.sort_key) == workloads


def test_a_workload_says_what_it_is():
    assert str(SINE) == "sine waves, 1-40-40-1, meta-batch 3"
    assert (SINE.unit, CONVNET.unit) == ("meta-steps", "tasks")


@pytest.mark.parametrize("name", ["meta_batch", "shots", "queries", "width"])
def test_a_workload_of_nothing_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} is 0; it must be at least 1"):
        replace(SINE, **{name: 0})


def test_settings_without_rounds_are_refused(settings):
    with pytest.raises(ValueError, match="rounds is 0; it must be at least 1"):
        replace(settings, rounds=0)
