"""A task, and ways to turn tasks of any form into a list or into batches."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metasgd._core.trees import Tree, check_tree, form_of, join, map_tensors, size_of, split, tensors_of


class Task(NamedTuple):
    """A support set to adapt on and a query set to judge the adaptation by (chapter 3).

    One task holds inputs of shape ``(examples, ...)`` and targets of shape ``(examples, ...)``. A batch of B
    tasks is the same tuple with a leading dimension B on all four tensors. It unpacks in the order
    ``x_train, y_train, x_val, y_val``.

    So one task is passed as ``[task]``, as a bare ``Task`` is taken for a batch.

    In the place of each tensor there may be a tree of tensors: a dict, list, tuple or named tuple of tensors or of
    other trees, each tensor of which has these leading dimensions. The model gets a tree of inputs, tuples included,
    as its one argument, and the loss gets a tree of targets as it is.

    >>> x_train, y_train, x_val, y_val = Task(torch.ones(5, 1), torch.ones(5), torch.ones(15, 1), torch.ones(15))
    >>> x_val.shape
    torch.Size([15, 1])
    """

    support_x: Tree
    support_y: Tree
    query_x: Tree
    query_y: Tree


Tasks = Task | Sequence[Task]


def device_or_default(device: torch.device | str | None) -> torch.device:
    """Return the device that was asked for, or PyTorch's default device, which is the CPU unless it was changed."""
    return torch.empty(0).device if device is None else torch.device(device)


def read_tasks(tasks: Any) -> Tasks:
    """Return tasks in any of the forms that a user may pass, as a ``Task``, which is a batch, or as a list of them.

    A plain tuple or list of four parts stands for a ``Task``, as a ``DataLoader`` makes batches of plain tuples. If
    all of its parts are tuples or lists themselves, it is a list of tasks.

    Raises:
        ValueError: something else.
    """
    if isinstance(tasks, Task):
        return tasks
    if not isinstance(tasks, Sequence) or isinstance(tasks, (str, bytes)):
        raise ValueError(f"{description(tasks)}; pass a Task, which is a batch of tasks, or a list of Tasks")
    if all(isinstance(task, Task) for task in tasks):
        return tasks
    if all(isinstance(task, (tuple, list)) for task in tasks):
        for task in tasks:
            if len(task) != 4:
                raise ValueError(
                    f"a task has four parts, support_x, support_y, query_x and query_y, and not {len(task)}; pass a "
                    "list of Tasks"
                )
        return [Task(*task) for task in tasks]
    if len(tasks) == 4 and not any(isinstance(part, Task) for part in tasks):
        return Task(*tasks)
    raise ValueError(
        f"a list of {len(tasks)} holds {description(next(t for t in tasks if not isinstance(t, Task)), '')}; pass a "
        "Task, which is a batch of tasks, or a list of Tasks"
    )


def description(tasks: Any, verb: str = "tasks are ") -> str:
    """Say what was passed in place of tasks, with the remedy where there is one."""
    if tasks is None:
        return f"{verb}None"
    if isinstance(tasks, Mapping):
        return f"{verb}a dict with the keys {', '.join(map(str, tasks))}"
    text = f"{verb}an object of class {type(tasks).__name__}"
    if isinstance(tasks, torch.utils.data.DataLoader):
        return f"{text}, which gives one batch of tasks after the other"
    return f"{text}, of which list(...) makes a list" if isinstance(tasks, Iterator) else text


def as_list(tasks: Tasks) -> list[Task]:
    """Return a batch of tasks (a leading dimension on every tensor) or a sequence of tasks as a list.

    Raises:
        ValueError: no task at all, or tensors that disagree about the number of tasks.
    """
    tasks = read_tasks(tasks)
    if isinstance(tasks, Task):
        check_batch(tasks)
        tasks = [Task(*parts) for parts in zip(*map(split, tasks), strict=True)]
    if not tasks:
        raise ValueError("no tasks given; a meta-loss needs at least one")
    return list(tasks)


def as_batches(tasks: Tasks) -> list[Task]:
    """Return tasks as batches, one for each size of task, in the order in which the sizes first occur.

    Raises:
        ValueError: as ``as_list``.
    """
    tasks = read_tasks(tasks)
    if isinstance(tasks, Task):
        check_batch(tasks)
        if size_of(tasks.support_x):
            return [tasks]
    tasks = as_list(tasks)
    for task in tasks:
        check_parts(task)
    return [
        Task(*(join(torch.stack, parts) for parts in zip(*(tasks[i] for i in group), strict=True)))
        for group in groups_of(tasks)
    ]


def groups_of(tasks: Sequence[Task]) -> list[list[int]]:
    """Return the numbers of the tasks that fit into a batch together, in the order in which the sizes first occur."""
    groups: dict[Any, list[int]] = {}
    for number, task in enumerate(tasks):
        groups.setdefault(form_of_task(task), []).append(number)
    return list(groups.values())


def in_order_of(tasks: Tasks, outputs: Sequence[Tree]) -> Tree | list[Tree]:
    """Return one output a task, in the order of the tasks, from those of ``as_batches(tasks)``.

    Args:
        tasks: a batch or a list of tasks.
        outputs: one tensor, or tree of tensors, a batch, each with a leading dimension of tasks.

    Returns:
        A tensor with a leading dimension of tasks if all outputs have the same shape, else a list of tensors; or a
        tree of tensors, or a list of trees.
    """
    tasks = read_tasks(tasks)
    if isinstance(tasks, Task):
        return outputs[0]
    by_number = {
        number: output
        for group, batch in zip(groups_of(tasks), outputs, strict=True)
        for number, output in zip(group, split(batch), strict=True)
    }
    ordered = [by_number[number] for number in range(len(tasks))]
    return join(torch.stack, ordered) if len({form_of(output) for output in ordered}) == 1 else ordered


def without_inference(task: Task) -> Task:
    """Return a task whose tensors autograd can save, which those made under ``torch.inference_mode`` are not."""

    def usable(values: Tensor) -> Tensor:
        return values.clone() if values.is_inference() else values

    return Task(*(map_tensors(usable, tree) for tree in task))


def check_parts(task: Task) -> None:
    """Refuse a part of a task, or of a batch of tasks, that is no tensor or tree of tensors.

    Raises:
        ValueError: there is one.
    """
    for name, tree in zip(Task._fields, task, strict=True):
        if not isinstance(tree, Tensor):
            check_tree(name, tree)


def check_batch(batch: Task) -> None:
    """Refuse a batch whose tensors disagree about the number of tasks.

    Raises:
        ValueError: they do, or as ``check_parts``.
    """
    x, y, query_x, query_y = batch
    if all(isinstance(tree, Tensor) and tree.ndim for tree in batch) and len(x) == len(y) == len(query_x) == len(
        query_y
    ):
        return
    check_parts(batch)
    sizes = [[len(values) if values.ndim else "none" for values in tensors_of(tree)] for tree in batch]
    if len({size for part in sizes for size in part}) > 1 or sizes[0][0] == "none":
        given = {
            name: part[0] if len(set(part)) == 1 else part for name, part in zip(Task._fields, sizes, strict=True)
        }
        raise ValueError(f"the tensors disagree about the number of tasks: {given}; pass one task as [task]")


def form_of_task(task: Task) -> Hashable:
    """Return the structure of a task or of a batch, with the shape, dtype and device of each tensor."""
    x, y, query_x, query_y = task
    return form_of(x), form_of(y), form_of(query_x), form_of(query_y)


def tensors_of_task(task: Task) -> list[Tensor]:
    """Return the tensors of the four parts of a task, or of a batch, in order."""
    return [values for tree in task for values in tensors_of(tree)]


def task_at(batch: Task, index: int) -> Task:
    """Return the task with a number in a batch."""
    return Task(*(map_tensors(lambda values: values[index], tree) for tree in batch))


def part_of(batch: Task, start: int, stop: int) -> Task:
    """Return the tasks of a batch from number ``start`` up to, but without, number ``stop``."""
    return Task(*(map_tensors(lambda values: values[start:stop], tree) for tree in batch))
