"""Checks before any work: malformed tasks and unsuitable models are refused with an error that says why."""

from collections.abc import Hashable
from typing import NamedTuple

import torch
from torch import Tensor

from metasgd._core.checks import check_labels, check_task, num_outputs
from metasgd._core.copies import attributes_of, copy_of_module, keeps_tensors
from metasgd._core.learner import Learner
from metasgd._core.task import Task, Tasks, form_of_task, read_tasks, task_at
from metasgd._core.trees import Tree, form_of, map_tensors, tensors_of
from metasgd.strategies.companions import check_companions
from metasgd.strategies.probe import no_random_numbers_of_python, probe


class Known(NamedTuple):
    """What is found out about a model by calling it for tasks of one form.

    Attributes:
        outputs: how many it has for each example (0 for a single number).
        draws: whether it draws random numbers.
        keeps: whether it keeps tensors of a call as attributes.
    """

    outputs: int
    draws: bool
    keeps: bool


def check_tasks(learner: Learner, tasks: list[Task], *, is_batch: bool = False, by_vmap: bool = False) -> Known:
    """Refuse malformed tasks, and labels for which the model has no output.

    The form of tasks (shapes, dtypes, devices) is checked once, their labels are checked every time.

    Args:
        learner: whose model and loss are meant.
        tasks: tasks, or, with ``is_batch``, batches of tasks.
        is_batch: whether each of them has a leading dimension of tasks.
        by_vmap: whether ``vmap`` will call the model.

    Returns:
        what is known of the model, for tasks of all these forms.

    Raises:
        ValueError: as ``check_task``, ``check_labels`` and ``call_once`` say.
        RuntimeError: as ``call_once`` and ``metasgd.strategies.probe.probe`` say.
    """
    check_hooks(learner)
    known: dict[Hashable, Known] = learner.execution.known
    draws = keeps = False
    for task in tasks:
        key = (is_batch, by_vmap, learner.model.training, learner.query_statistics, form_of_task(task))
        is_new, first = key not in known, task
        if is_new:
            first = task_at(task, 0) if is_batch else task
            check_task(first, one_loss=learner.query_loss_fn is None)
        found = call_once(learner, first.support_x) if is_new else known[key]
        query_loss_fn = learner.loss_fn if learner.query_loss_fn is None else learner.query_loss_fn
        for loss_fn, target in ((learner.loss_fn, task.support_y), (query_loss_fn, task.query_y)):
            check_labels(loss_fn, found.outputs, target)
        if is_new:
            probe(learner, first, by_vmap=by_vmap, keeps=found.keeps)
            check_companions(learner, first.support_x, first.query_x)
        known[key] = found
        draws, keeps = draws or found.draws, keeps or found.keeps
    return Known(0, draws, keeps)


def check_reading(learner: Learner, tasks: Tasks) -> None:
    """Refuse one task that was passed bare, and would be taken for a batch of tasks, each of a few numbers.

    The task of 5 examples with 3 features and 3 targets each could be a batch of 5 tasks of 3 examples, which are
    single numbers. It is not if the model takes no 6 examples that are single numbers, but 5 with 3 features.
    Such a task has the same shapes in support and query set. Where the model takes both, they are taken for a batch.

    Raises:
        ValueError: there is one.
    """
    tasks = read_tasks(tasks)
    if not isinstance(tasks, Task):
        return
    x, y, query_x, _ = tasks
    if isinstance(x, Tensor) and isinstance(query_x, Tensor) and x.shape != query_x.shape:
        return
    key = "reading", *(tree.shape if isinstance(tree, Tensor) else form_of(tree) for tree in (x, y))
    if key in learner.execution.known:
        return
    if may_be_one_task(tasks):
        twice = map_tensors(lambda values: torch.cat([values[0], values[0]]), x)
        if not can_take(learner, twice) and can_take(learner, x):
            shape = tuple(tensors_of(x)[0].shape)
            raise ValueError(
                f"support_x has shape {shape}, which is a batch of {shape[0]} tasks with {shape[1]} examples each, "
                f"but the model takes it for {shape[0]} examples of one task; pass one task as [task]"
            )
    learner.execution.known[key] = Known(0, draws=False, keeps=False)


def may_be_one_task(batch: Task) -> bool:
    """Tell whether a batch could be one task by its shapes, which are then the same in its support and query set."""
    x, y, query_x, query_y = batch
    support, query = tensors_of((x, y)), tensors_of((query_x, query_y))
    return (
        bool(tensors_of(x) and tensors_of(y))
        and [values.shape for values in support] == [values.shape for values in query]
        and all(values.ndim > 1 and len(values) == len(support[0]) > 0 for values in support)
    )


def can_take(learner: Learner, x: Tree) -> bool:
    """Tell whether a copy of the model takes inputs, and returns something for each of them."""
    model, count = copy_of_module(learner.model), len(tensors_of(x)[0])
    device = next(model.parameters()).device
    with torch.no_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            output = model(map_tensors(Tensor.clone, x))
        except Exception:  # whatever a model says to inputs of a wrong shape
            return False
    return not isinstance(output, Tensor) or (output.ndim > 0 and len(output) == count)


def check_hooks(learner: Learner) -> None:
    """Refuse hooks on theta or alpha, which autograd calls only where it computes their gradients itself: in the loop.

    Raises:
        RuntimeError: there is a hook.
    """
    for group in learner.meta_optimizer.param_groups:
        for variable in group["params"]:
            if variable._backward_hooks or variable._post_accumulate_grad_hooks:
                named = (*learner.theta.items(), *learner.alpha.items())
                name = next((name for name, value in named if value is variable), "")
                raise RuntimeError(f"parameter '{name}' has a hook, which is called by strategy='loop' alone")


def call_once(learner: Learner, x: Tree) -> Known:
    """Return what can be seen of the model by calling a copy of it.

    Raises:
        RuntimeError: the model changes its buffers at every call, so that tasks must be computed one after the other.
        ValueError: the model draws random numbers, and the learner is set to compute the same thing twice.
    """
    model, device = copy_of_module(learner.model), tensors_of(x)[0].device
    gpus = [device] if device.type == "cuda" else []
    versions = [buffer._version for buffer in model.buffers()]
    with torch.no_grad(), torch.random.fork_rng(gpus), no_random_numbers_of_python(model, ()):
        before = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, gpus)]
        given = map_tensors(Tensor.clone, x)  # the model may write into it
        attributes = attributes_of(model)
        tensors_given = tensors_of(given)  # which it may take out of a dict
        versions_given = [values._version for values in tensors_given]
        prediction = model(given)
        after = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, gpus)]
    for (name, buffer), version in zip(model.named_buffers(), versions, strict=False):
        if buffer._version != version:
            raise RuntimeError(f"the model changes its buffer '{name}' with every call; use strategy='loop'")
    draws = not all(map(torch.equal, before, after))
    if learner.execution.recompute and draws:
        raise ValueError("the model draws random numbers, which differ the second time; use recompute=False")
    if learner.execution.recompute and [values._version for values in tensors_given] != versions_given:
        raise ValueError("the model writes into its input, which differs the second time; use recompute=False")
    return Known(num_outputs(prediction), draws, keeps_tensors(attributes))
