"""How many tasks are computed at a time, so that what autograd saves for them fits into memory (chapter 10)."""

from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from metasgd._core.copies import copy_sharing_tensors
from metasgd._core.memory import give_freed_memory_back
from metasgd._core.task import Task, form_of_task, task_at
from metasgd._core.trees import map_tensors, size_of
from metasgd.strategies.adjoint import gradients, leaves, uncompiled_meta_gradient
from metasgd.strategies.snapshot import LearnerSnapshot, channels_last

CPU_CHUNK_BYTES = 512 * 2**20  # that autograd may save for a chunk on a CPU
GPU_CHUNK_SHARE = 0.7  # of the free memory of a GPU, that autograd may save for a chunk
VMAP_OVERHEAD = 3  # under vmap, autograd saves up to three times the bytes that it saves for the tasks one by one
CORE_TASK_BYTES = 48 * 2**20  # that autograd may save for a task if each core is to work on a task of its own


def num_workers(snapshot: LearnerSnapshot, task: Task, *, predicts: bool = False) -> int:
    """Return how many tasks are computed side by side, each on a core: ``chunk`` of them, at most one for each core.

    Without ``chunk``, there is one for each core, but only one for all cores if tasks are large.

    Args:
        snapshot: of the learner.
        task: one task.
        predicts: whether the query set is only predicted, which keeps much less than a meta-gradient.
    """
    execution, cores = snapshot.learner.execution, torch.get_num_threads()
    if execution.chunk is not None or cores == 1:
        return min(execution.chunk or 1, cores)
    key = (cores, *memory_key(snapshot, task, predicts=predicts))
    if key not in execution.tasks_at_a_time:
        is_small = saved_bytes(snapshot, task, predicts=predicts) <= CORE_TASK_BYTES
        execution.tasks_at_a_time[key] = cores if is_small else 1
        give_freed_memory_back()  # each thread allocates from a pool of its own, which cannot use what this one keeps
    return execution.tasks_at_a_time[key]


def chunk_size(snapshot: LearnerSnapshot, batch: Task, *, predicts: bool = False) -> int:
    """Return how many tasks of a batch are computed at once: at most ``chunk``, or as many as fit into memory."""
    execution, num_tasks = snapshot.learner.execution, size_of(batch.support_x)
    key = memory_key(snapshot, batch, predicts=predicts)
    if key not in execution.tasks_at_a_time:
        limit = execution.chunk
        if limit is None:
            device = snapshot.theta[0].device
            budget = GPU_CHUNK_SHARE * free_memory(device) if device.type == "cuda" else CPU_CHUNK_BYTES
            limit = max(1, int(budget / (VMAP_OVERHEAD * saved_bytes(snapshot, task_at(batch, 0), predicts=predicts))))
        num_chunks = -(-num_tasks // limit)
        execution.tasks_at_a_time[key] = -(-num_tasks // num_chunks)  # so that all chunks have nearly the same size
    return execution.tasks_at_a_time[key]


def memory_key(snapshot: LearnerSnapshot, batch: Task, *, predicts: bool = False) -> tuple[Hashable, ...]:
    """Return everything that the memory for a batch depends on and that may change while a learner is used."""
    learner, execution, form = snapshot.learner, snapshot.learner.execution, form_of_task(batch)
    of_learner = learner.inner_steps, learner.first_order, learner.query_statistics
    return form, *of_learner, execution.chunk, execution.recompute, predicts


def saved_bytes(snapshot: LearnerSnapshot, task: Task, *, predicts: bool = False) -> int:
    """Return the bytes that autograd saves for the meta-gradient of one task, found by computing it once.

    To predict, nothing is kept but the graph of one inner step, on the support set, or, on the query set, what goes
    into a layer and what comes out of it.
    """
    # Copies, since the storage of a view is that of the whole batch.
    task = Task(*(map_tensors(lambda values: channels_last(values).clone(), tree) for tree in task))
    if snapshot.is_batch:  # the model may note something at each call; by threads, each has copies already
        own = snapshot.model if snapshot.keeps else copy_sharing_tensors(snapshot.model)
        snapshot = snapshot._replace(model=own, query_model=own, is_batch=False)
    device = snapshot.theta[0].device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        if not predicts:
            return max(1, sum(sizes_of_saved(lambda: uncompiled_meta_gradient(snapshot, task))))
        params, query = leaves(snapshot.theta), snapshot._replace(model=snapshot.query_model)
        support = sizes_of_saved(lambda: gradients(snapshot, params, task[:2], differentiable=False))
        with torch.enable_grad():
            layers = sizes_of_saved(lambda: query.query_output(params, task.support_x, task.query_x))
    return max(1, sum(support), 2 * max(layers, default=0))


def sizes_of_saved(compute: Callable[[], Any]) -> list[int]:
    """Return the bytes of each storage that autograd saves while something is computed."""
    sizes: dict[int, int] = {}

    def note_size(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note_size, lambda tensor: tensor):
        compute()
    return list(sizes.values())


def free_memory(device: torch.device) -> int:
    """Return the free bytes of a GPU, including those that PyTorch holds in reserve."""
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused
