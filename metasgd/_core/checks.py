"""Checks of what a user passes in: each error names the value that is wrong and says what would be right."""

import math
import operator
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd._core.learner import LossFn
from metasgd._core.private_torch import AnyLoss
from metasgd._core.running_statistics import check_statistics, keep_statistics
from metasgd._core.task import Task, Tasks, as_list, check_parts
from metasgd._core.trees import Tree, check_same_structure, tensors_of


def check_counts(least: int = 1, /, **counts: int) -> None:
    """Refuse a number, given by its name, that is not whole or is too small."""
    for name, value in counts.items():
        try:
            operator.index(value)
        except TypeError:
            raise ValueError(f"{name} is {value!r}; it must be a whole number") from None
        if value < least:
            raise ValueError(f"{name} is {value}; it must be at least {least}")


def check_num_tasks(num_tasks: int) -> None:
    """Refuse fewer than one task."""
    if num_tasks < 1:
        raise ValueError(f"num_tasks is {num_tasks}; at least 1 task is needed")


def check_inner_steps(inner_steps: int) -> None:
    """Refuse a number of steps that is not whole, or below 1."""
    if isinstance(inner_steps, bool) or not hasattr(inner_steps, "__index__"):
        raise ValueError(f"inner_steps is {inner_steps!r}; it must be a whole number")
    if inner_steps < 1:
        raise ValueError(f"inner_steps is {inner_steps}; adaptation needs at least 1 step")


def check_rates(**rates: float | None) -> None:
    """Refuse a learning rate, given by its name, that is negative or not finite; None stands for a default."""
    for name, rate in rates.items():
        if rate is not None and not (math.isfinite(rate) and rate >= 0):
            raise ValueError(f"{name} is {rate}; a learning rate must be finite and at least 0")


def check_model(model: nn.Module) -> None:
    """Refuse a model that has nothing to adapt, or whose running statistics adaptation would overwrite."""
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError(f"{type(model).__name__} has no trainable parameters, so there is nothing to adapt")
    check_statistics(keep_statistics(model))


def check_task(task: Task, *, one_loss: bool = True) -> None:
    """Refuse a task whose tensors disagree in length, dtype or device.

    Args:
        task: a single one.
        one_loss: whether the query set has the loss of the support set; else its targets may be of another kind.
    """
    check_parts(task)
    for part, x, y in (
        ("support", task.support_x, task.support_y),
        ("query", task.query_x, task.query_y),
    ):
        inputs, targets = tensors_of(x), tensors_of(y)
        if not all(values.ndim for values in (*inputs, *targets)):
            raise ValueError(f"the {part} set has no dimension of examples; pass one task as [task]")
        for kind, tensors in (("inputs", inputs), ("targets", targets)):
            if len(sizes := {len(values) for values in tensors}) > 1:
                given = " and ".join(map(str, sorted(sizes)))
                raise ValueError(f"the tensors of the {part} {kind} have {given} examples; all must have as many")
        if len(inputs[0]) != len(targets[0]):
            raise ValueError(f"the {part} set has {len(inputs[0])} inputs but {len(targets[0])} targets")
        if len(inputs[0]) == 0:
            raise ValueError(f"the {part} set is empty; it needs at least one example")
    for kind, support, query in (
        ("inputs", task.support_x, task.query_x),
        ("targets", task.support_y, task.query_y),
    ):
        if kind == "targets" and not one_loss:
            continue
        check_same_structure(kind, support, query)
        for values, others in zip(tensors_of(support), tensors_of(query), strict=True):
            for attribute in ("device", "dtype"):
                first, second = getattr(values, attribute), getattr(others, attribute)
                if first != second:
                    raise ValueError(
                        f"support {kind} have {attribute} {first}, query {kind} {second}; they must be the same"
                    )


def num_outputs(prediction: Any) -> int:
    """Return the number of outputs for each example: the size of dimension 1, or 0 if there is a single number.

    As in ``F.cross_entropy``, dimension 1 is that of the classes, also of predictions of shape (N, C, d1, ...). For a
    prediction that is no tensor it is 0, too.
    """
    return prediction.shape[1] if isinstance(prediction, Tensor) and prediction.ndim > 1 else 0


def check_labels(loss_fn: LossFn, outputs: int, target: Tree) -> None:
    """Refuse class indices for which a model with so many outputs has none; a GPU would end the whole process.

    Only cross entropy takes targets for class indices; any other loss is left to check its own.

    Raises:
        ValueError: a label that is below 0 or not below ``outputs``, unless it is the loss's ``ignore_index``.
    """
    is_cross_entropy = loss_fn is F.cross_entropy or isinstance(loss_fn, nn.CrossEntropyLoss)
    if not is_cross_entropy or outputs == 0 or not isinstance(target, Tensor) or target.is_floating_point():
        return
    is_label = target != getattr(loss_fn, "ignore_index", -100)
    # The only place in a meta-gradient where Python waits for a GPU to finish: it needs to know one number.
    if (((target < 0) | (target >= outputs)) & is_label).any():
        labels = target[is_label]
        raise ValueError(
            f"labels run from {int(labels.min())} to {int(labels.max())}, but the model has {outputs} "
            f"outputs; labels must lie in 0..{outputs - 1}"
        )


def check_takes_tensors(loss_fn: LossFn, prediction: Any, target: Tree) -> None:
    """Refuse an output of a model, or targets, that are no tensors where the loss is one of PyTorch's own.

    Raises:
        ValueError: the loss is one of ``torch.nn.functional`` or ``torch.nn``, which compare tensors only.
    """
    if isinstance(prediction, Tensor) and isinstance(target, Tensor):
        return
    if isinstance(loss_fn, AnyLoss) or getattr(loss_fn, "__module__", None) in ("torch.nn.functional", "torch._C._nn"):
        name = getattr(loss_fn, "__name__", type(loss_fn).__name__)
        what, value = ("the targets are", target) if isinstance(prediction, Tensor) else ("the output is", prediction)
        raise ValueError(
            f"{what} an object of class {type(value).__name__}, and the loss {name} compares tensors; pass a function "
            "loss_fn(output, target) that picks what it compares"
        )


def check_scalar(loss: Tensor) -> Tensor:
    """Return a loss, refusing one that is not a single number."""
    if loss.ndim != 0:
        raise ValueError(f"the loss has shape {tuple(loss.shape)}; it must be a scalar, e.g. reduction='mean'")
    return loss


def check_finite(
    loss: float, tasks: Tasks, optimizer: torch.optim.Optimizer, why: Callable[[], str] | None = None
) -> float:
    """Return the norm of the gradients; refuse a loss or gradients that are not finite, which would spoil the step.

    Args:
        loss: the meta-loss.
        tasks: from which it comes.
        optimizer: whose parameters have the gradients.
        why: says what is not finite and why, as far as it can be known, if the tasks themselves are finite.

    Raises:
        FloatingPointError: with the place of a number that is not finite: a task, else the loss or the meta-gradient.
    """
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    # A norm is finite only if all numbers are. One copy and one norm are cheap, while testing every gradient by itself
    # would take longer than the whole meta-update of a small network. The squares of finite numbers may overflow, and
    # so there is a second test.
    numbers = torch.cat([gradient.reshape(-1) for gradient in gradients])
    norm: float = torch.linalg.vector_norm(numbers).item()
    if math.isfinite(loss) and (math.isfinite(norm) or numbers.isfinite().all()):
        return norm
    for index, task in enumerate(as_list(tasks)):
        for field, tree in task._asdict().items():
            if not all(values.isfinite().all() for values in tensors_of(tree)):
                raise FloatingPointError(f"task {index} has NaN or infinite values in {field}; clean the data")
    what = "the meta-gradient" if math.isfinite(loss) else "the loss"
    raise FloatingPointError(why() if why else f"{what} is not finite ({loss}); lower the learning rates")
