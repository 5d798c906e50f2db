"""How many tasks are computed at a time, by what is asked for and by the memory there is."""

import weakref
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from metasgd import MetaSGD, Task
from metasgd.strategies import batched, memory_budget
from metasgd.strategies.adjoint import meta_gradient as meta_gradient_of
from metasgd.strategies.snapshot import LearnerSnapshot, MetaGradient
from tests.strategies.helpers import FAST, draw_tasks, dropout_net, make_learner, mlp

pytestmark = pytest.mark.usefixtures("no_channel_is_small")


def chunk_sizes(learner: MetaSGD, tasks: Task | list[Task], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of tasks that are computed at a time."""
    sizes = []

    def counting(snapshot: LearnerSnapshot, chunk: Task) -> MetaGradient:
        sizes.append(len(chunk.support_x))
        return meta_gradient_of(snapshot, chunk)

    with monkeypatch.context() as patch:
        patch.setattr(batched, "meta_gradient", counting)
        learner.meta_backward(tasks)
    return sizes


@pytest.mark.parametrize(
    ("chunk", "sizes"), [(1, [1] * 10), (3, [3, 3, 3, 1]), (4, [4, 4, 2]), (7, [5, 5]), (10, [10]), (99, [10])]
)
def test_chunks_are_at_most_as_large_as_asked_and_nearly_equal(
    chunk: int, sizes: list[int], device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = make_learner(mlp, device, strategy="batched", chunk=chunk)
    assert chunk_sizes(learner, draw_tasks(device, sizes=[(4, 5)] * 10), monkeypatch) == sizes


def test_chunks_grow_with_the_memory_and_shrink_with_the_task(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_chunk(budget: int, shots: int, **options: Any) -> int:
        monkeypatch.setattr(memory_budget, "CPU_CHUNK_BYTES", budget)
        monkeypatch.setattr(memory_budget, "GPU_CHUNK_SHARE", 1.0)
        monkeypatch.setattr(memory_budget, "free_memory", lambda device: budget)
        learner = make_learner(mlp, device, strategy="batched", **options)
        return chunk_sizes(learner, draw_tasks(device, sizes=[(shots, 5)] * 32), monkeypatch)[0]

    snapshot = LearnerSnapshot.of(make_learner(mlp, device), is_batch=True)
    task = memory_budget.VMAP_OVERHEAD * memory_budget.saved_bytes(snapshot, draw_tasks(device)[0])
    # The estimate depends a little on which memory autograd happens to use again, so that no size is exact.
    assert first_chunk(0, shots=4) == 1
    assert 2 <= first_chunk(4 * task, shots=4) <= 6
    assert 10 <= first_chunk(16 * task, shots=4) < 32
    assert first_chunk(16 * task, shots=40) < 10
    assert first_chunk(16 * task, shots=4, inner_steps=3) < 10
    assert first_chunk(2**40, shots=4) == 32


@FAST
def test_memory_does_not_grow_with_the_meta_batch(strategy: str, device: torch.device) -> None:
    """Nothing is left of a task, or chunk, but its sums, when the next one begins."""
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
    most = 0

    def loss(prediction: Tensor, target: Tensor) -> Tensor:
        nonlocal most
        alive.add(prediction)
        most = max(most, len(alive))
        return F.cross_entropy(prediction, target)

    torch.set_num_threads(1)
    learner = make_learner(mlp, device, loss, strategy=strategy, chunk=1)
    learner.meta_backward(draw_tasks(device, sizes=[(4, 5)] * 40))
    assert most < 10


@pytest.mark.parametrize(
    ("chunk", "task_bytes", "expected"), [(None, 2**40, 2), (None, 0, 1), (1, 2**40, 1), (2, 0, 2), (99, 0, 2)]
)
def test_tasks_get_a_core_each_unless_they_are_large(
    chunk: int | None, task_bytes: int, expected: int, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit of 2**40 bytes makes any task small, and one of 0 bytes makes it large; ``chunk`` looks at no limit."""
    monkeypatch.setattr(memory_budget, "CORE_TASK_BYTES", task_bytes)
    torch.set_num_threads(2)
    snapshot = LearnerSnapshot.of(make_learner(mlp, device, strategy="threads", chunk=chunk), is_batch=False)
    assert memory_budget.num_workers(snapshot, draw_tasks(device)[0]) == expected


@FAST
def test_a_prediction_is_sized_by_what_it_keeps(
    strategy: str, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Less than a meta-gradient does, however many inner steps there are, and nothing of it is computed for that."""
    sizes = {}
    for inner_steps in (1, 5):
        learner = make_learner(mlp, device, strategy=strategy, inner_steps=inner_steps)
        snapshot = LearnerSnapshot.of(learner, is_batch=strategy == "batched")
        (task,) = draw_tasks(device, sizes=[(50, 4)])
        sizes[inner_steps] = [
            memory_budget.saved_bytes(snapshot, task, predicts=predicts) for predicts in (True, False)
        ]
    assert sizes[1][0] == sizes[5][0]
    assert 1.5 * sizes[1][0] < sizes[1][1] < sizes[5][1]
    no_meta_gradient = pytest.fail
    monkeypatch.setattr(memory_budget, "uncompiled_meta_gradient", lambda *_: no_meta_gradient("was computed"))
    torch.set_num_threads(2)
    assert learner.predict_tasks([task] * 3).shape == (3, 4, 2)


def test_the_largest_query_set_counts_where_it_is_larger_than_the_support_set(device: torch.device) -> None:
    snapshot = LearnerSnapshot.of(make_learner(mlp, device), is_batch=True)
    few, many = draw_tasks(device, sizes=[(4, 4), (4, 4000)])
    assert memory_budget.saved_bytes(snapshot, many, predicts=True) > 2 * 4000 * 4 * 3
    assert memory_budget.saved_bytes(snapshot, few, predicts=True) < 4000


@FAST
def test_measuring_memory_draws_no_random_numbers(strategy: str, device: torch.device) -> None:
    snapshot = LearnerSnapshot.of(make_learner(dropout_net, device), is_batch=strategy == "batched")
    before = torch.get_rng_state()
    for predicts in (True, False):
        memory_budget.saved_bytes(snapshot, draw_tasks(device)[0], predicts=predicts)
    assert torch.equal(torch.get_rng_state(), before)
