"""What a learner offers to the modules below it: the strategies compute with it, the checks look at it.

``metasgd.meta_sgd.MetaSGD`` satisfies these protocols. They stand on the ground floor so that a strategy need not
import that class, which imports the strategies.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from metasgd._core.task import Task
from metasgd._core.trees import Tree

LossFn = Callable[[Any, Any], Tensor]  # (prediction, target) -> scalar
TensorFunction = Callable[..., Any]  # tensors -> a sequence of tensors


class FunctionCacheLike(Protocol):
    """A store of functions in a faster form, such as ``metasgd.strategies.function_cache.FunctionCache``."""

    def clear(self) -> None:
        """Forget all functions."""
        ...

    def get_or_make(self, key: Hashable, function: TensorFunction, inputs: Sequence[Tensor]) -> TensorFunction | None:
        """Return the fast form of ``function`` for such inputs, or None if there is none."""
        ...


class HeldByPythonLike(Protocol):
    """What Python holds for a learner: ``metasgd.strategies.held_by_python.HeldByPython`` says more."""

    def key(self, learner: "Learner") -> tuple[Hashable, ...] | None:
        """Return a key that changes with what Python holds, or None if it changes too often."""
        ...


class ExecutionLike(Protocol):
    """How a learner computes, and what it has found out about that: ``metasgd.strategies.Execution`` says more."""

    strategy: str
    compile: bool
    chunk: int | None
    precision: str
    recompute: bool
    dropout: list[nn.modules.dropout._DropoutNd] | None
    chosen: str | None
    tasks_at_a_time: dict[Hashable, int]
    known: dict[Hashable, Any]

    @property
    def compiled(self) -> FunctionCacheLike:
        """Compiled functions."""
        ...

    @property
    def recordings(self) -> FunctionCacheLike:
        """Functions recorded as CUDA graphs."""
        ...

    @property
    def held(self) -> HeldByPythonLike:
        """What Python holds that compiled and recorded functions depend on."""
        ...


class Learner(Protocol):
    """A model with a learning rate for every entry of its parameters, which adapts to a support set."""

    model: nn.Module
    loss_fn: LossFn
    query_loss_fn: LossFn | None
    inner_steps: int
    inner_max_norm: float | None
    first_order: bool
    learns_alpha: bool
    meta_optimizer: torch.optim.Optimizer

    @property
    def execution(self) -> ExecutionLike:
        """How the learner computes."""
        ...

    @property
    def query_statistics(self) -> str:
        """By which statistics queries are normalised: see ``metasgd.strategies.query_statistics``."""
        ...

    @property
    def theta(self) -> dict[str, Tensor]:
        """The initialisation, by parameter name."""
        ...

    @property
    def alpha(self) -> dict[str, Tensor]:
        """The learning rates, with the names and shapes of ``theta``."""
        ...

    def predict(self, x: Tree, params: Mapping[str, Tensor] | None = None, support_x: Tree | None = None) -> Any:
        """Return the model's output with ``params`` in place of its parameters."""
        ...

    def task_loss(self, task: Task) -> Tensor:
        """Return the query loss of one task after adaptation."""
        ...

    def __call__(self, support_x: Tree, support_y: Tree, query_x: Tree) -> Any:
        """Adapt to a support set and predict a query set."""
        ...
