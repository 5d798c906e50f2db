"""Methods without meta-training, with which Meta-SGD is compared (chapters 7, 8 and 15).

Each is a function ``(support_x, support_y, query_x) -> prediction`` for one task, as ``metasgd.evaluate`` takes it.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd._core.checks import check_labels, check_rates, check_scalar, num_outputs
from metasgd._core.copies import copy_of_module
from metasgd._core.learner import LossFn
from metasgd._core.modes import evaluation_mode
from metasgd.evaluation import Method
from metasgd.strategies.query_statistics import check_query_statistics, output_for_queries


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
    model: nn.Module,
    optimizer: Callable[..., torch.optim.Optimizer],
    *,
    lr: float,
    steps: int,
    loss_fn: LossFn = F.cross_entropy,
    query_statistics: str = "queries",
) -> Method:
    """Return a method that trains a copy of a network on nothing but the support set of a task (chapter 8).

    It predicts in evaluation mode, so that dropout drops nothing.

    Args:
        model: the network at its random start. Every task gets its own copy, so ``model`` itself is not changed.
        optimizer: the class of the optimiser, e.g. ``torch.optim.SGD``.
        lr: its learning rate.
        steps: the number of steps, each on the loss of the whole support set.
        loss_fn: ``loss_fn(prediction, target) -> scalar``, e.g. ``F.mse_loss`` for regression.
        query_statistics: by what batch normalisation normalises queries, as in ``MetaSGD``.

    Raises:
        ValueError: the rate is negative or not finite, or there are no such statistics; and, by the method,
            cross-entropy of a single output, which is always 0, labels that are out of range, or a loss that is not a
            scalar.
    """
    check_rates(lr=lr)
    check_query_statistics(query_statistics)

    def method(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        network = copy_of_module(model)
        descent = optimizer(network.parameters(), lr=lr)
        with torch.enable_grad():
            for _ in range(steps):
                descent.zero_grad()
                prediction = network(support_x)
                check_has_classes(loss_fn, prediction)
                check_labels(loss_fn, num_outputs(prediction), support_y)
                check_scalar(loss_fn(prediction, support_y)).backward()
                descent.step()
        with torch.no_grad(), evaluation_mode(network):
            output: Tensor = output_for_queries(network, query_statistics, support_x, query_x)
        return output

    return method


def ridge(penalty: float | Tensor, start: Tensor | None = None) -> Method:
    r"""Return the method that fits a linear model to a task, and is pulled towards a start (chapter 15).

    It predicts :math:`x^\top w` with the weights that minimise :math:`\sum_k (x_k^\top w - y_k)^2 + \sum_i p_i (w_i -
    s_i)^2`, which are :math:`w = s + (X^\top X + \operatorname{diag}(p))^{-1} X^\top (y - X s)`. A penalty of 0 is
    least squares; where several weights fit equally well, it takes those nearest to the start. The method also takes
    many tasks at once, with a leading dimension.

    Args:
        penalty: p, one number for all weights or a tensor of shape (weights,), not negative.
        start: s, of shape (weights,) (None: zeros).

    Raises:
        ValueError: a penalty that is negative or not finite, or one that is 0 for some weights alone.

    >>> x, y = torch.tensor([[1.0], [2.0]]), torch.tensor([[2.0], [4.0]])
    >>> [round(ridge(p)(x, y, torch.tensor([[1.0]])).item(), 4) for p in (0.0, 5.0)]
    [2.0, 1.0]
    """
    penalties = torch.as_tensor(penalty)
    if not (penalties.isfinite().all() and (penalties >= 0).all()):
        raise ValueError(f"penalty is {penalty}; it must be finite and not negative")
    without = bool((penalties == 0).all())
    if not without and (penalties == 0).any():
        raise ValueError(f"penalty is {penalty}; it must be 0 for all weights, which is least squares, or for none")

    def method(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        size = support_x.shape[-1]
        origin = support_x.new_zeros(size, 1) if start is None else start.to(support_x)[:, None]
        residual = support_y - support_x @ origin
        if without:
            change: Tensor = torch.linalg.pinv(support_x) @ residual
        else:
            pull = torch.diag(penalties.to(support_x).expand(size))
            change = torch.linalg.solve(support_x.mT @ support_x + pull, support_x.mT @ residual)
        prediction: Tensor = query_x @ (origin + change)
        return prediction

    return method


def check_has_classes(loss_fn: LossFn, prediction: Tensor) -> None:
    """Refuse cross-entropy over a single output: it is 0 whatever the network says, so that nothing is learned.

    Raises:
        ValueError: the predictions have one output an example, and the loss is cross-entropy.
    """
    is_cross_entropy = loss_fn is F.cross_entropy or isinstance(loss_fn, nn.CrossEntropyLoss)
    if is_cross_entropy and prediction.ndim > 1 and prediction.shape[1] == 1:
        raise ValueError(
            f"the loss is cross-entropy, but predictions have shape {tuple(prediction.shape)}, one output an example, "
            "for which it is always 0; for regression, pass loss_fn=F.mse_loss"
        )
