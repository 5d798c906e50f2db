"""What all tasks of a meta-update share: the tensors and settings of a learner, as they are when the step begins."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from metasgd._core.checks import check_scalar
from metasgd._core.copies import copy_sharing_tensors
from metasgd._core.functional import call_with, places_of_tensors
from metasgd._core.learner import Learner
from metasgd._core.task import Task, tensors_of_task
from metasgd._core.trainable import trainable_names
from metasgd._core.trees import Tree, form_of, map_tensors, take_apart, with_own_containers
from metasgd.strategies.norm_by_first import compilable_norm_by_first, fast_norm_by_first, norm_by_first
from metasgd.strategies.norm_then_pool import pool_before_norm
from metasgd.strategies.precision import autocast_of_the_caller, forward_precision
from metasgd.strategies.query_statistics import SUPPORT, output_for_queries
from metasgd.strategies.replaced_functions import (
    COMPILABLE_FUNCTIONS,
    FAST_FUNCTIONS,
    VMAP_SAFE_FUNCTIONS,
    ReplaceFunctions,
)
from metasgd.strategies.tensor_lists import FOREACH, TENSOR_BY_TENSOR, ListArithmetic

Tensors = list[Tensor]


class MetaGradient(NamedTuple):
    """What one or more tasks contribute to the mean query loss and to its gradient in theta and in alpha.

    Both gradients are lists of tensors, in the order of the names of the snapshot; that in alpha is empty if alpha is
    held fixed.
    """

    loss: Tensor
    theta: Tensors
    alpha: Tensors


class LearnerSnapshot(NamedTuple):
    """The tensors of a learner, detached, and what is needed to compute a task's loss with others in their place.

    Attributes:
        learner: with its settings.
        model: computes the support set.
        query_model: the same function for query sets, which need one derivative only.
        is_batch: whether the functions of a snapshot and tasks are given a batch of tasks, with a leading dimension of
            tasks on every tensor, or one task.
        num_tasks: in the meta-update, over which the mean is taken.
        variables: theta and alpha themselves, whose ``.grad`` is wanted.
        names: of the parameters that adapt.
        theta: the values of these parameters.
        alpha: their learning rates.
        fixed: frozen parameters and buffers, by name.
        places: of parameters and buffers in the model, with their names (None: to be found at each call).
        autocast: the dtype of the caller's ``torch.autocast``, if there is one.
        held: what Python holds that a compiled function depends on (None: it changes too often to compile anything).
        for_compiler: whether a compiler traces the computation.
        keeps: whether the model keeps tensors in its attributes, so that it is called itself, and no copy of it: the
            loss may read them.
    """

    learner: Learner
    model: nn.Module
    query_model: nn.Module
    is_batch: bool
    num_tasks: int
    variables: Tensors
    names: tuple[str, ...]
    theta: Tensors
    alpha: Tensors
    fixed: dict[str, Tensor]
    places: dict[str, str] | None
    autocast: torch.dtype | None = None
    held: tuple[Hashable, ...] | None = ()
    for_compiler: bool = False
    keeps: bool = False

    @classmethod
    def of(cls, learner: Learner, *, is_batch: bool, num_tasks: int = 1) -> LearnerSnapshot:
        """Take a snapshot of a learner; for single tasks, filters are stored channels last."""
        theta, alpha = learner.theta, learner.alpha
        names = tuple(trainable_names(theta, alpha))
        frozen = {name: value.detach() for name, value in theta.items() if not value.requires_grad}
        store = Tensor.detach if is_batch else detached_channels_last
        records = "streams" in (learner.execution.strategy, learner.execution.chosen)
        learned = (theta, alpha) if learner.learns_alpha else (theta,)
        return cls(
            learner,
            learner.model,
            learner.model,
            is_batch,
            num_tasks,
            [values[name] for values in learned for name in names],
            names,
            [store(theta[name]) for name in names],
            [store(alpha[name]) for name in names],
            frozen | (dict(learner.model.named_buffers()) if has_buffers(learner.model) else {}),
            None if learner.execution.compile else places_of_tensors(learner.model),
            autocast_of_the_caller(next(iter(theta.values())).device),
            learner.execution.held.key(learner) if learner.execution.compile or records else (),
        )

    def with_own_models(self) -> LearnerSnapshot:
        """Return the snapshot with models that no other thread uses; that of query sets pools before it normalises.

        It does not if queries are normalised by other statistics than their own. A model that keeps tensors is used
        itself.
        """
        if self.keeps:
            return self
        model, compiled = self.learner.model, self.learner.execution.compile
        query_model = copy_sharing_tensors(model)
        if self.learner.query_statistics != SUPPORT:
            query_model = pool_before_norm(query_model, compilable=compiled)
        return self._replace(model=copy_sharing_tensors(model), query_model=query_model)

    def loss(self, params: Tensors, x: Tree, y: Tree) -> Tensor:
        """Return the loss of one task's support set with the given parameters, a scalar."""
        with forward_precision(self.learner.execution.precision, self.theta[0].device), self.replaced_functions:
            return check_scalar(self.learner.loss_fn(self.call_model(params, x), with_own_containers(y)))

    def query_loss(self, params: Tensors, support_x: Tree, x: Tree, y: Tree) -> Tensor:
        """Return the loss of one task's query set, a scalar."""
        loss_fn = self.learner.loss_fn if self.learner.query_loss_fn is None else self.learner.query_loss_fn
        with forward_precision(self.learner.execution.precision, self.theta[0].device), self.replaced_functions:
            return check_scalar(loss_fn(self.read_queries(params, support_x, x), with_own_containers(y)))

    def query_output(self, params: Tensors, support_x: Tree, x: Tree) -> Any:
        """Return the model's output for one task's query set with the given parameters."""
        with forward_precision(self.learner.execution.precision, self.theta[0].device), self.replaced_functions:
            return self.read_queries(params, support_x, x)

    def read_queries(self, params: Tensors, support_x: Tree, x: Tree) -> Any:
        """Return the model's output for a query set, within the contexts of ``query_loss`` and ``query_output``."""
        for_single_tasks = compilable_norm_by_first if self.for_compiler else fast_norm_by_first
        normalise = norm_by_first if self.is_batch else for_single_tasks
        call = partial(self.call_model, params)
        return output_for_queries(call, self.learner.query_statistics, support_x, x, normalise)

    def call_model(self, params: Tensors, x: Tree) -> Any:
        """Return the model's output for a batch of examples, within the contexts of ``loss``."""
        tensors = self.fixed | dict(zip(self.names, params, strict=True))
        return call_with(self.model, tensors, x, self.places)

    @property
    def replaced_functions(self) -> ReplaceFunctions:
        """The context in which a model and a loss are called."""
        for_single_tasks = COMPILABLE_FUNCTIONS if self.for_compiler else FAST_FUNCTIONS
        return ReplaceFunctions(VMAP_SAFE_FUNCTIONS if self.is_batch else for_single_tasks)

    @property
    def lists(self) -> ListArithmetic:
        """How to compute with lists of tensors."""
        return TENSOR_BY_TENSOR if self.for_compiler else FOREACH

    # A compiler and a recorder of CUDA graphs want a function of tensors that returns tensors.

    def tensors(self, tasks: Task) -> Tensors:
        """Return all tensors that the meta-gradient of a task, or of a batch of them, depends on."""
        return [*self.theta, *self.alpha, *self.fixed.values(), *tensors_of_task(tasks)]

    def as_function_of_tensors(
        self, compute: Callable[[LearnerSnapshot, Task], MetaGradient], tasks: Task
    ) -> Callable[..., tuple[Tensor, ...]]:
        """Return ``compute(self, tasks)`` as a function of ``self.tensors(tasks)``, whose results are tensors."""
        count, fixed_names = len(self.names), list(self.fixed)

        def function(*tensors: Tensor) -> tuple[Tensor, ...]:
            theta, alpha, rest = list(tensors[:count]), list(tensors[count : 2 * count]), tensors[2 * count :]
            fixed = dict(zip(fixed_names, rest, strict=False))
            _, as_task = take_apart(tasks)
            task = as_task(rest[len(fixed_names) :])
            result = compute(self._replace(theta=theta, alpha=alpha, fixed=fixed), task)
            return result.loss, *result.theta, *result.alpha

        return function

    def as_meta_gradient(self, results: Sequence[Tensor]) -> MetaGradient:
        """Return what a function made by ``as_function_of_tensors`` has returned, sorted."""
        loss, *gradients = results
        return MetaGradient(loss, gradients[: len(self.names)], gradients[len(self.names) :])

    def cache_key(self, tasks: Task) -> tuple[Hashable, ...]:
        """Return everything besides ``tensors(tasks)`` that the meta-gradient depends on and that may change."""
        learner = self.learner
        return (
            *(form_of(tree) for tree in tasks if not isinstance(tree, Tensor)),
            self.is_batch,
            self.num_tasks,
            self.names,
            *self.fixed,
            learner.inner_steps,
            learner.inner_max_norm,
            learner.first_order,
            learner.learns_alpha,
            learner.query_statistics,
            learner.execution.precision,
            learner.execution.recompute,
            self.autocast,
            self.held,  # with which modules are in training mode
        )


def has_buffers(module: nn.Module) -> bool:
    """Tell whether there is a buffer in a module, in less time than it takes to look for their names."""
    return bool(module._buffers) or any(has_buffers(part) for part in module._modules.values() if part is not None)


def detached_channels_last(tensor: Tensor) -> Tensor:
    """Return a tensor without its graph, stored as ``channels_last`` says."""
    return channels_last(tensor.detach())


def channels_last(tensor: Tensor) -> Tensor:
    """Store images or filters so that the channels of a pixel are neighbours, which CPU kernels are fastest with."""
    return tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def images_channels_last(task: Task) -> Task:
    """Store the images of a task channels last."""
    support_x, query_x = map_tensors(channels_last, task.support_x), map_tensors(channels_last, task.query_x)
    return Task(support_x, task.support_y, query_x, task.query_y)
