"""What a learner offers to the parts below it: strategies compute with it, checks look at it.

``metasgd.meta_sgd.MetaSGD`` is one. The protocol stands on the ground floor, so that neither imports the other.
"""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from metasgd._core.task import Task

LossFn = Callable[[Tensor, Tensor], Tensor]


class Learner(Protocol):
    """A model with a learning rate for every entry of its parameters, which adapts to a support set."""

    model: nn.Module
    loss_fn: LossFn
    inner_steps: int
    first_order: bool
    learns_alpha: bool
    execution: Any
    meta_optimizer: torch.optim.Optimizer

    @property
    def theta(self) -> dict[str, Tensor]:
        """The initialisation, by parameter name."""
        ...

    @property
    def alpha(self) -> dict[str, Tensor]:
        """The learning rates, with the names and shapes of ``theta``."""
        ...

    def predict(self, x: Tensor, params: Mapping[str, Tensor] | None = None) -> Tensor:
        """Return the model's output with ``params`` in place of its parameters."""
        ...

    def task_loss(self, task: Task) -> Tensor:
        """Return the query loss of one task after adaptation."""
        ...

    def __call__(self, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        """Adapt to a support set and predict a query set."""
        ...
