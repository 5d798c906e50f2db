"""What surrounds the step of the outer optimiser: gradients in parts, clipping, explanations and a warning."""

import contextlib
import math
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from metasgd._core.learner import Learner
from metasgd._core.task import Tasks, as_list
from metasgd._core.trainable import check_trained

JUMP = 100  # times the recent losses, from which on a loss is warned of
MEMORY = 0.9  # of the mean of recent losses, for one meta-update


def variables_of(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    """Return what an optimiser steps."""
    return [variable for group in optimizer.param_groups for variable in group["params"]]


@contextlib.contextmanager
def new_gradients(learner: Learner, weight: float, keep: bool) -> Iterator[None]:
    """Let the body of a ``with`` compute gradients; afterwards there are those of before plus ``weight`` times these.

    Args:
        learner: for whose outer optimiser they are.
        weight: of the new gradients.
        keep: whether there is anything to be kept of the gradients of before.
    """
    if not math.isfinite(weight):
        raise ValueError(f"weight is {weight}; it must be finite, such as the share of these tasks in the meta-batch")
    optimizer = learner.meta_optimizer
    variables = variables_of(optimizer)
    before = [variable.grad for variable in variables] if keep else []
    optimizer.zero_grad()
    try:
        yield
        if any(variable.grad is None for variable in variables):
            check_trained(learner.theta, variables)
        if weight != 1:
            for variable in variables:
                if variable.grad is not None:
                    variable.grad.mul_(weight)
    finally:  # also after an error
        for variable, gradient in zip(variables, before, strict=False):
            if gradient is not None:
                variable.grad = gradient if variable.grad is None else gradient + variable.grad


def clip(optimizer: torch.optim.Optimizer, norm: float, max_norm: float) -> None:
    """Shorten the gradients of all parameters together from ``norm`` to ``max_norm``, if they are longer."""
    if norm > max_norm:
        factor = max_norm / norm if math.isfinite(norm) else 0.0
        for variable in variables_of(optimizer):
            if variable.grad is not None:
                variable.grad.mul_(factor)


class JumpWatch:
    """Warns once if a loss is a hundred times as large as the recent ones, and larger than at the start."""

    def __init__(self) -> None:
        self.recent: float | None = None  # mean of the absolute values
        self.start = 0.0
        self.has_warned = False

    def see(self, loss: float) -> None:
        """Take note of the loss of a meta-update."""
        size = abs(loss)
        if self.recent is None:
            self.recent = self.start = size
            return
        if loss > JUMP * self.recent and size > self.start and not self.has_warned:
            self.has_warned = True
            warnings.warn(
                f"the meta-loss jumped from about {self.recent:.3g} to {loss:.3g}: an inner step went too far; lower "
                "task_lr or inner_steps, or clip gradients (inner_max_norm shortens inner steps, max_norm the "
                "meta-gradient)",
                RuntimeWarning,
                stacklevel=4,
            )
        self.recent = MEMORY * self.recent + (1 - MEMORY) * size


def why_not_finite(learner: Any, loss: float, tasks: Tasks) -> str:
    """Say what is not finite in a meta-update, and why, as far as it can be known."""
    is_first = not learner.meta_optimizer.state
    rates = "task_lr" if is_first else "meta_lr, alpha_lr or task_lr"
    advice = (
        "typical is a square root, norm or logarithm at zero in the model or the loss, whose slope there is infinite: "
        "add a small number inside it"
    )
    if not is_first:
        advice += f"; if losses grew before, lower {rates}"
    named = [*learner.theta.items(), *((f"alpha of {name}", rate) for name, rate in learner.alpha.items())]
    if math.isfinite(loss):
        first = next(name for name, value in named if value.grad is not None and not value.grad.isfinite().all())
        return f"the loss is finite ({loss:.6g}), but the meta-gradient is not, first in '{first}'; {advice}"
    place = None
    with contextlib.suppress(Exception):  # the explanation must not hide what it explains
        place = first_gradient_not_finite(learner, tasks)
    if place is not None:
        number, name, value = place
        return (
            f"the loss is not finite ({loss}), as the first inner step of task {number} is not: its support loss is "
            f"finite ({value:.6g}), but the gradient is not, first in '{name}'; {advice}"
        )
    return f"the loss is not finite ({loss}); lower {rates}, or clip inner steps (inner_max_norm)"


def first_gradient_not_finite(learner: Learner, tasks: Tasks) -> tuple[int, str, float] | None:
    """Return the first task whose support loss is finite at theta while its gradient is not, the parameter, the loss.

    None: there is no such task.
    """
    trainable = {name: value for name, value in learner.theta.items() if value.requires_grad}
    for number, task in enumerate(as_list(tasks)):
        with torch.enable_grad():
            loss = learner.loss_fn(learner.predict(task.support_x), task.support_y)
            gradients = torch.autograd.grad(loss, list(trainable.values()), allow_unused=True)
        if not loss.isfinite():
            return None
        for name, gradient in zip(trainable, gradients, strict=True):
            if gradient is not None and not gradient.isfinite().all():
                return number, name, loss.item()
    return None
