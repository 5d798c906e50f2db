"""What a contender of the benchmark is: a way to take a meta-update, from a start common to all (chapter 9)."""

import copy
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from metasgd._core.learner import LossFn
from metasgd._core.task import Task
from metasgd.meta_sgd import MetaSGD

# The outer learning rate of all contenders. It is so small that theta and alpha stay practically where they were,
# however many steps a contender takes in the time that it is given.
META_LR = 1e-6

Gradients = tuple[list[Tensor], list[Tensor]]  # in theta and in alpha, in the order of the network's parameters


class Start(NamedTuple):
    """What every contender starts from. A contender must copy the network before it changes it.

    Attributes:
        network: its parameters are theta.
        rates: alpha, by the names of the network's parameters.
        loss_fn: the loss, ``loss_fn(prediction, target)``.
    """

    network: nn.Module
    rates: dict[str, Tensor]
    loss_fn: LossFn


class Contender(NamedTuple):
    """A way to take a meta-update.

    Attributes:
        step: takes a whole meta-update on prepared tasks and returns its loss as a Python number, so it returns only
            when the step is finished.
        gradients: returns the meta-gradient at the present theta and alpha for prepared tasks, without taking a step.
        prepare: turns a batch of tasks into what ``step`` and ``gradients`` take. This time is not measured.
    """

    step: Callable[[Any], float]
    gradients: Callable[[Any], Gradients]
    prepare: Callable[[Task], Any] = lambda tasks: tasks


def gradients_of(parameters: Iterable[Tensor]) -> list[Tensor]:
    """Return ``.grad`` of each parameter, or zeros where there is none."""
    return [torch.zeros_like(parameter) if parameter.grad is None else parameter.grad for parameter in parameters]


def metasgd_contender(start: Start, strategy: str, *, compile: bool = False) -> Contender:
    """Return ``MetaSGD`` with one of its strategies, through its public methods."""
    learner = MetaSGD(
        copy.deepcopy(start.network),
        start.loss_fn,
        meta_lr=META_LR,
        task_lr=start.rates,
        strategy=strategy,
        compile=compile,
    )

    def gradients(tasks: Task) -> Gradients:
        learner.meta_backward(tasks)
        return gradients_of(learner.theta.values()), gradients_of(learner.alpha.values())

    return Contender(lambda tasks: learner.meta_update(tasks)["loss"], gradients)
