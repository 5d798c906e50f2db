"""The strategy ``streams``: one task in each of several streams of an NVIDIA GPU (chapter 10).

Each task is computed as by ``threads``, with ordinary convolutions, while the streams together keep the GPU busy. The
work on a meta-batch is recorded as a CUDA graph at its first use, once for each size of tasks, and replayed
afterwards.
"""

from torch import Tensor

from metasgd._core.learner import Learner
from metasgd._core.task import Task, Tasks, as_batches, as_list, part_of
from metasgd._core.trees import size_of
from metasgd.strategies.adjoint import accumulate, meta_gradient, summed
from metasgd.strategies.cuda_graphs import map_over_streams
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
    size = learner.execution.chunk or TASKS_PER_GRAPH
    chunks = (part_of(batch, i, i + size) for batch in batches for i in range(0, size_of(batch.support_x), size))
    return accumulate(snapshot, (recorded_meta_gradient(snapshot, chunk) for chunk in chunks))


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
