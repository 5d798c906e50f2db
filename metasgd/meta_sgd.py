"""The algorithm: one learner that meta-learns where to start (theta) and how to step from there (alpha).

Li, Zhou, Chen, Li: Meta-SGD: Learning to Learn Quickly for Few-Shot Learning, arXiv:1707.09835, Algorithm 1.
The formulas are derived in chapter 3 of the book, and the class is written from nothing in chapter 5.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd._core.adam import adam
from metasgd._core.checks import (
    check_finite,
    check_inner_steps,
    check_labels,
    check_model,
    check_rates,
    check_scalar,
    check_takes_tensors,
    check_task,
    num_outputs,
)
from metasgd._core.clipping import clipped, norm_or_default
from metasgd._core.functional import call_with
from metasgd._core.initial_rates import initial_rates
from metasgd._core.inner_steps import exchanged_steps, minibatches, starting_point
from metasgd._core.learner import LossFn
from metasgd._core.modes import evaluation_mode, no_inference_mode, outside_inference, with_gradients
from metasgd._core.outer_step import JumpWatch, clip, new_gradients, why_not_finite
from metasgd._core.running_statistics import check_statistics, keep_statistics
from metasgd._core.saved_learner import SavedLearner
from metasgd._core.task import Task, Tasks, as_batches, as_list, in_order_of, without_inference
from metasgd._core.trainable import as_module, check_parameters, trainable_names
from metasgd._core.trees import Tree, check_tree, with_own_containers
from metasgd.strategies import Execution, check_reading, meta_backward, predict_tasks, with_right_kernels
from metasgd.strategies.companions import QueryStatistics, check_keeps_nothing, read_queries


class MetaSGD(SavedLearner):
    """Meta-SGD for any module and any loss: ``theta' = theta - alpha * grad L(support; theta)``.

    The meta-gradient is exact (second order) unless ``first_order`` is set. Every task is adapted on its own, so
    tasks may differ in size. Inputs, outputs and targets may be trees of tensors, as ``Task`` says. ``strategy``,
    ``compile``, ``chunk`` and ``recompute`` decide how it is computed, and the results differ by rounding alone;
    ``precision`` trades digits for speed (chapters 9 and 10).

    Args:
        model: the network. Its parameters are theta at the start; those with ``requires_grad=False`` stay as
            they are, inside and outside. It is used in place, not copied.
        loss_fn: ``loss_fn(prediction, target) -> scalar``, for the support and the query set.
        query_loss_fn: a loss for the query set alone, whose targets may then be of another kind (None: ``loss_fn``).
        meta_lr: beta, the outer learning rate of theta.
        alpha_lr: gamma, the outer learning rate of alpha (None: the same as ``meta_lr``).
        task_lr: alpha at the start: a number, a ``(low, high)`` range drawn uniformly for every entry (the paper
            draws from (0.005, 0.1)), or a dict of tensors shaped like the parameters that adapt.
        inner_steps: gradient steps on the support set, all with the same alpha.
        first_order: drop the second derivatives from the meta-gradient of theta.
        learn_alpha: False holds alpha at its start, which with a single number is MAML (Finn et al. 2017).
        inner_max_norm: the largest norm of a task's gradient over all parameters; in an inner step a longer one is
            shortened to it (None: never; ``"auto"``: 10 with several inner steps, which may grow one another).
        max_norm: the same of the meta-gradient, theta's and alpha's together, before each outer step.
        meta_optimizer: makes the outer optimiser from two parameter groups, theta's and alpha's (Adam).
        query_statistics: by what batch norm normalises queries: all of them (``"queries"``), the support set
            (``"support"``), or this and the one query (``"support+query"``, slow); may be set later (chapter 7).
        seed: for drawing alpha from a range.
        strategy: ``"loop"`` (one task after the other, by autograd alone), ``"threads"`` (a task on each CPU core),
            ``"batched"`` (many tasks at once, by vmap), ``"streams"`` (a task in each stream of an NVIDIA GPU;
            recorded once for each size of tasks and then replayed, without the model's Python code), or ``"auto"``,
            which chooses by device, model and ``compile``.
        compile: compile the whole meta-gradient by Inductor, the compiler behind ``torch.compile``, once for each size
            of tasks. It takes about a minute, and in later processes seconds, as PyTorch keeps the result on the disk.
            On a CPU it needs a C++ compiler; without one, a warning is given and nothing is compiled. It is compiled
            anew when something changes that the code of the model or the loss reads (attributes, global variables,
            contents, but not the time, say), and, where that happens all the time, given up with a warning.
        chunk: the number of tasks computed at a time (None: as many as fit into memory, or, by ``"threads"``, one on
            each core unless they are large).
        precision: ``"float32"`` (as the tensors are), ``"tf32"`` (NVIDIA GPUs) or ``"bfloat16"`` (by autocast).
        recompute: compute each inner step a second time in the backward pass, so that memory does not grow with
            ``inner_steps``. Not for models that draw random numbers, nor for the loop.

    Raises:
        ValueError: a model without trainable parameters, or with running statistics that adaptation would overwrite;
            a loss that is not a scalar; tasks whose tensors disagree in length, dtype or device; a label out of range;
            a strategy or precision that does not exist, or not on this device; a parameter that would never train.
        FloatingPointError: a loss or a meta-gradient that is not finite; theta and alpha are then unchanged.

    >>> learner = MetaSGD(nn.Linear(1, 1), F.mse_loss, task_lr=0.1, strategy="loop")
    >>> x = torch.linspace(-1, 1, 6).reshape(3, 2, 1)                       # three tasks of two examples
    >>> sorted(learner.meta_update(Task(x, 2 * x, -x, -2 * x)))
    ['loss']
    """

    query_statistics = QueryStatistics()

    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFn = F.cross_entropy,
        *,
        query_loss_fn: LossFn | None = None,
        meta_lr: float = 1e-3,
        alpha_lr: float | None = None,
        task_lr: float | tuple[float, float] | Mapping[str, Tensor] = (0.005, 0.1),
        inner_steps: int = 1,
        first_order: bool = False,
        learn_alpha: bool = True,
        inner_max_norm: float | str | None = "auto",
        max_norm: float | str | None = "auto",
        meta_optimizer: Callable[..., torch.optim.Optimizer] = adam,
        query_statistics: str = "queries",
        seed: int = 0,
        strategy: str = "auto",
        compile: bool = False,
        chunk: int | None = None,
        precision: str = "float32",
        recompute: bool = False,
    ) -> None:
        super().__init__()
        check_model(model)
        check_parameters(model, (loss_fn, query_loss_fn))
        check_inner_steps(inner_steps)
        check_rates(meta_lr=meta_lr, alpha_lr=alpha_lr)
        self.model = model
        self._keep_statistics = keep_statistics(model)  # which may be put into training mode later
        self.loss_fn = loss_fn
        self.query_loss_fn = query_loss_fn
        self.query_statistics = query_statistics
        self.inner_steps = inner_steps
        self.inner_max_norm = norm_or_default("inner_max_norm", inner_max_norm, inner_steps)
        self.max_norm = norm_or_default("max_norm", max_norm, inner_steps)
        self.first_order = first_order
        self.learns_alpha = learn_alpha
        self.execution = Execution(strategy, compile, chunk, precision, recompute)
        with no_inference_mode():  # a second module holds alpha, with the names of the parameters that adapt
            self.rates = as_module(initial_rates(self.theta, task_lr, seed)).requires_grad_(learn_alpha)
        groups = [{"params": [p for p in model.parameters() if p.requires_grad], "lr": meta_lr}]
        if learn_alpha:
            groups.append({"params": list(self.rates.parameters()), "lr": meta_lr if alpha_lr is None else alpha_lr})
        self.meta_optimizer = meta_optimizer(groups)
        self.made_with_rates = [group["lr"] for group in self.meta_optimizer.param_groups]
        self._has_gradients, self._jumps = False, JumpWatch()

    @property
    def theta(self) -> dict[str, Tensor]:
        """The initialisation, by parameter name."""
        return dict(self.model.named_parameters())

    @property
    def alpha(self) -> dict[str, Tensor]:
        """The learning rate of every entry of the parameters that adapt, with their names and shapes in ``theta``."""
        return dict(self.rates.named_parameters())

    @with_right_kernels
    def predict(self, x: Tree, params: Mapping[str, Tensor] | None = None, support_x: Tree | None = None) -> Any:
        """Return the model's output for ``x`` with ``params`` in place of its parameters (None: theta).

        With ``params``, ``query_statistics`` other than ``"queries"`` needs the inputs of the support set, too.
        """
        if params is None and support_x is None:
            return self._output(None, x)
        return read_queries(self, partial(self._output, params), support_x, x)

    def _output(self, params: Mapping[str, Tensor] | None, x: Tree) -> Any:
        check_statistics(self._keep_statistics)
        check_tree("x", x)
        return self.model(with_own_containers(x)) if params is None else call_with(self.model, params, x)

    @outside_inference
    @with_right_kernels
    def inner_update(
        self,
        x: Tree,
        y: Tree,
        params: Mapping[str, Tensor] | None = None,
        steps: int | None = None,
        *,
        batch_size: int | None = None,
    ) -> dict[str, Tensor]:
        """Adapt to one support set: ``theta' = theta - alpha * grad L(x, y; theta)``, once per inner step.

        The result is differentiable in theta and alpha, except under ``torch.no_grad()``, where it is detached.

        Args:
            x: the inputs of the support set.
            y: its targets.
            params: go on from these (None: theta), e.g. from what an earlier call returned.
            steps: the number of steps (None: ``inner_steps``; 0: none).
            batch_size: examples in a step, from the first on and around again, for a support set that is too large
                for one gradient (None: all of them in every step, as the strategies take them).
        """
        differentiable = torch.is_grad_enabled()
        alpha, names = self.alpha, trainable_names(self.theta, self.alpha)
        params = starting_point(self.theta, params, names)
        with torch.enable_grad():
            for part_x, part_y in minibatches(x, y, batch_size, self.inner_steps if steps is None else steps):
                gradients = torch.autograd.grad(
                    self._loss(self._output(params, part_x), part_y),
                    [params[name] for name in names],
                    create_graph=differentiable and not self.first_order,
                    materialize_grads=True,  # zero, not None, for a parameter that the loss does not depend on
                )
                params = params | {
                    name: params[name] - alpha[name] * gradient
                    for name, gradient in zip(names, clipped(gradients, self.inner_max_norm), strict=True)
                }
        return params if differentiable else {name: value.detach() for name, value in params.items()}

    @outside_inference
    @with_right_kernels
    def forward(self, support_x: Tree, support_y: Tree, query_x: Tree, steps: int | None = None) -> Any:
        """Adapt to one support set and predict the query set: what ``metasgd.evaluate`` calls."""
        return self.predict(query_x, self.inner_update(support_x, support_y, steps=steps), support_x)

    def predict_tasks(self, tasks: Tasks, steps: int | None = None) -> Tree | list[Tree]:
        """Adapt to every task and predict its query set, by the strategy, in evaluation mode and without gradients.

        Args:
            tasks: a batch or a list of tasks.
            steps: inner steps (None: ``inner_steps``).

        Returns:
            the model's outputs, (B, queries, ...), which differ from ``forward``'s by rounding alone; a list of one
            output a task, in the order of the tasks, where they differ in shape. Outputs that are trees of tensors
            are put together tensor by tensor.
        """
        with no_inference_mode(), evaluation_mode(self.model), exchanged_steps(self, steps):
            check_reading(self, tasks)
            batches = [predict_tasks(self, without_inference(batch)) for batch in as_batches(tasks)]
        return in_order_of(tasks, batches)

    @outside_inference
    @with_right_kernels
    def task_loss(self, task: Task) -> Tensor:
        """Return the query loss of one task after adaptation, ``L(query; theta')``, a scalar tensor."""
        check_task(task, one_loss=self.query_loss_fn is None)
        check_keeps_nothing(self, task.support_x)
        prediction = self(task.support_x, task.support_y, task.query_x)
        return self._loss(prediction, task.query_y, self.query_loss_fn)

    @outside_inference
    def meta_loss(self, tasks: Tasks) -> Tensor:
        """Return the mean query loss over a batch or a list of tasks: the objective of theta and alpha."""
        check_reading(self, tasks)
        return torch.stack([self.task_loss(task) for task in as_list(tasks)]).mean()

    def meta_update(self, tasks: Tasks) -> dict[str, float]:
        """Take one step of the outer optimiser on ``meta_loss(tasks)`` and return ``{"loss": ...}`` before it."""
        return self.meta_step(self.meta_backward(tasks), tasks)

    @with_gradients
    def meta_backward(self, tasks: Tasks, *, accumulate: bool = False, weight: float = 1.0) -> Tensor:
        """Put the gradient of ``meta_loss(tasks)`` into ``.grad`` of theta and alpha; return that loss, detached.

        A meta-batch that is too large for the memory is taken in parts, before one ``meta_step``. For the mean over
        all of its tasks, each part has as its weight its share of the tasks.

        Args:
            tasks: a batch or a list of tasks.
            accumulate: add to the gradients of the calls since the last ``meta_step``, not replace them.
            weight: a factor of these gradients; the loss is returned without it.
        """
        check_statistics(self._keep_statistics)
        with new_gradients(self, weight, keep=accumulate and self._has_gradients):
            loss = self._add_gradients(tasks)
        self._has_gradients = True
        return loss

    @with_gradients
    def meta_step(self, loss: Tensor, tasks: Tasks) -> dict[str, float]:
        """Take the outer step by the gradients of ``meta_backward``; refuse numbers that are not finite."""
        self._has_gradients = False
        metrics = {"loss": loss.item()}  # before the step, so that nobody waits until a GPU has taken it
        why = partial(why_not_finite, self, metrics["loss"], tasks)
        norm = check_finite(metrics["loss"], tasks, self.meta_optimizer, why)
        if self.max_norm is not None:
            clip(self.meta_optimizer, norm, self.max_norm)
        self._jumps.see(metrics["loss"])
        self.meta_optimizer.step()
        return metrics

    def _add_gradients(self, tasks: Tasks) -> Tensor:
        """Add the gradients of the mean query loss to ``.grad``, and return that loss; other methods do otherwise."""
        return meta_backward(self, tasks)

    def _loss(self, prediction: Any, target: Tree, loss_fn: LossFn | None = None) -> Tensor:
        loss_fn = self.loss_fn if loss_fn is None else loss_fn
        check_tree("y", target)
        check_takes_tensors(loss_fn, prediction, target)
        check_labels(loss_fn, num_outputs(prediction), target)
        return check_scalar(loss_fn(prediction, with_own_containers(target)))

    def saved_options(self) -> dict[str, Any]:
        """Return the arguments of the class that are saved: those that decide predictions, or how training goes on."""
        names = ("inner_steps", "first_order", "inner_max_norm", "max_norm", "query_statistics")
        others = {"learn_alpha": self.learns_alpha, "precision": self.execution.precision}
        return {name: getattr(self, name) for name in names} | others
