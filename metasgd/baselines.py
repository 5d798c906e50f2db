"""Methods without meta-training, with which Meta-SGD is compared (chapters 7 and 8).

Each is a function ``(support_x, support_y, query_x) -> prediction`` for one task, as ``metasgd.evaluate`` takes it.
"""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd.evaluation import Method


def nearest_class_mean(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
    """Score every class by the cosine between a query and the mean of the class's support examples (chapter 7).

    Nothing is learned, so this shows how far one gets with the raw pixels.

    Args:
        support_x: inputs of shape (examples, ...).
        support_y: int64 labels 0 to ways - 1, of shape (examples,), each label at least once.
        query_x: inputs of shape (queries, ...).

    Returns:
        Cosines between -1 and 1, of shape (queries, ways).

    >>> support_x, query_x = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 3.0], [0.0, 5.0]])
    >>> nearest_class_mean(support_x, torch.tensor([0, 1]), query_x).round(decimals=2)
    tensor([[0.7100, 0.7100],
            [0.0000, 1.0000]])
    """
    means = class_means(support_x.flatten(1), support_y)
    return F.normalize(query_x.flatten(1), dim=1) @ F.normalize(means, dim=1).T


def class_means(features: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of the features of each class.

    Args:
        features: of shape (examples, features).
        labels: int64 labels 0 to ways - 1, of shape (examples,), each label at least once.

    Returns:
        The means, of shape (ways, features).

    >>> class_means(torch.tensor([[1.0, 0.0], [4.0, 2.0], [3.0, 2.0]]), torch.tensor([0, 1, 0]))
    tensor([[2., 1.],
            [4., 2.]])
    """
    members = F.one_hot(labels).T.to(features.dtype)  # (ways, examples)
    return members @ features / members.sum(1, keepdim=True)


def from_scratch(
    model: nn.Module, optimizer: Callable[..., torch.optim.Optimizer], *, lr: float, steps: int
) -> Method:
    """Return a method that trains a copy of a network on nothing but the support set of a task (chapter 8).

    Args:
        model: the network at its random start. Every task gets its own copy, so ``model`` itself is not changed.
        optimizer: the class of the optimiser, e.g. ``torch.optim.SGD``.
        lr: its learning rate.
        steps: the number of steps, each on the cross-entropy of the whole support set.
    """

    def method(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        network = copy.deepcopy(model)
        descent = optimizer(network.parameters(), lr=lr)
        with torch.enable_grad():
            for _ in range(steps):
                descent.zero_grad()
                F.cross_entropy(network(support_x), support_y).backward()
                descent.step()
        with torch.no_grad():
            prediction: Tensor = network(query_x)
        return prediction

    return method
