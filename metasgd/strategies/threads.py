"""The strategy ``threads``: one task on each CPU core, the fastest way for convolutions on a CPU (chapter 9).

Images and filters are stored channels last. Batch normalisation has a second derivative of its own. For the query set,
where one derivative is enough, batch normalisation comes after the max-pooling that follows it in an
``nn.Sequential``. Large tasks do not get a core each: all cores work on one task after the other, which is a little
slower and needs half the memory. So they do if the model
draws random numbers, which each task then takes in its turn, or keeps tensors in its attributes.
Results are added in the order of the tasks, so that they do not depend on the number of threads.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from functools import partial
from queue import SimpleQueue
from typing import TypeVar

import torch
from torch import Tensor

from metasgd._core.copies import nothing_kept
from metasgd._core.learner import Learner
from metasgd._core.task import Task, Tasks, as_list
from metasgd._core.trees import Tree, map_tensors
from metasgd.strategies.adjoint import accumulate, meta_gradient, predictions
from metasgd.strategies.memory_budget import num_workers
from metasgd.strategies.preflight import check_tasks
from metasgd.strategies.snapshot import LearnerSnapshot, images_channels_last
from metasgd.strategies.thread_pool import map_in_threads

Result = TypeVar("Result")


def backward(learner: Learner, tasks: Tasks) -> Tensor:
    """Add the gradient of the mean query loss to ``.grad`` of theta and alpha, and return that loss."""
    tasks = as_list(tasks)
    snapshot = LearnerSnapshot.of(learner, is_batch=False, num_tasks=len(tasks))
    return accumulate(snapshot, map_over_tasks(meta_gradient, snapshot, tasks))


def predict(learner: Learner, tasks: Task) -> Iterator[Tree]:
    """Yield the predictions for the query set of each task, of shape (1, queries, ...)."""
    snapshot = LearnerSnapshot.of(learner, is_batch=False)
    for prediction in map_over_tasks(predictions, snapshot, as_list(tasks)):
        yield map_tensors(lambda values: values[None], prediction)


def map_over_tasks(
    function: Callable[[LearnerSnapshot, Task], Result], snapshot: LearnerSnapshot, tasks: list[Task]
) -> Iterator[Result]:
    """Yield ``function(snapshot, task)`` for each task, in order, computed by one thread on each core."""
    known = check_tasks(snapshot.learner, tasks)
    # A model that draws random numbers takes them from one generator, so that the tasks must take turns. So they must
    # if the model keeps tensors: it is then used itself.
    take_turns = known.draws or known.keeps
    with nothing_kept(snapshot.model) if known.keeps else nullcontext():
        snapshot = snapshot._replace(keeps=known.keeps).with_own_models()
        cores = 1 if take_turns else num_workers(snapshot, tasks[0], predicts=function is predictions)
        yield from map_over_checked_tasks(function, snapshot, tasks, min(cores, len(tasks)))


def map_over_checked_tasks(
    function: Callable[[LearnerSnapshot, Task], Result], snapshot: LearnerSnapshot, tasks: list[Task], workers: int
) -> Iterator[Result]:
    """Do what ``map_over_tasks`` does after its checks, by a number of threads."""
    # ``functional_call`` exchanges the parameters of a module while it runs, so that no two threads may share a
    # module.
    unused: SimpleQueue[LearnerSnapshot] = SimpleQueue()
    for own in (snapshot, *(snapshot.with_own_models() for _ in range(workers - 1))):
        unused.put(own)

    device, dtype = snapshot.theta[0].device, snapshot.autocast
    autocast = partial(torch.autocast, device.type, dtype, enabled=dtype is not None, cache_enabled=False)

    def compute(task: Task) -> Result:
        own = unused.get()
        try:
            with nullcontext() if dtype is None else autocast():  # each thread has a setting of its own
                return function(own, images_channels_last(with_own_versions(task)))
        finally:
            unused.put(own)

    yield from map_in_threads(compute, tasks, workers)


def with_own_versions(task: Task) -> Task:
    """Return a task whose tensors, in the same memory, count for themselves how often they are written into.

    The tasks of a batch share one count. If the model wrote into the input of one task, autograd would refuse to go
    back through what it has saved for another.
    """
    return Task(*(map_tensors(lambda values: values.data, tree) for tree in task))
