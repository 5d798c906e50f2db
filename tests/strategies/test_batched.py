"""Many tasks at once: on few cores, and in chunks that fit into a GPU."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from metasgd import Task
from metasgd.strategies import batched
from metasgd.strategies.adjoint import meta_gradient as meta_gradient_of
from metasgd.strategies.snapshot import LearnerSnapshot, MetaGradient
from tests.strategies.helpers import (
    EXACT,
    batch_of,
    draw_tasks,
    make_learner,
    meta_gradient,
    mlp,
    relative_error,
    with_options,
)

pytestmark = pytest.mark.usefixtures("no_channel_is_small")


@pytest.mark.parametrize(("small", "expected"), [(10**9, 1), (0, 2)])
def test_little_work_is_done_on_one_core(
    small: int, expected: int, monkeypatch: pytest.MonkeyPatch, float64: None
) -> None:
    torch.set_num_threads(2)
    monkeypatch.setattr("metasgd._core.cpu_threads.MAX_WORK_FOR_ONE_CORE", small)
    cores = []

    def loss_fn(prediction: Tensor, target: Tensor) -> Tensor:
        cores.append(torch.get_num_threads())
        return F.cross_entropy(prediction, target)

    learner = make_learner(mlp, torch.device("cpu"), loss_fn, strategy="batched", chunk=2)
    tasks = batch_of(draw_tasks(torch.device("cpu")))
    expected_gradient = meta_gradient(with_options(learner, "loop"), tasks)
    cores.clear()
    assert relative_error(meta_gradient(learner, tasks), expected_gradient) < EXACT
    assert set(cores) == {expected}
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("chunk", [None, 8])
def test_chunks_are_halved_when_a_gpu_runs_out_of_memory(
    chunk: int | None, device: torch.device, float64: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = make_learner(mlp, device, strategy="batched", chunk=chunk)
    tasks = draw_tasks(device, sizes=[(4, 5)] * 8)
    expected = meta_gradient(with_options(learner, "loop"), tasks)
    sizes = []

    def small_gpu(snapshot: LearnerSnapshot, part: Task) -> MetaGradient:
        sizes.append(len(part.support_x))
        if sizes[-1] > 3:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return meta_gradient_of(snapshot, part)

    monkeypatch.setattr(batched, "meta_gradient", small_gpu)
    assert relative_error(meta_gradient(learner, tasks), expected) < EXACT
    assert sizes == [8, 4, 2, 2, 2, 2]
    meta_gradient(learner, tasks)
    assert sizes[6:] == [2, 2, 2, 2]  # remembered


@pytest.mark.parametrize("strategy", ["batched", "auto"])
def test_a_task_too_large_for_the_gpu_is_an_error(
    strategy: str, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tiny_gpu(snapshot: LearnerSnapshot, part: Task) -> None:
        raise torch.cuda.OutOfMemoryError("out of memory")

    monkeypatch.setattr(batched, "meta_gradient", tiny_gpu)
    learner = make_learner(mlp, device, strategy=strategy)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        learner.meta_backward(draw_tasks(device))
    assert all(value.grad is None for value in learner.parameters())
