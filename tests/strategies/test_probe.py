"""What a strategy would silently compute wrongly is refused by it, and computed by the loop."""

import random
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.strategies.helpers import (
    EXACT,
    FAST,
    Apply,
    draw_tasks,
    make_learner,
    meta_gradient,
    mlp,
    relative_error,
    with_options,
)

aten = torch.ops.aten
with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)

    @torch.jit.script
    def scripted_norm(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return torch.layer_norm(x, [4], weight, bias)


def between(function: Callable[[Any, Tensor], Tensor]) -> Callable[[], nn.Module]:
    """A network with a function of its own between two layers."""
    return lambda: Apply(
        lambda m, x: m.head(function(m, m.body(x)).tanh()),
        body=nn.Linear(3, 4),
        norm=nn.LayerNorm(4),
        table=nn.Embedding(5, 4),
        head=nn.Linear(4, 2),
    )


def weight_normed(m: Any, h: Tensor) -> Tensor:
    return F.linear(h, aten._weight_norm(torch.outer(m.norm.bias, m.norm.weight), m.norm.weight[:, None].exp(), 0))


def looked_up(m: Any, h: Tensor) -> Tensor:
    return h * aten.embedding(m.table.weight, (h.detach() > 0).sum(1), 2)


# Whether each is right by single tasks, where PyTorch's function is not called by vmap.
BY_OPERATORS = {
    "native_layer_norm": lambda m, h: aten.native_layer_norm(h, [4], m.norm.weight, m.norm.bias, 1e-5)[0],
    "native_layer_norm.default": lambda m, h: aten.native_layer_norm.default(h, [4], m.norm.weight, None, 1e-5)[0],
    "native_batch_norm": lambda m, h: aten.native_batch_norm(
        h, m.norm.weight, m.norm.bias, None, None, True, 0.1, 1e-5
    )[0],
    "TorchScript": lambda m, h: scripted_norm(h, m.norm.weight, m.norm.bias),
    "embedding": looked_up,
    "select_scatter": lambda m, h: aten.select_scatter(h, h[:, 0] * h[:, 1], 1, 2),
}


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("function", BY_OPERATORS.values(), ids=list(BY_OPERATORS))
def test_an_operator_with_wrong_derivatives_under_vmap_is_refused_there(
    function: Callable, device: torch.device
) -> None:
    """``auto`` takes threads then, which are right."""
    learner = make_learner(between(function), device, strategy="batched")
    tasks = draw_tasks(device)
    for _ in range(2):  # also at the second time
        with pytest.raises(RuntimeError, match=r"the second derivative of aten\..* is wrong in PyTorch here"):
            learner.meta_backward(tasks)
    expected = meta_gradient(with_options(learner, "loop"), tasks)
    automatic = with_options(learner, "auto")
    assert relative_error(meta_gradient(automatic, tasks), expected) < EXACT
    if device.type == "cpu":
        assert automatic.execution.chosen == "threads"


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(
    "function", [lambda m, h: m.norm(h), lambda m, h: h * m.table((h.detach() > 0).sum(1))], ids=["norm", "embedding"]
)
def test_what_is_replaced_is_not_refused(function: Callable, device: torch.device) -> None:
    learner = make_learner(between(function), device, strategy="batched")
    tasks = draw_tasks(device)
    expected = meta_gradient(with_options(learner, "loop"), tasks)
    assert relative_error(meta_gradient(learner, tasks), expected) < EXACT


@pytest.mark.usefixtures("float64")
def test_the_operator_of_weight_norm_is_replaced(device: torch.device) -> None:
    """Its second derivative is wrong in PyTorch everywhere, so that differences are what it is held to."""
    learner = make_learner(between(weight_normed), device, strategy="loop", task_lr=0.1)
    tasks = draw_tasks(device)
    expected = meta_gradient(learner, tasks)
    for strategy in ("threads", "batched"):
        assert relative_error(meta_gradient(with_options(learner, strategy), tasks), expected) < EXACT
    weight = learner.theta["norm.weight"]
    gradient, step = weight.grad[1].item(), 1e-5
    with torch.no_grad():
        weight[1] += step
        above = learner.meta_loss(tasks).item()
        weight[1] -= 2 * step
        below = learner.meta_loss(tasks).item()
    assert (above - below) / (2 * step) == pytest.approx(gradient, rel=1e-6)


def hooked(m: Any, h: Tensor) -> Tensor:
    if h.requires_grad:
        h.register_hook(lambda g: g.clamp(-0.01, 0.01))
    return h


def noisy(m: Any, h: Tensor) -> Tensor:
    return h * random.random()


def noisy_by_numpy(m: Any, h: Tensor) -> Tensor:
    return h * float(np.random.rand())  # noqa: NPY002


def with_a_generator(generator: Any, draw: Callable[[Any], float]) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        model = Apply(lambda m, x: m.body(x) * draw(m.generators[0]), body=nn.Linear(3, 2))
        model.generators = [generator]  # type: ignore[assignment]
        return model

    return build


REFUSED = {
    "a hook on a tensor": (between(hooked), "the model registers a hook on a tensor"),
    "random numbers of Python": (between(noisy), "draws random numbers by Python or NumPy"),
    "random numbers of NumPy": (between(noisy_by_numpy), "draws random numbers by Python or NumPy"),
    "a generator of Python": (with_a_generator(random.Random(0), lambda g: g.random()), "draws random numbers"),
    "a generator of NumPy": (with_a_generator(np.random.default_rng(0), lambda g: g.random()), "draws random numbers"),
    "an old generator of NumPy": (
        with_a_generator(np.random.RandomState(0), lambda g: float(g.rand())),
        "draws random numbers",
    ),
}


@FAST
@pytest.mark.parametrize(("build", "message"), REFUSED.values(), ids=list(REFUSED))
def test_what_the_loop_alone_does_as_it_is_written(
    strategy: str, build: Callable[[], nn.Module], message: str, device: torch.device
) -> None:
    learner, tasks = make_learner(build, device, strategy=strategy), draw_tasks(device)
    with pytest.raises(RuntimeError, match=message + ".*strategy='loop' alone"):
        learner.meta_backward(tasks)
    automatic = with_options(learner, "auto")
    automatic.meta_backward(tasks)
    assert automatic.execution.chosen == "loop"


@FAST
def test_looking_draws_no_random_numbers(strategy: str, device: torch.device) -> None:
    learner, tasks = make_learner(between(noisy), device, strategy=strategy), draw_tasks(device)
    random.seed(3)
    expected = random.random()
    random.seed(3)
    with pytest.raises(RuntimeError, match="draws random numbers"):
        learner.meta_backward(tasks)
    assert random.random() == expected


@FAST
def test_a_backward_hook_of_a_module_is_refused(strategy: str, device: torch.device) -> None:
    learner, tasks = make_learner(mlp, device, strategy=strategy), draw_tasks(device)
    learner.model[0].register_full_backward_hook(lambda module, inputs, outputs: None)  # type: ignore[index]
    with pytest.raises(RuntimeError, match="module '0' has a backward hook, which is called by strategy='loop' alone"):
        learner.meta_backward(tasks)


@FAST
def test_a_loss_that_reads_theta_itself_is_refused(strategy: str, device: torch.device) -> None:
    """The loop differentiates through it; a strategy that differentiates in the adapted parameters does not."""
    learner, tasks = make_learner(mlp, device, strategy=strategy), draw_tasks(device)
    first = learner.model[0].weight  # type: ignore[index]
    learner.loss_fn = lambda prediction, y: F.cross_entropy(prediction, y) + first.square().sum()
    with pytest.raises(RuntimeError, match=r"the loss, or a function .* reads parameters of the model itself"):
        learner.meta_backward(tasks)
    other = first.detach().clone().requires_grad_()  # of nobody's
    learner.loss_fn = lambda prediction, y: F.cross_entropy(prediction, y) + other.square().sum()
    learner.meta_backward(tasks)


@pytest.mark.usefixtures("traced", "float64")
@pytest.mark.parametrize("read", [lambda h: h.detach().numpy().sum(), lambda h: sum(h[0].tolist()), np.asarray])
def test_numbers_read_out_of_a_tensor_are_not_compiled(read: Callable[[Tensor], Any], device: torch.device) -> None:
    """They would stay as they were when the function was compiled, for all tasks."""
    if device.type != "cpu":
        pytest.skip("NumPy reads the memory of a CPU")

    def scaled(m: Any, h: Tensor) -> Tensor:
        return h * float(np.sum(read(h.detach())))

    learner = make_learner(between(scaled), device, strategy="threads")
    learner.execution.compile = True
    tasks = draw_tasks(device)
    with pytest.warns(RuntimeWarning, match="uncompiled, as compilation failed: the model or the loss reads numbers"):
        found = meta_gradient(learner, tasks)
    assert relative_error(found, meta_gradient(with_options(learner, "loop"), tasks)) < EXACT
