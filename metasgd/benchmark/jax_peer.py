"""A peer of the benchmark: Meta-SGD in plain JAX (chapter 9). JAX is imported when the contender is built."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd._core.task import Task
from metasgd.benchmark.contender import META_LR, Contender, Gradients, Start


def jax_contender(start: Start, over_tasks: str) -> Contender:
    """Return Meta-SGD in plain JAX, with the whole meta-update in one ``jit``.

    Args:
        start: a network of layers that ``jax_forward`` knows, and the mean squared error or the cross-entropy.
        over_tasks: ``"vmap"`` computes all tasks together, ``"map"`` one after the other (``jax.lax.map``).
    """
    first = next(start.network.parameters())
    # Without this, JAX silently uses the CPU where it finds no GPU.
    os.environ.setdefault("JAX_PLATFORMS", first.device.type)
    # Without this, JAX takes most of the GPU's memory, and the other contenders have none.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    import jax

    jax.config.update("jax_enable_x64", first.dtype == torch.float64)
    jnp, tree = jax.numpy, jax.tree
    value_and_grad = jax_value_and_grad(start, over_tasks, jax)
    adam_step = jax_adam_step(value_and_grad, jax)

    def arrays(tensors: dict[str, Tensor]) -> dict[str, Any]:
        return {name: jnp.asarray(value.detach().cpu().numpy()) for name, value in tensors.items()}

    initial = (arrays(dict(start.network.named_parameters())), arrays(start.rates))
    # (theta, alpha), Adam's two moments, and the number of the next step; every step replaces the three.
    state = [initial, (tree.map(jnp.zeros_like, initial),) * 2, jnp.ones(())]

    def step(tasks: Any) -> float:
        value, *state[:] = adam_step(*state, tasks)
        return float(jax.block_until_ready((value, state))[0])

    def gradients(tasks: Any) -> Gradients:
        _, (theta, alpha) = jax.jit(value_and_grad)(state[0], tasks)
        in_theta, in_alpha = (
            [torch.from_numpy(np.array(part[name])) for name in start.rates] for part in (theta, alpha)
        )
        return in_theta, in_alpha

    def prepare(tasks: Task) -> Any:
        return tuple(jnp.asarray(x.cpu().numpy()) for x in tasks)

    return Contender(step, gradients, prepare)


def jax_value_and_grad(start: Start, over_tasks: str, jax: Any) -> Callable[[Any, Any], Any]:
    """Return a JAX function of ((theta, alpha), tasks): the mean query loss after adaptation, and its gradient."""
    jnp, tree = jax.numpy, jax.tree
    forward = jax_forward(start.network, jax)

    def loss(theta: Any, x: Any, y: Any) -> Any:
        prediction = forward(theta, x)
        if start.loss_fn is F.mse_loss:
            return jnp.square(prediction - y).mean()
        return -jnp.take_along_axis(jax.nn.log_softmax(prediction), y[:, None], 1).mean()

    def task_loss(theta_and_alpha: Any, task: Any) -> Any:
        (theta, alpha), (support_x, support_y, query_x, query_y) = theta_and_alpha, task
        gradient = jax.grad(loss)(theta, support_x, support_y)
        return loss(tree.map(lambda p, a, g: p - a * g, theta, alpha, gradient), query_x, query_y)

    def value_and_grad(theta_and_alpha: Any, tasks: Any) -> Any:
        if over_tasks == "vmap":
            return jax.value_and_grad(lambda both: jax.vmap(task_loss, (None, 0))(both, tasks).mean())(theta_and_alpha)
        parts = jax.lax.map(lambda task: jax.value_and_grad(task_loss)(theta_and_alpha, task), tasks)
        return tree.map(lambda part: part.mean(0), parts)

    return value_and_grad


def jax_adam_step(value_and_grad: Callable[[Any, Any], Any], jax: Any) -> Any:
    """Return the meta-update as one compiled JAX function.

    It takes (theta, alpha), Adam's moments, the number of the step (from 1) and the tasks. It returns the loss and
    the new values of the first three.
    """
    jnp, tree = jax.numpy, jax.tree

    def adam_step(theta_and_alpha: Any, moments: Any, count: Any, tasks: Any) -> Any:
        value, g = value_and_grad(theta_and_alpha, tasks)
        m = tree.map(lambda m, g: 0.9 * m + 0.1 * g, moments[0], g)
        v = tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, moments[1], g)
        size, scale = META_LR / (1 - 0.9**count), 1 / jnp.sqrt(1 - 0.999**count)
        moved = tree.map(lambda p, m, v: p - size * m / (jnp.sqrt(v) * scale + 1e-8), theta_and_alpha, m, v)
        return value, moved, (m, v), count + 1

    return jax.jit(adam_step)


def jax_forward(network: nn.Module, jax: Any) -> Callable[[dict[str, Any], Any], Any]:
    """Return the layers of an ``nn.Sequential`` as a JAX function of (parameters by name, x).

    Inputs are as in PyTorch, with channels in dimension 1; inside, channels are the last dimension.

    Raises:
        NotImplementedError: when it is called, for a layer that has no JAX form here.
    """
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
                    assert weight is not None
                    x = x @ weight.T + bias
                case _:
                    raise NotImplementedError(f"no JAX form of {layer}")
        return x

    return forward


def convolve(x: Any, weight: Any, jax: Any) -> Any:
    """Return the convolution of images with filters, padded so that the images keep their size.

    On a CPU it is computed as one matrix product with the neighbourhoods of the pixels. There, XLA's own convolutions,
    and those that their derivatives need, are several times slower.

    Args:
        x: images, (examples, height, width, channels).
        weight: filters, (out channels, in channels, rows, columns) with odd numbers of rows and columns.
        jax: the module.
    """
    if jax.default_backend() != "cpu":
        return jax.lax.conv_general_dilated(x, weight, (1, 1), "SAME", dimension_numbers=("NHWC", "OIHW", "NHWC"))
    _, height, width, _ = x.shape
    rows, columns = weight.shape[2:]
    padded = jax.numpy.pad(x, ((0, 0), (rows // 2,) * 2, (columns // 2,) * 2, (0, 0)))
    shifted = [padded[:, i : i + height, j : j + width] for i in range(rows) for j in range(columns)]
    filters = weight.transpose(2, 3, 1, 0).reshape(-1, len(weight))
    return jax.numpy.concatenate(shifted, -1) @ filters
