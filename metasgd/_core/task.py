"""A task, and ways to turn tasks of any form into a list or into batches."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Task(NamedTuple):
    """A support set to adapt on and a query set to judge the adaptation by (chapter 3).

    One task holds inputs of shape ``(examples, ...)`` and targets of shape ``(examples, ...)``. A batch of B
    tasks is the same tuple with a leading dimension B on all four tensors. It unpacks in the order
    ``x_train, y_train, x_val, y_val``.

    >>> x_train, y_train, x_val, y_val = Task(torch.ones(5, 1), torch.ones(5), torch.ones(15, 1), torch.ones(15))
    >>> x_val.shape
    torch.Size([15, 1])
    """

    support_x: Tensor
    support_y: Tensor
    query_x: Tensor
    query_y: Tensor


Tasks = Task | Sequence[Task]


def device_or_default(device: torch.device | str | None) -> torch.device:
    """Return the device that was asked for, or PyTorch's default device, which is the CPU unless it was changed."""
    return torch.empty(0).device if device is None else torch.device(device)


def as_list(tasks: Tasks) -> list[Task]:
    """Return a batch of tasks (a leading dimension on every tensor) or a sequence of tasks as a list.

    Raises:
        ValueError: no task at all, or tensors that disagree about the number of tasks.
    """
    if isinstance(tasks, Task):
        check_batch(tasks)
        tasks = [Task(*parts) for parts in zip(*tasks, strict=True)]
    if not tasks:
        raise ValueError("no tasks given; a meta-loss needs at least one")
    return list(tasks)


def as_batches(tasks: Tasks) -> list[Task]:
    """Return tasks as batches, one for each size of task, in the order in which the sizes first occur.

    Raises:
        ValueError: as ``as_list``.
    """
    if isinstance(tasks, Task):
        check_batch(tasks)
        if len(tasks.support_x):
            return [tasks]
    tasks = as_list(tasks)
    return [Task(*map(torch.stack, zip(*(tasks[i] for i in group), strict=True))) for group in groups_of(tasks)]


def groups_of(tasks: Sequence[Task]) -> list[list[int]]:
    """Return the numbers of the tasks that fit into a batch together, in the order in which the sizes first occur."""
    groups: dict[Any, list[int]] = {}
    for number, task in enumerate(tasks):
        groups.setdefault((shapes_of(task), *((x.dtype, x.device) for x in task)), []).append(number)
    return list(groups.values())


def in_order_of(tasks: Tasks, outputs: Sequence[Tensor]) -> Tensor | list[Tensor]:
    """Return one output a task, in the order of the tasks, from those of ``as_batches(tasks)``.

    Args:
        tasks: a batch or a list of tasks.
        outputs: one tensor a batch, each with a leading dimension of tasks.

    Returns:
        A tensor with a leading dimension of tasks if all outputs have the same shape, else a list of tensors.
    """
    if isinstance(tasks, Task):
        return outputs[0]
    by_number = {
        number: output
        for group, batch in zip(groups_of(tasks), outputs, strict=True)
        for number, output in zip(group, batch, strict=True)
    }
    ordered = [by_number[number] for number in range(len(tasks))]
    return torch.stack(ordered) if len({output.shape for output in ordered}) == 1 else ordered


def without_inference(task: Task) -> Task:
    """Return a task whose tensors autograd can save, which those made under ``torch.inference_mode`` are not."""
    return Task(*(values.clone() if values.is_inference() else values for values in task))


def check_batch(batch: Task) -> None:
    """Refuse a batch whose tensors disagree about the number of tasks."""
    sizes = {field: len(values) for field, values in batch._asdict().items()}
    if len(set(sizes.values())) > 1:
        raise ValueError(f"the tensors disagree about the number of tasks: {sizes}; pass one task as [task]")


def shapes_of(task: Task) -> tuple[torch.Size, ...]:
    """Return the shapes of the four tensors of a task."""
    return tuple(values.shape for values in task)


def part_of(batch: Task, start: int, stop: int) -> Task:
    """Return the tasks of a batch from number ``start`` up to, but without, number ``stop``."""
    return Task(*(values[start:stop] for values in batch))
