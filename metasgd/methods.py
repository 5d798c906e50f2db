"""Other ways to learn from tasks: Reptile and prototypical networks; both take part in ``metasgd.training.train``.

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
from metasgd._core.learner import LossFn
from metasgd._core.task import Tasks, as_list
from metasgd.baselines import class_means
from metasgd.meta_sgd import MetaSGD


class Reptile(MetaSGD):
    """Reptile: move the initialisation towards where plain SGD on each task ends (Nichol, Achiam, Schulman 2018).

    A meta-update runs ``inner_steps`` steps on minibatches of the task, support and query set together, then takes
    ``theta - theta'``, averaged over the tasks, for a gradient: nothing is differentiated twice. Step s has the
    examples s, s + inner_steps, s + 2 inner_steps, ..., so no example serves two steps. A new task is learned by as
    many steps on its support set.

    Args:
        model: see ``MetaSGD``.
        loss_fn: see ``MetaSGD``.
        task_lr: the rate of the inner steps.
        inner_steps: how many.
        meta_lr: epsilon, the part of the way that theta goes.
        meta_optimizer: makes the outer optimiser (plain SGD, as in the paper).
        options: see ``MetaSGD``.
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
            **options,
        )

    def meta_backward(self, tasks: Tasks) -> Tensor:
        """Leave ``theta - theta'``, the mean over tasks, in ``.grad``, and return the mean loss of the inner steps."""
        self.meta_optimizer.zero_grad()
        tasks, losses = as_list(tasks), []
        theta = {name: value for name, value in self.theta.items() if value.requires_grad}
        for value in theta.values():
            value.grad = torch.zeros_like(value)
        for task in tasks:
            x, y = torch.cat([task.support_x, task.query_x]), torch.cat([task.support_y, task.query_y])
            params = {name: value.detach().requires_grad_() for name, value in theta.items()}
            for step in range(self.inner_steps):
                part = slice(step, None, self.inner_steps)
                loss = self._loss(self.predict(x[part], params), y[part])
                gradients = torch.autograd.grad(loss, list(params.values()), materialize_grads=True)
                params = {
                    name: (value - self.alpha[name] * gradient).detach().requires_grad_()
                    for (name, value), gradient in zip(params.items(), gradients, strict=True)
                }
                losses.append(loss.detach())
            for name, value in theta.items():
                value.grad += (value - params[name]).detach() / len(tasks)  # type: ignore[operator]
        return torch.stack(losses).mean()


class PrototypicalNetwork(nn.Module):
    """A network whose features are compared with each class's mean feature (Snell, Swersky, Zemel 2017).

    The score of a class is minus the squared distance between a query's features and the mean of the class's support
    features. Nothing adapts: a task is learned by one forward pass.

    Args:
        model: from inputs (examples, ...) to features (examples, ...).
        meta_lr: the rate of Adam.
    """

    def __init__(self, model: nn.Module, *, meta_lr: float = 1e-3) -> None:
        super().__init__()
        self.model = model
        self.meta_optimizer = adam([{"params": list(model.parameters()), "lr": meta_lr}])

    def forward(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        """Return minus the squared distances to the class means, shape (queries, ways)."""
        means = class_means(self.model(support_x).flatten(1), support_y)
        return -(self.model(query_x).flatten(1).unsqueeze(1) - means).square().sum(2)

    def meta_loss(self, tasks: Tasks) -> Tensor:
        """Return the cross-entropy of the query sets, the mean over a batch or a list of tasks."""
        losses = [F.cross_entropy(self(*task[:3]), task.query_y) for task in as_list(tasks)]
        return torch.stack(losses).mean()

    def meta_update(self, tasks: Tasks) -> dict[str, float]:
        """Take one step of Adam on ``meta_loss(tasks)`` and return ``{"loss": ...}`` before it."""
        self.meta_optimizer.zero_grad()
        loss = self.meta_loss(tasks)
        loss.backward()
        check_finite(loss.detach(), tasks, self.meta_optimizer)
        self.meta_optimizer.step()
        return {"loss": loss.item()}

    def get_extra_state(self) -> dict[str, Any]:
        """Return the state of the outer optimiser, which ``state_dict`` holds besides the network."""
        return {"meta_optimizer": self.meta_optimizer.state_dict()}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what ``get_extra_state`` returned."""
        self.meta_optimizer.load_state_dict(copy.deepcopy(state["meta_optimizer"]))
