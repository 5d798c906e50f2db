"""The choice of a strategy, and the work by the one that was chosen (chapter 10)."""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from metasgd._core.learner import Learner
from metasgd._core.messages import inform_once
from metasgd._core.task import Task, Tasks, as_batches, task_at
from metasgd._core.trees import Tree, join
from metasgd.strategies.companions import check_keeps_nothing
from metasgd.strategies.kernels import attention_by_sums_and_products
from metasgd.strategies.precision import matmul_precision
from metasgd.strategies.preflight import check_reading
from metasgd.strategies.query_statistics import QUERIES, SUPPORT, SUPPORT_AND_QUERY
from metasgd.strategies.registry import STRATEGIES, Strategy


def meta_backward(learner: Learner, tasks: Tasks) -> Tensor:
    """Add the gradient of the mean query loss to ``.grad``, by the learner's strategy, and return that loss.

    Raises:
        NotImplementedError: PyTorch has no second derivative of a function that the model or the loss calls.
        ValueError: a model, or a setting, with which queries cannot be normalised as the learner says.
    """
    check_reading(learner, tasks)
    if learner.query_statistics != QUERIES:
        check_training(learner, tasks)
    try:
        loss: Tensor = compute_by_strategy(learner, lambda strategy: strategy.backward(learner, tasks))
    except RuntimeError as error:
        if (lacking := re.search(r"derivative for '?(\w\S*?)_backward'? is not implemented", str(error))) is None:
            raise
        raise NotImplementedError(
            f"PyTorch has no second derivative of {lacking[1]}; use first_order=True, or another function"
        ) from error
    return loss


def check_training(learner: Learner, tasks: Tasks) -> None:
    """Refuse to train where queries are not normalised together, and the model or a setting does not allow that.

    Raises:
        ValueError: the model keeps tensors of a call, or it would be compiled for each query once more.
    """
    if learner.execution.compile and learner.query_statistics == SUPPORT_AND_QUERY:
        raise ValueError(
            f"compile=True would compile the model once for each query with query_statistics={SUPPORT_AND_QUERY!r}; "
            f"use compile=False, or train with query_statistics={SUPPORT!r}"
        )
    for batch in as_batches(tasks):
        check_keeps_nothing(learner, task_at(batch, 0).support_x)


def predict_tasks(learner: Learner, tasks: Task) -> Tree:
    """Adapt to every task of a batch and predict its query set, by the learner's strategy: (tasks, queries, ...)."""
    with torch.no_grad():
        return compute_by_strategy(learner, lambda strategy: join(torch.cat, list(strategy.predict(learner, tasks))))


def compute_by_strategy(learner: Learner, compute: Callable[[Strategy], Any]) -> Any:
    """Return ``compute(strategy)`` for the learner's strategy.

    If ``"auto"`` has chosen a strategy that cannot compute the model, the next simpler one is taken instead, from then
    on, and the logger ``metasgd`` says why.

    Raises:
        Exception: that of the strategy which was asked for, or, with ``"auto"``, that of the plain loop, if even this
            fails: then the fault lies with the model or the tasks, not with the strategy.
    """
    name, execution, device = strategy_of(learner), learner.execution, device_of(learner)
    if name == "loop" and execution.recompute:
        inform_once("MetaSGD: recompute=True has no effect in strategy 'loop', which keeps all inner steps of a task")
    try:
        with matmul_precision(execution.precision, device), attention_by_sums_and_products:
            return compute(STRATEGIES[name])
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError as error:  # e.g. a model that vmap cannot do: it branches on a value, or is recurrent
        if execution.strategy != "auto" or name == "loop":
            raise
        reason = str(error).splitlines()[0]
        execution.chosen = next_simpler(name, device)
    try:
        result = compute_by_strategy(learner, compute)
    except Exception:
        execution.chosen = name
        raise
    inform_once(f"MetaSGD: strategy '{execution.chosen}', as '{name}' cannot compute this: {reason}")
    return result


def next_simpler(name: str, device: torch.device) -> str:
    """Return the strategy to try if the named one, which is not the loop, cannot compute a model."""
    if name == "streams":
        return "batched"
    return "threads" if name == "batched" and device.type == "cpu" else "loop"


def strategy_of(learner: Learner) -> str:
    """Return the name of the learner's strategy; ``"auto"`` is decided at its first use, and the choice logged.

    While there is dropout that drops something, ``"auto"`` is the loop.
    """
    execution = learner.execution
    if execution.strategy != "auto":
        return execution.strategy
    if execution.dropout is None:
        parts = learner.model.modules()
        execution.dropout = [part for part in parts if isinstance(part, nn.modules.dropout._DropoutNd)]
    if any(part.training and part.p > 0 for part in execution.dropout):
        inform_once("MetaSGD: strategy 'loop', as dropout draws its random numbers task by task")
        return "loop"
    if execution.chosen is None:
        execution.chosen, why = choose_strategy(learner)
        inform_once(f"MetaSGD: strategy '{execution.chosen}', as {why}")
    return execution.chosen


def choose_strategy(learner: Learner) -> tuple[str, str]:
    """Return the strategy that was fastest for such a model on such a device in chapter 10, and the reason."""
    device = device_of(learner)
    has_convolutions = any(isinstance(module, nn.modules.conv._ConvNd) for module in learner.model.modules())
    # "streams" records what Python does, as compilation does: it is chosen only for those who have asked to compile.
    if device.type == "cuda" and has_convolutions and learner.execution.compile:
        return "streams", f"on {device}, convolutions want one task in each of several streams"
    if device.type != "cpu":
        return "batched", f"the model is on {device}, which is fast only with many tasks at once"
    if has_convolutions:
        return "threads", "a CPU is slow at convolutions in a batch of tasks"
    return "batched", "a batch of tasks is a few large matrix products"


def device_of(learner: Learner) -> torch.device:
    """Return the device of the learner's parameters."""
    return next(learner.model.parameters()).device
