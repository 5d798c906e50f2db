"""The peers of the benchmark: the same meta-update by other libraries, as their users write it (chapter 9).

The package needs none of these libraries. Each is imported when its contender is built, so a library that is not
installed costs nothing. All peers have the common start, the loss and the outer optimiser, and compute the exact
second-order meta-gradient of the mean query loss after one inner step. See ``metasgd.benchmark.jax_peer`` for JAX.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from metasgd._core.adam import adam
from metasgd._core.learner import LossFn
from metasgd._core.task import Task, as_list
from metasgd.benchmark.contender import META_LR, Contender, Gradients, Start, gradients_of
from metasgd.benchmark.jax_peer import jax_contender

TaskLoss = Callable[[Task], Tensor]  # the query loss of one task after adaptation
# Makes a task loss from a network, one rate tensor for each of its parameters, and a loss.
TaskLossMaker = Callable[[nn.Module, list[nn.Parameter], LossFn], TaskLoss]


class Peer(NamedTuple):
    """A contender from another library.

    Attributes:
        package: what must be installed (None: nothing).
        build: makes the contender at a start.
    """

    package: str | None
    build: Callable[[Start], Contender]


def torch_contender(start: Start, make_task_loss: TaskLossMaker) -> Contender:
    """Return the meta-update that users of a PyTorch library write: a loop over tasks, each with its backward pass."""
    network = copy.deepcopy(start.network)
    rates = [nn.Parameter(rate.clone()) for rate in start.rates.values()]
    theta = list(network.parameters())
    task_loss = make_task_loss(network, rates, start.loss_fn)
    optimizer = adam([{"params": [*theta, *rates], "lr": META_LR}])

    def backward(tasks: Task) -> Tensor:
        optimizer.zero_grad()
        total = torch.zeros((), device=tasks.support_x.device)
        for task in as_list(tasks):
            loss = task_loss(task) / len(tasks.support_x)
            loss.backward()
            total += loss.detach()
        return total

    def step(tasks: Task) -> float:
        total = backward(tasks)
        optimizer.step()
        return total.item()

    def gradients(tasks: Task) -> Gradients:
        backward(tasks)
        return gradients_of(theta), gradients_of(rates)

    return Contender(step, gradients)


# ---------------------------------------------------------------------------------------------------------------
# The algorithm of learn2learn, without the package


def learn2learn_algorithm(network: nn.Module, rates: list[nn.Parameter], loss_fn: LossFn) -> TaskLoss:
    """Do what learn2learn's ``MetaSGD`` does: clone the modules, and store each update as an attribute of a parameter.

    This needs no package, so it always takes part, as the reference for the speed of all others.
    """

    def task_loss(task: Task) -> Tensor:
        clone, clone_rates = clone_module(network), [rate.clone() for rate in rates]
        parameters = list(clone.parameters())
        loss = loss_fn(clone(task.support_x), task.support_y)
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, create_graph=True)
        for parameter, rate, gradient in zip(parameters, clone_rates, gradients, strict=True):
            parameter.update = -rate * gradient  # type: ignore[attr-defined]
        apply_updates(clone)
        return loss_fn(clone(task.query_x), task.query_y)

    return task_loss


def clone_module(module: nn.Module) -> nn.Module:
    """Return a copy of a module whose parameters are differentiable copies of the module's parameters."""
    clone = module.__new__(type(module))
    clone.__dict__ = module.__dict__ | {
        "_parameters": {name: p if p is None else p.clone() for name, p in module._parameters.items()},
        "_modules": {name: None if child is None else clone_module(child) for name, child in module._modules.items()},
    }
    return clone


def apply_updates(module: nn.Module) -> None:
    """Replace each parameter of a cloned module by its sum with the update that is stored as its attribute."""
    for name, parameter in module._parameters.items():
        if parameter is not None:
            module._parameters[name] = parameter + parameter.update  # type: ignore[attr-defined]
    for child in module.children():
        apply_updates(child)


# ---------------------------------------------------------------------------------------------------------------
# Packages


def learn2learn_package(network: nn.Module, rates: list[nn.Parameter], loss_fn: LossFn) -> TaskLoss:
    """Use ``learn2learn.algorithms.MetaSGD``."""
    import learn2learn

    meta_sgd = learn2learn.algorithms.MetaSGD(network, lrs=nn.ParameterList(rates))

    def task_loss(task: Task) -> Tensor:
        clone = meta_sgd.clone()
        clone.adapt(loss_fn(clone(task.support_x), task.support_y))
        return loss_fn(clone(task.query_x), task.query_y)

    return task_loss


def higher_package(network: nn.Module, rates: list[nn.Parameter], loss_fn: LossFn) -> TaskLoss:
    """Use ``higher.innerloop_ctx``; every parameter has a parameter group of its own, and so a rate of its own."""
    import higher

    inner = torch.optim.SGD([{"params": [parameter]} for parameter in network.parameters()], lr=1.0)

    def task_loss(task: Task) -> Tensor:
        with higher.innerloop_ctx(network, inner, copy_initial_weights=False, override={"lr": rates}) as (fast, sgd):
            sgd.step(loss_fn(fast(task.support_x), task.support_y))
            return loss_fn(fast(task.query_x), task.query_y)

    return task_loss


def torchopt_package(network: nn.Module, rates: list[nn.Parameter], loss_fn: LossFn) -> TaskLoss:
    """Use ``torchopt.MetaOptimizer`` with a transformation that multiplies each gradient by its rate."""
    import torchopt
    from torchopt.base import EmptyState, GradientTransformation

    rate_of = dict(zip(network.parameters(), rates, strict=True))

    def update(
        gradients: Sequence[Tensor], state: Any, *, params: Sequence[nn.Parameter], inplace: bool
    ) -> tuple[tuple[Tensor, ...], Any]:
        return tuple(-rate_of[p] * gradient for p, gradient in zip(params, gradients, strict=True)), state

    inner = torchopt.MetaOptimizer(network, GradientTransformation(lambda params: EmptyState(), update))
    initial_state = torchopt.extract_state_dict(network, by="reference")

    def task_loss(task: Task) -> Tensor:
        inner.step(loss_fn(network(task.support_x), task.support_y))
        loss = loss_fn(network(task.query_x), task.query_y)
        torchopt.recover_state_dict(network, initial_state)
        return loss

    return task_loss


def iteryne_package(network: nn.Module, rates: list[nn.Parameter], loss_fn: LossFn) -> TaskLoss:
    """Use ``iteryne.MetaSGD``."""
    import iteryne

    meta_sgd = iteryne.MetaSGD(network)
    for key, rate in zip(list(meta_sgd.lrs), rates, strict=True):
        meta_sgd.lrs[key] = rate

    def task_loss(task: Task) -> Tensor:
        fast = meta_sgd.clone()
        fast.adapt(loss_fn(fast(task.support_x), task.support_y))
        return loss_fn(fast(task.query_x), task.query_y)

    return task_loss


REFERENCE = "learn2learn's algorithm (loop)"  # the contender that all others are compared with; it needs no package
PEERS = {
    REFERENCE: Peer(None, lambda start: torch_contender(start, learn2learn_algorithm)),
    "learn2learn": Peer("learn2learn", lambda start: torch_contender(start, learn2learn_package)),
    "higher": Peer("higher", lambda start: torch_contender(start, higher_package)),
    "torchopt": Peer("torchopt", lambda start: torch_contender(start, torchopt_package)),
    "iteryne": Peer("iteryne", lambda start: torch_contender(start, iteryne_package)),
    "jax (vmap)": Peer("jax", lambda start: jax_contender(start, "vmap")),
    "jax (map)": Peer("jax", lambda start: jax_contender(start, "map")),
}
PACKAGES = tuple(dict.fromkeys(peer.package for peer in PEERS.values() if peer.package))
