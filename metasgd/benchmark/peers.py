"""Contenders of the benchmark: our strategies, and the same meta-step by other libraries as their users write it.

None of these libraries is needed by the package. An adapter imports its library when it is built, so one that is not
installed costs nothing. All get the same start, loss and outer optimiser, and the exact second-order meta-gradient of
the mean query loss after one inner step.
"""

import copy
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd._core.adam import adam
from metasgd._core.learner import LossFn
from metasgd._core.task import Task, as_list
from metasgd.meta_sgd import MetaSGD

# So small that the problem stays the one it was, however many steps a contender takes in its share of the time.
META_LR = 1e-6

Gradients = tuple[list[Tensor], list[Tensor]]  # in theta and in alpha, in the order of the network's parameters
TaskLoss = Callable[[Task], Tensor]


class Problem(NamedTuple):
    """What every contender starts from. It must copy the network before it changes it."""

    network: nn.Module
    rates: dict[str, Tensor]  # alpha at the start, by parameter name
    loss_fn: LossFn


class Contender(NamedTuple):
    """One way to compute a meta-step.

    ``prepare`` turns a batch of tasks into what the library works on, outside of the time that is measured; ``step``
    takes a whole meta-step and returns its loss as a number, hence when it is done; ``gradients`` returns the
    meta-gradient at the present theta and alpha, without a step.
    """

    step: Callable[[Any], float]
    gradients: Callable[[Any], Gradients]
    prepare: Callable[[Task], Any] = lambda tasks: tasks


def ours(problem: Problem, strategy: str, *, compile: bool = False) -> Contender:
    """Return ``MetaSGD`` with one of its strategies, through its public methods."""
    learner = MetaSGD(
        copy.deepcopy(problem.network),
        problem.loss_fn,
        meta_lr=META_LR,
        task_lr=problem.rates,
        strategy=strategy,
        compile=compile,
    )

    def gradients(tasks: Task) -> Gradients:
        learner.meta_backward(tasks)
        return [p.grad for p in learner.theta.values()], [p.grad for p in learner.alpha.values()]

    return Contender(lambda tasks: learner.meta_update(tasks)["loss"], gradients)


def torch_loop(
    problem: Problem, make_task_loss: Callable[[nn.Module, list[nn.Parameter], LossFn], TaskLoss]
) -> Contender:
    """Return the meta-step that users of PyTorch libraries write: a task's query loss, its backward pass, the next."""
    network = copy.deepcopy(problem.network)
    rates = [nn.Parameter(rate.clone()) for rate in problem.rates.values()]
    theta = list(network.parameters())
    task_loss = make_task_loss(network, rates, problem.loss_fn)
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
        return [p.grad for p in theta], [rate.grad for rate in rates]

    return Contender(step, gradients)


def learn2learn_algorithm(network: nn.Module, rates: list[nn.Parameter], loss_fn: LossFn) -> TaskLoss:
    """Do what learn2learn's ``MetaSGD`` does: clone the module tree, and hang an update on every parameter."""

    def task_loss(task: Task) -> Tensor:
        clone, clone_rates = cloned(network), [rate.clone() for rate in rates]
        parameters = list(clone.parameters())
        loss = loss_fn(clone(task.support_x), task.support_y)
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, create_graph=True)
        for parameter, rate, gradient in zip(parameters, clone_rates, gradients, strict=True):
            parameter.update = -rate * gradient
        apply_updates(clone)
        return loss_fn(clone(task.query_x), task.query_y)

    return task_loss


def cloned(module: nn.Module) -> nn.Module:
    """Return a module whose parameters are differentiable copies of this one's."""
    clone = module.__new__(type(module))
    clone.__dict__ = module.__dict__ | {
        "_parameters": {name: p if p is None else p.clone() for name, p in module._parameters.items()},
        "_modules": {name: cloned(child) for name, child in module._modules.items()},
    }
    return clone


def apply_updates(module: nn.Module) -> None:
    """Add to every parameter of a clone the update that hangs on it."""
    for name, parameter in module._parameters.items():
        if parameter is not None:
            module._parameters[name] = parameter + parameter.update
    for child in module.children():
        apply_updates(child)


def learn2learn_package(network: nn.Module, rates: list[nn.Parameter], loss_fn: LossFn) -> TaskLoss:
    """Use ``learn2learn.algorithms.MetaSGD``."""
    import learn2learn

    meta = learn2learn.algorithms.MetaSGD(network, lrs=nn.ParameterList(rates))

    def task_loss(task: Task) -> Tensor:
        clone = meta.clone()
        clone.adapt(loss_fn(clone(task.support_x), task.support_y))
        return loss_fn(clone(task.query_x), task.query_y)

    return task_loss


def higher_loop(network: nn.Module, rates: list[nn.Parameter], loss_fn: LossFn) -> TaskLoss:
    """Use ``higher.innerloop_ctx`` with one parameter group, hence one rate tensor, for every parameter."""
    import higher

    inner = torch.optim.SGD([{"params": [parameter]} for parameter in network.parameters()], lr=1.0)

    def task_loss(task: Task) -> Tensor:
        with higher.innerloop_ctx(network, inner, copy_initial_weights=False, override={"lr": rates}) as (fast, sgd):
            sgd.step(loss_fn(fast(task.support_x), task.support_y))
            return loss_fn(fast(task.query_x), task.query_y)

    return task_loss


def torchopt_loop(network: nn.Module, rates: list[nn.Parameter], loss_fn: LossFn) -> TaskLoss:
    """Use ``torchopt.MetaOptimizer`` with a transformation that scales each gradient by its rate."""
    import torchopt
    from torchopt.base import EmptyState, GradientTransformation

    rate_of = dict(zip(network.parameters(), rates, strict=True))

    def update(slopes: Sequence[Tensor], state: Any, *, params: Sequence[Tensor], inplace: bool) -> tuple:
        return tuple(-rate_of[p] * slope for p, slope in zip(params, slopes, strict=True)), state

    inner = torchopt.MetaOptimizer(network, GradientTransformation(lambda params: EmptyState(), update))
    start = torchopt.extract_state_dict(network, by="reference")

    def task_loss(task: Task) -> Tensor:
        inner.step(loss_fn(network(task.support_x), task.support_y))
        loss = loss_fn(network(task.query_x), task.query_y)
        torchopt.recover_state_dict(network, start)
        return loss

    return task_loss


def iteryne_loop(network: nn.Module, rates: list[nn.Parameter], loss_fn: LossFn) -> TaskLoss:
    """Use ``iteryne.MetaSGD``."""
    import iteryne

    meta = iteryne.MetaSGD(network)
    for key, rate in zip(list(meta.lrs), rates, strict=True):
        meta.lrs[key] = rate

    def task_loss(task: Task) -> Tensor:
        fast = meta.clone()
        fast.adapt(loss_fn(fast(task.support_x), task.support_y))
        return loss_fn(fast(task.query_x), task.query_y)

    return task_loss


def jax_jit(problem: Problem, over_tasks: str) -> Contender:
    """Return Meta-SGD in plain JAX, a whole meta-step in one ``jit``, over the tasks by ``vmap`` or ``lax.map``."""
    first = next(problem.network.parameters())
    os.environ.setdefault("JAX_PLATFORMS", first.device.type)  # else it takes a CPU where it finds no GPU, silently
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # leave the GPU's memory to the others
    import jax

    jax.config.update("jax_enable_x64", first.dtype == torch.float64)
    jnp, tree = jax.numpy, jax.tree
    forward = jax_forward(problem.network, jax)

    def loss(theta: Any, x: Any, y: Any) -> Any:
        prediction = forward(theta, x)
        if problem.loss_fn is F.mse_loss:
            return jnp.square(prediction - y).mean()
        return -jnp.take_along_axis(jax.nn.log_softmax(prediction), y[:, None], 1).mean()

    def task_loss(state: Any, task: Any) -> Any:
        (theta, alpha), (support_x, support_y, query_x, query_y) = state, task
        slopes = jax.grad(loss)(theta, support_x, support_y)
        return loss(tree.map(lambda p, a, g: p - a * g, theta, alpha, slopes), query_x, query_y)

    def value_and_grad(state: Any, tasks: Any) -> Any:
        if over_tasks == "vmap":
            return jax.value_and_grad(lambda s: jax.vmap(task_loss, (None, 0))(s, tasks).mean())(state)
        parts = jax.lax.map(lambda task: jax.value_and_grad(task_loss)(state, task), tasks)
        return tree.map(lambda part: part.mean(0), parts)

    @jax.jit
    def adam_step(state: Any, moments: Any, count: Any, tasks: Any) -> Any:
        value, g = value_and_grad(state, tasks)
        m = tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], g)
        v = tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, moments[1], g)
        size, scale = META_LR / (1 - 0.9**count), 1 / jnp.sqrt(1 - 0.999**count)
        state = tree.map(lambda p, m, v: p - size * m / (jnp.sqrt(v) * scale + 1e-8), state, m, v)
        return value, state, (m, v), count + 1

    def arrays(tensors: dict[str, Tensor]) -> dict[str, Any]:
        return {name: jnp.asarray(value.detach().cpu().numpy()) for name, value in tensors.items()}

    state = (arrays(dict(problem.network.named_parameters())), arrays(problem.rates))
    now = [state, (tree.map(jnp.zeros_like, state),) * 2, jnp.ones(())]

    def step(tasks: Any) -> float:
        value, *now[:] = adam_step(*now, tasks)
        return float(jax.block_until_ready((value, now))[0])

    def gradients(tasks: Any) -> Gradients:
        _, (theta, alpha) = jax.jit(value_and_grad)(now[0], tasks)
        names = problem.rates
        return tuple([torch.from_numpy(np.array(part[name])) for name in names] for part in (theta, alpha))

    return Contender(step, gradients, lambda tasks: tuple(jnp.asarray(x.cpu().numpy()) for x in tasks))


def jax_forward(network: nn.Module, jax: Any) -> Callable[[dict[str, Any], Any], Any]:
    """Return the layers of an ``nn.Sequential`` as a JAX function of (parameters by name, x), channels last inside."""
    jnp = jax.numpy

    def forward(params: dict[str, Any], x: Any) -> Any:
        x = jnp.moveaxis(x, 1, -1)
        for name, layer in network.named_children():
            weight, bias = params.get(f"{name}.weight"), params.get(f"{name}.bias")
            match layer:
                case nn.Conv2d():
                    x = convolve(x, weight, jax) + bias
                case nn.BatchNorm2d():
                    x = (x - x.mean((0, 1, 2))) * jax.lax.rsqrt(x.var((0, 1, 2)) + layer.eps) * weight + bias
                case nn.ReLU():
                    x = jax.nn.relu(x)
                case nn.MaxPool2d():
                    count, height, width, channels = x.shape
                    even = x[:, : height // 2 * 2, : width // 2 * 2]
                    x = even.reshape(count, height // 2, 2, width // 2, 2, channels).max((2, 4))
                case nn.Flatten():
                    x = jnp.moveaxis(x, -1, 1).reshape(len(x), -1)
                case nn.Linear():
                    x = x @ weight.T + bias
                case _:
                    raise NotImplementedError(f"no JAX form of {layer}")
        return x

    return forward


def convolve(x: Any, weight: Any, jax: Any) -> Any:
    """Return the convolution of (examples, height, width, channels) with filters (out, in, 3, 3), of the same size.

    On a CPU as one matrix product with the 3 x 3 neighbourhoods: XLA's own convolutions, and those that its
    derivatives need, are several times slower there.
    """
    if jax.default_backend() != "cpu":
        return jax.lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "OIHW", "NHWC"))
    (_, height, width, _), rows, columns = x.shape, *weight.shape[2:]
    padded = jax.numpy.pad(x, ((0, 0), (rows // 2,) * 2, (columns // 2,) * 2, (0, 0)))
    shifted = [padded[:, i : i + height, j : j + width] for i in range(rows) for j in range(columns)]
    filters = weight.transpose(2, 3, 1, 0).reshape(-1, len(weight))
    return jax.numpy.concatenate(shifted, -1) @ filters


class Peer(NamedTuple):
    """A contender that is not ours: the package that it needs (None: none), and how it is built."""

    package: str | None
    build: Callable[[Problem], Contender]


REFERENCE = "learn2learn's algorithm (loop)"  # what all others are compared with; it needs no package
PEERS = {
    REFERENCE: Peer(None, lambda problem: torch_loop(problem, learn2learn_algorithm)),
    "learn2learn": Peer("learn2learn", lambda problem: torch_loop(problem, learn2learn_package)),
    "higher": Peer("higher", lambda problem: torch_loop(problem, higher_loop)),
    "torchopt": Peer("torchopt", lambda problem: torch_loop(problem, torchopt_loop)),
    "iteryne": Peer("iteryne", lambda problem: torch_loop(problem, iteryne_loop)),
    "jax (vmap)": Peer("jax", lambda problem: jax_jit(problem, "vmap")),
    "jax (map)": Peer("jax", lambda problem: jax_jit(problem, "map")),
}
