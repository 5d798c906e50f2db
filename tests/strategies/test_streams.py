"""One task in each stream of a GPU."""

import pytest
import torch

from metasgd._core.task import Task
from metasgd.strategies import execution, strategies_on, streams
from metasgd.strategies.cuda_graphs import map_over_streams, record_cuda_graph
from metasgd.strategies.snapshot import LearnerSnapshot, MetaGradient
from metasgd.strategies.streams import meta_gradient_by_streams
from tests.pretended_gpu import PretendedGPU, pretended_gpu
from tests.strategies.helpers import (
    EXACT,
    draw_tasks,
    make_learner,
    meta_gradient,
    mlp,
    relative_error,
    small_convnet,
    with_options,
)

__all__ = ["pretended_gpu"]

CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("no_channel_is_small")


def test_streams_need_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    learner = make_learner(mlp, torch.device("cpu"), strategy="streams")
    with pytest.raises(ValueError, match="'streams' needs an NVIDIA GPU, and the model is on cpu; use 'auto'"):
        learner.meta_update(draw_tasks(torch.device("cpu")))
    assert "streams" not in strategies_on(torch.device("cpu"))
    assert "streams" in strategies_on(torch.device("cuda"))


def on_a_pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Record, where the other tests of this folder call what they would record."""
    monkeypatch.setattr(streams, "DEVICE_TYPE", "cpu")
    monkeypatch.setattr(execution, "record_cuda_graph", record_cuda_graph)
    monkeypatch.setattr(streams, "map_over_streams", map_over_streams)


@pytest.mark.parametrize(("build", "shape"), [(mlp, (3,)), (small_convnet, (1, 6, 6))])
def test_a_recording_by_streams_is_the_loop(
    build: object, shape: tuple[int, ...], float64: None, pretended_gpu: PretendedGPU, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also for other tasks and after a meta-update, with the recording of the first time."""
    on_a_pretended_gpu(monkeypatch)
    learner = make_learner(build, CPU, strategy="streams")
    for seed in (0, 1):
        tasks = draw_tasks(CPU, sizes=[(4, 5)] * 3, shape=shape, seed=seed)
        expected = meta_gradient(with_options(learner, "loop"), tasks)
        assert relative_error(meta_gradient(learner, tasks), expected) < EXACT
        learner.meta_update(tasks)
    assert len(pretended_gpu.names("record")) == 1
    assert len(pretended_gpu.names("replay")) == 4


@pytest.mark.parametrize("chunk", [None, 8])
@pytest.mark.parametrize("in_recording", [False, True])
def test_chunks_are_halved_and_recorded_anew_when_a_gpu_runs_out_of_memory(
    chunk: int | None,
    in_recording: bool,
    float64: None,
    pretended_gpu: PretendedGPU,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Memory may end before a recording or within it, where PyTorch raises another error on the way out."""
    on_a_pretended_gpu(monkeypatch)
    learner = make_learner(mlp, CPU, strategy="streams", chunk=chunk)
    tasks = draw_tasks(CPU, sizes=[(4, 5)] * 8)
    expected = meta_gradient(with_options(learner, "loop"), tasks)
    sizes: list[int] = []

    def small_gpu(snapshot: LearnerSnapshot, part: Task) -> MetaGradient:
        sizes.append(len(part.support_x))
        if sizes[-1] > 3 and (not in_recording or len(sizes) % 2 == 0):
            try:
                raise torch.cuda.OutOfMemoryError("out of memory")
            finally:
                if in_recording:
                    raise RuntimeError("capture was invalidated")  # as the end of a recording does
        return meta_gradient_by_streams(snapshot, part)

    monkeypatch.setattr(streams, "meta_gradient_by_streams", small_gpu)
    assert relative_error(meta_gradient(learner, tasks), expected) < EXACT
    calls = 2 if in_recording else 1  # once before the recording and once in it
    assert sizes == [8] * calls + [4] * calls + [2, 2]
    replays = len(pretended_gpu.names("replay"))
    meta_gradient(learner, tasks)
    assert sizes[-2:] == [2, 2]
    assert len(sizes) == 2 * calls + 2  # nothing is recorded again
    assert len(pretended_gpu.names("replay")) == replays + 4


def test_a_task_too_large_for_the_gpu_is_an_error(
    pretended_gpu: PretendedGPU, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_a_pretended_gpu(monkeypatch)

    def tiny_gpu(snapshot: LearnerSnapshot, part: Task) -> MetaGradient:
        raise torch.cuda.OutOfMemoryError("out of memory")

    monkeypatch.setattr(streams, "meta_gradient_by_streams", tiny_gpu)
    learner = make_learner(mlp, CPU, strategy="streams")
    with pytest.raises(torch.cuda.OutOfMemoryError):
        learner.meta_backward(draw_tasks(CPU))
    assert all(value.grad is None for value in learner.parameters())
