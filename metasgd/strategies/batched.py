"""The strategy ``batched``: many tasks at once by ``torch.func.vmap`` (chapter 9).

It is the fastest way on a GPU, and everywhere for small dense networks. Tasks of different sizes are sorted into
batches of one size, and batches are cut into chunks that fit into memory.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import TypeVar

import torch
from torch import Tensor

from metasgd._core.copies import nothing_kept
from metasgd._core.cpu_threads import one_core_if_small
from metasgd._core.learner import Learner
from metasgd._core.task import Task, Tasks, as_batches, part_of
from metasgd._core.trees import Tree, size_of
from metasgd.strategies.adjoint import accumulate, meta_gradient, predictions
from metasgd.strategies.memory_budget import chunk_size, memory_key
from metasgd.strategies.preflight import check_tasks
from metasgd.strategies.snapshot import LearnerSnapshot

Result = TypeVar("Result")


def backward(learner: Learner, tasks: Tasks) -> Tensor:
    """Add the gradient of the mean query loss to ``.grad`` of theta and alpha, and return that loss."""
    batches = as_batches(tasks)
    num_tasks = sum(size_of(batch.support_x) for batch in batches)
    snapshot = LearnerSnapshot.of(learner, is_batch=True, num_tasks=num_tasks)
    num_parameters = sum(value.numel() for value in snapshot.theta)
    with one_core_if_small(snapshot.theta[0].device, num_parameters * num_tasks):
        return accumulate(snapshot, map_over_chunks(meta_gradient, snapshot, batches))


def predict(learner: Learner, tasks: Task) -> Iterator[Tree]:
    """Yield the predictions for the query sets of each chunk of tasks, of shape (tasks, queries, ...)."""
    return map_over_chunks(predictions, LearnerSnapshot.of(learner, is_batch=True), as_batches(tasks))


def map_over_chunks(
    function: Callable[[LearnerSnapshot, Task], Result], snapshot: LearnerSnapshot, batches: list[Task]
) -> Iterator[Result]:
    """Yield ``function(snapshot, chunk)`` for the chunks of all batches, in order.

    If a GPU runs out of memory, the size of the chunks is halved, from then on and in later meta-updates.

    Raises:
        torch.cuda.OutOfMemoryError: there is too little memory for a single task.
    """
    model, predicts = snapshot.model, function is predictions
    keeps = check_tasks(snapshot.learner, batches, is_batch=True, by_vmap=True).keeps
    snapshot = snapshot._replace(keeps=keeps)
    for batch in batches:
        num_tasks, start = size_of(batch.support_x), 0
        while start < num_tasks:
            with nothing_kept(model) if keeps else nullcontext():
                size = chunk_size(snapshot, batch, predicts=predicts)
            try:
                with nothing_kept(model) if keeps else nullcontext():
                    result = function(snapshot, batch if size >= num_tasks else part_of(batch, start, start + size))
            except torch.cuda.OutOfMemoryError:
                if size == 1:
                    raise
                snapshot.learner.execution.tasks_at_a_time[memory_key(snapshot, batch, predicts=predicts)] = size // 2
            else:
                yield result
                start += size
