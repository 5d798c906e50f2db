"""The strategy ``streams``: one task in each of several streams of an NVIDIA GPU (chapter 10).

Each task is computed as by ``threads``, with ordinary convolutions, while the streams together keep the GPU busy. The
work on a meta-batch is recorded as a CUDA graph at its first use, once for each size of tasks, and replayed
afterwards. If the GPU runs out of memory, fewer tasks are recorded together.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from metasgd._core.learner import Learner
from metasgd._core.task import Task, Tasks, as_batches, as_list, part_of
from metasgd._core.trees import size_of
from metasgd.strategies.adjoint import accumulate, meta_gradient, summed
from metasgd.strategies.cuda_graphs import map_over_streams
from metasgd.strategies.memory_budget import memory_key
from metasgd.strategies.preflight import check_tasks
from metasgd.strategies.snapshot import LearnerSnapshot, MetaGradient, images_channels_last

DEVICE_TYPE = "cuda"
TASKS_PER_GRAPH = 32


def backward(learner: Learner, tasks: Tasks) -> Tensor:
    """Add the gradient of the mean query loss to ``.grad`` of theta and alpha, and return that loss.

    Raises:
        ValueError: the model is not on an NVIDIA GPU.
    """
    batches = as_batches(tasks)
    num_tasks = sum(size_of(batch.support_x) for batch in batches)
    snapshot = LearnerSnapshot.of(learner, is_batch=False, num_tasks=num_tasks)
    check_tasks(learner, batches, is_batch=True)
    if (device := snapshot.theta[0].device).type != DEVICE_TYPE:
        raise ValueError(f"strategy 'streams' needs an NVIDIA GPU, and the model is on {device}; use 'auto'")
    if learner.execution.compile:
        snapshot = snapshot.with_own_models()
    return accumulate(snapshot, recorded_meta_gradients(snapshot, batches))


def recorded_meta_gradients(snapshot: LearnerSnapshot, batches: list[Task]) -> Iterator[MetaGradient]:
    """Yield the sum of the meta-gradients of each chunk of tasks, in order.

    A graph holds its memory as long as it is kept. So if a GPU runs out of memory, all graphs are given up, and chunks
    of half the size are recorded, from then on and in later meta-updates.

    Raises:
        torch.cuda.OutOfMemoryError: there is too little memory for a single task.
    """
    execution = snapshot.learner.execution
    for batch in batches:
        num_tasks, start, key = size_of(batch.support_x), 0, ("recorded", *memory_key(snapshot, batch))
        while start < num_tasks:
            size = min(execution.tasks_at_a_time.get(key, execution.chunk or TASKS_PER_GRAPH), num_tasks)
            try:
                result = recorded_meta_gradient(snapshot, part_of(batch, start, start + size))
            except torch.cuda.OutOfMemoryError:
                if size == 1:
                    raise
                execution.tasks_at_a_time[key] = size // 2
                execution.recordings.clear()
            else:
                yield result
                start += size


def recorded_meta_gradient(snapshot: LearnerSnapshot, batch: Task) -> MetaGradient:
    """Return the sum of the meta-gradients of a batch of tasks, by a CUDA graph that is recorded at the first call."""
    if snapshot.held is None:
        return meta_gradient_by_streams(snapshot, batch)
    inputs = snapshot.tensors(batch)
    key = (*snapshot.cache_key(batch), snapshot.learner.execution.compile)
    function = snapshot.as_function_of_tensors(meta_gradient_by_streams, batch)
    replay = snapshot.learner.execution.recordings.get_or_make(key, function, inputs)
    assert replay is not None  # recording a graph succeeds or raises an error
    return snapshot.as_meta_gradient(replay(*inputs))


def meta_gradient_by_streams(snapshot: LearnerSnapshot, batch: Task) -> MetaGradient:
    """Return the sum of the meta-gradients of a batch of tasks, with one task in each stream."""
    tasks = [images_channels_last(task) for task in as_list(batch)]
    return snapshot.as_meta_gradient(summed(map_over_streams(lambda task: meta_gradient(snapshot, task), tasks)))
