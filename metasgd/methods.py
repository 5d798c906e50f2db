"""Other meta-learning methods: Reptile and prototypical networks (chapter 8).

Both can be meta-trained by ``metasgd.training.train`` and tested by ``metasgd.evaluate``.
MAML, ANIL and their first-order forms are ``MetaSGD`` or ``SharedRates`` with ``learn_alpha=False``
(chapters 8 and 11). Fine-tuning is in ``metasgd.recipes.pretraining``.
"""

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd._core.adam import adam
from metasgd._core.checks import check_finite
from metasgd._core.clipping import clipped
from metasgd._core.learner import LossFn
from metasgd._core.task import Tasks, as_list, check_parts
from metasgd._core.trees import Tree, join, map_tensors
from metasgd.baselines import class_means
from metasgd.meta_sgd import MetaSGD
from metasgd.strategies.query_statistics import QueryStatistics, output_for_queries


class Reptile(MetaSGD):
    """Reptile: move the initialisation towards where SGD on each task ends (Nichol, Achiam, Schulman 2018; chapter 8).

    In a meta-update, ``inner_steps`` steps of SGD are taken on each task, on minibatches of its support and query set
    taken together. Then ``theta - theta'``, averaged over the tasks, serves as the gradient of theta; no gradient is
    differentiated. Step s uses the examples s, s + inner_steps, s + 2 inner_steps, ..., so no example is used twice.
    To adapt to a new task, the same number of steps is taken on its whole support set.

    Args:
        model: see ``MetaSGD``.
        loss_fn: see ``MetaSGD``.
        task_lr: the learning rate of the inner steps.
        inner_steps: the number of inner steps.
        meta_lr: epsilon, the fraction of the way from theta to theta' that a meta-update goes.
        meta_optimizer: makes the outer optimiser (plain SGD, as in the paper).
        options: see ``MetaSGD``; gradients are not clipped unless ``max_norm`` or ``inner_max_norm`` says so.
    """

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFn = F.cross_entropy,
        *,
        task_lr: float = 0.1,
        inner_steps: int = 5,
        meta_lr: float = 1.0,
        meta_optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.SGD,
        **options: Any,
    ) -> None:
        super().__init__(
            model,
            loss_fn,
            task_lr=task_lr,
            inner_steps=inner_steps,
            meta_lr=meta_lr,
            meta_optimizer=meta_optimizer,
            learn_alpha=False,
            **{"max_norm": None, "inner_max_norm": None} | options,
        )
        if self.query_loss_fn is not None:
            raise ValueError("Reptile takes support and query set together, by one loss; leave query_loss_fn out")

    def saved_options(self) -> dict[str, Any]:
        """Return the arguments of the class that are saved; see ``MetaSGD``."""
        return {name: value for name, value in super().saved_options().items() if name != "learn_alpha"}

    def _add_gradients(self, tasks: Tasks) -> Tensor:
        """Store the mean of ``theta - theta'`` over the tasks in ``.grad`` of theta.

        Returns:
            The loss of an inner step on its minibatch, a scalar: the mean over all steps of all tasks.
        """
        tasks, losses = as_list(tasks), []
        theta = {name: value for name, value in self.theta.items() if value.requires_grad}
        for value in theta.values():
            value.grad = torch.zeros_like(value)
        for task in tasks:
            check_parts(task)
            x, y = join(torch.cat, [task.support_x, task.query_x]), join(torch.cat, [task.support_y, task.query_y])
            params = {name: value.detach().requires_grad_() for name, value in theta.items()}
            for step in range(self.inner_steps):
                part = slice(step, None, self.inner_steps)
                loss = self._loss(self._output(params, sliced(x, part)), sliced(y, part))
                gradients = torch.autograd.grad(loss, list(params.values()), materialize_grads=True)
                params = {
                    name: (value - self.alpha[name] * gradient).detach().requires_grad_()
                    for (name, value), gradient in zip(
                        params.items(), clipped(gradients, self.inner_max_norm), strict=True
                    )
                }
                losses.append(loss.detach())
            for name, value in theta.items():
                value.grad += (value - params[name]).detach() / len(tasks)  # type: ignore[operator]
        return torch.stack(losses).mean()


def sliced(tree: Tree, part: slice) -> Tree:
    """Return the tensors of a tree, each from its first to its last entry of a part of the leading dimension."""
    return map_tensors(lambda values: values[part], tree)


class PrototypicalNetwork(nn.Module):
    """A network whose features are compared with the mean features of each class (Snell et al. 2017; chapter 8).

    The score of a class is minus the squared distance between the features of a query and the mean of the features of
    the class's support examples. No parameter adapts to a task.

    Args:
        model: takes inputs of shape (examples, ...) and returns features of shape (examples, ...).
        meta_lr: the learning rate of Adam.
        query_statistics: by what batch normalisation normalises queries, as in ``MetaSGD``; the attribute may be set.
    """

    query_statistics = QueryStatistics()

    def __init__(self, model: nn.Module, *, meta_lr: float = 1e-3, query_statistics: str = "queries") -> None:
        super().__init__()
        self.model = model
        self.query_statistics = query_statistics
        self.meta_optimizer = adam([{"params": list(model.parameters()), "lr": meta_lr}])

    def forward(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        """Return the scores of the queries of one task: minus the squared distances to the class means.

        Args:
            support_x: inputs of shape (examples, ...).
            support_y: int64 labels 0 to ways - 1, of shape (examples,), each label at least once.
            query_x: inputs of shape (queries, ...).

        Returns:
            The scores, of shape (queries, ways).
        """
        means = class_means(self.model(support_x).flatten(1), support_y)
        features = output_for_queries(self.model, self.query_statistics, support_x, query_x).flatten(1)
        scores: Tensor = -(features.unsqueeze(1) - means).square().sum(2)
        return scores

    def meta_loss(self, tasks: Tasks) -> Tensor:
        """Return the cross-entropy of the query sets, a scalar: the mean over a batch or a list of tasks."""
        losses = [F.cross_entropy(self(*task[:3]), task.query_y) for task in as_list(tasks)]
        return torch.stack(losses).mean()

    def meta_update(self, tasks: Tasks) -> dict[str, float]:
        """Take one step of Adam on ``meta_loss(tasks)``, and return ``{"loss": ...}``, the loss before the step.

        Raises:
            FloatingPointError: the loss or its gradient is not finite; nothing has changed.
        """
        self.meta_optimizer.zero_grad()
        loss = self.meta_loss(tasks)
        loss.backward()
        metrics = {"loss": loss.item()}
        check_finite(metrics["loss"], tasks, self.meta_optimizer)
        self.meta_optimizer.step()
        return metrics

    def get_extra_state(self) -> dict[str, Any]:
        """Return the state of the outer optimiser, which ``state_dict`` contains in addition to the network."""
        return {"meta_optimizer": self.meta_optimizer.state_dict()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what ``get_extra_state`` returned."""
        self.meta_optimizer.load_state_dict(copy.deepcopy(state["meta_optimizer"]))
