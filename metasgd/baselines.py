"""What Meta-SGD is compared with: each a function (support_x, support_y, query_x) -> prediction for one task."""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd.evaluation import Method


def nearest_class_mean(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
    """Score every class by the cosine between a query and the mean of the class's support examples (chapter 7).

    Nothing is learned, so this is the yardstick: what the raw pixels give.

    Args:
        support_x: (examples, ...), any shape of input.
        support_y: int64 labels 0 to ways - 1 of shape (examples,), each label at least once.
        query_x: (queries, ...).

    Returns:
        Cosines in -1..1 of shape (queries, ways).

    >>> support_x, query_x = torch.tensor([[1.0, 0.0], [0.0, 2.0]]), torch.tensor([[3.0, 3.0], [0.0, 5.0]])
    >>> nearest_class_mean(support_x, torch.tensor([0, 1]), query_x).round(decimals=2)
    tensor([[0.7100, 0.7100],
            [0.0000, 1.0000]])
    """
    means = class_means(support_x.flatten(1), support_y)
    return F.normalize(query_x.flatten(1), dim=1) @ F.normalize(means, dim=1).T


def class_means(features: Tensor, labels: Tensor) -> Tensor:
    """Return the mean of the features of each class, (ways, features), from (examples, features) and their labels.

    >>> class_means(torch.tensor([[1.0, 0.0], [4.0, 2.0], [3.0, 2.0]]), torch.tensor([0, 1, 0]))
    tensor([[2., 1.],
            [4., 2.]])
    """
    members = F.one_hot(labels).T.to(features.dtype)  # (ways, examples)
    return members @ features / members.sum(1, keepdim=True)


def from_scratch(
    model: nn.Module, optimizer: Callable[..., torch.optim.Optimizer], *, lr: float, steps: int
) -> Method:
    """Return the method that trains a copy of ``model`` on the support set alone, from where it is (chapter 8).

    Args:
        model: a network at its random start. Every task gets a copy of its own; the model itself stays as it is.
        optimizer: e.g. ``torch.optim.SGD``.
        lr: its learning rate.
        steps: full-batch steps on the cross-entropy of the support set.
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
            return network(query_x)

    return method
