"""The strategy ``loop``: one task after the other, differentiated by autograd alone.

It is the definition of the meta-gradient, kept readable; the tests hold every other strategy against it.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from metasgd._core.learner import Learner
from metasgd._core.task import Task, Tasks, as_list
from metasgd._core.trees import Tree, as_tree, map_tensors
from metasgd.strategies.precision import forward_precision


def backward(learner: Learner, tasks: Tasks) -> Tensor:
    """Add the gradient of the mean query loss to ``.grad`` of theta and alpha, and return that loss."""
    tasks = as_list(tasks)
    total, device = torch.zeros(()), next(learner.model.parameters()).device
    for task in tasks:  # one backward pass for each task, so that the graph of only one task is in memory
        with forward_precision(learner.execution.precision, device):
            loss = learner.task_loss(task) / len(tasks)
        loss.backward()
        total = total.to(loss) + loss.detach()
    give_gradients_of_zero(learner)
    return total


def give_gradients_of_zero(learner: Learner) -> None:
    """Give what the loss does not depend on the gradient 0, as the other strategies do, and not None."""
    alpha = learner.alpha if learner.learns_alpha else {}
    for name, value in learner.theta.items():
        if value.requires_grad:  # a frozen parameter and its rate have no gradient at all
            for variable in (value, alpha.get(name)):
                if variable is not None and variable.grad is None:
                    variable.grad = torch.zeros_like(variable)


def predict(learner: Learner, tasks: Task) -> Iterator[Tree]:
    """Yield the predictions for the query set of each task, of shape (1, queries, ...)."""
    device = next(learner.model.parameters()).device
    for task in as_list(tasks):
        with forward_precision(learner.execution.precision, device):
            output = as_tree(learner(task.support_x, task.support_y, task.query_x))
        yield map_tensors(lambda values: values[None], output)
