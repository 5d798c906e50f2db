"""What a caller or a model does beside arithmetic: every strategy does the same, or refuses it."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd.strategies import STRATEGIES
from tests.strategies.helpers import (
    EVERY,
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
from tests.strategies.kinds_of_models import Complex


@EVERY
def test_autocast_of_the_caller_is_that_of_every_strategy(strategy: str, device: torch.device) -> None:
    seen = []

    def model() -> nn.Module:
        body, head = nn.Linear(3, 4), nn.Linear(4, 2)

        def forward(m: Any, x: Tensor) -> Tensor:
            seen.append(m.body(x).dtype)
            return m.head(m.body(x).tanh())

        return Apply(forward, body=body, head=head)

    learner = make_learner(model, device, strategy=strategy)
    with torch.autocast(device.type, torch.bfloat16):
        learner.meta_backward(draw_tasks(device))
    assert set(seen) == {torch.bfloat16}


@EVERY
def test_autocast_around_several_updates_is_that_of_each(strategy: str, device: torch.device) -> None:
    """``torch.autocast`` keeps rounded parameters until it is left, and an update has changed them by then."""
    first = make_learner(mlp, device, strategy=strategy, meta_lr=1.0)
    second, tasks = with_options(first, strategy), draw_tasks(device)
    second.meta_optimizer = type(first.meta_optimizer)(second.model.parameters(), lr=1.0)
    first.meta_optimizer = type(first.meta_optimizer)(first.model.parameters(), lr=1.0)
    with torch.autocast(device.type, torch.bfloat16):
        together = [first.meta_update(tasks)["loss"] for _ in range(3)]
    apart = []
    for _ in range(3):
        with torch.autocast(device.type, torch.bfloat16):
            apart.append(second.meta_update(tasks)["loss"])
    assert together == apart


@pytest.mark.usefixtures("float64", "traced")
@pytest.mark.parametrize(
    ("strategy", "compile"), [*((name, False) for name in STRATEGIES), ("threads", True), ("batched", True)]
)
def test_complex_parameters(strategy: str, compile: bool, device: torch.device) -> None:
    rates = {"weight": 0.1 * torch.randn(3, 2, dtype=torch.complex128)}
    learner = make_learner(Complex, device, strategy=strategy, compile=compile, task_lr=rates, inner_steps=2)
    tasks = draw_tasks(device)
    meta_gradient(with_options(learner, "loop"), tasks)
    twin = with_options(learner, "loop")
    twin.meta_backward(tasks)
    learner.meta_backward(tasks)
    for name in ("theta", "alpha"):
        expected, value = getattr(twin, name)["weight"].grad, getattr(learner, name)["weight"].grad
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
    learner.meta_update(tasks)


@EVERY
@pytest.mark.usefixtures("float64")
def test_a_model_that_writes_into_its_input_sees_each_task_once(strategy: str, device: torch.device) -> None:
    def model() -> nn.Module:
        return Apply(lambda m, x: m.net(x.mul_(1.5)), net=mlp())

    learner = make_learner(model, device, strategy=strategy)
    expected = meta_gradient(with_options(learner, "loop"), draw_tasks(device))
    assert relative_error(meta_gradient(learner, draw_tasks(device)), expected) < EXACT


@FAST
@pytest.mark.usefixtures("float64", "traced")
def test_compilation_does_not_let_a_model_write_into_its_input(strategy: str, device: torch.device) -> None:
    """It is traced and tried before it computes, and each of these would write."""

    def model() -> nn.Module:
        return Apply(lambda m, x: m.net(x.mul_(1.5)), net=mlp())

    learner = make_learner(model, device, strategy=strategy, compile=True)
    expected = meta_gradient(with_options(learner, "loop"), draw_tasks(device))
    for _ in range(2):
        assert relative_error(meta_gradient(learner, draw_tasks(device)), expected) < EXACT


@FAST
def test_computing_an_overwritten_input_twice_is_refused(strategy: str, device: torch.device) -> None:
    learner = make_learner(
        lambda: Apply(lambda m, x: m.net(x.mul_(1.5)), net=mlp()), device, strategy=strategy, recompute=True
    )
    with pytest.raises(ValueError, match="writes into its input, which differs the second time; use recompute=False"):
        learner.meta_backward(draw_tasks(device))


@FAST
def test_a_hook_of_a_parameter_is_refused_and_called_by_the_loop(strategy: str, device: torch.device) -> None:
    learner, tasks = make_learner(mlp, device, strategy=strategy), draw_tasks(device)
    learner.model[0].weight.register_hook(lambda gradient: 0 * gradient)
    with pytest.raises(RuntimeError, match=r"'0\.weight' has a hook, which is called by strategy='loop' alone"):
        learner.meta_backward(tasks)
    learner.execution.strategy = "auto"
    learner.meta_backward(tasks)
    assert learner.execution.chosen == "loop"
    assert not learner.theta["0.weight"].grad.any()


@EVERY
def test_a_parameter_that_does_not_matter_has_the_gradient_zero(strategy: str, device: torch.device) -> None:
    def model() -> nn.Module:
        return Apply(lambda m, x: m.net(x), net=mlp(), unused=nn.Linear(2, 2))

    learner = make_learner(model, device, strategy=strategy)
    learner.meta_backward(draw_tasks(device))
    for variables in (learner.theta, learner.alpha):
        assert torch.equal(variables["unused.weight"].grad, torch.zeros(2, 2).to(device))


class ScaledLoss:
    def __init__(self, scale: float) -> None:
        self.scale = scale

    def __call__(self, prediction: Tensor, y: Tensor) -> Tensor:
        return self.scale * F.cross_entropy(prediction, y)


@FAST
@pytest.mark.usefixtures("float64", "traced")
def test_a_compiled_loss_may_change(strategy: str, device: torch.device) -> None:
    learner = make_learner(mlp, device, ScaledLoss(1.0), strategy=strategy, compile=True)
    tasks = draw_tasks(device)

    def assert_right() -> None:
        expected = meta_gradient(with_options(learner, "loop"), tasks)
        assert relative_error(meta_gradient(learner, tasks), expected) < EXACT

    assert_right()
    learner.loss_fn.scale = 0.3
    assert_right()
    factor = 2.0
    learner.loss_fn = lambda prediction, y: factor * F.cross_entropy(prediction, y)
    assert_right()
    factor = 3.0
    assert_right()
    learner.loss_fn = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0]).to(device))
    assert_right()
    learner.loss_fn.weight.mul_(torch.tensor([3.0, 1.0]).to(device))
    assert_right()


@pytest.mark.usefixtures("traced")
def test_a_model_that_counts_its_calls_is_compiled_once(device: torch.device) -> None:
    class Counts(nn.Linear):
        calls = 0

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(x)

    learner = make_learner(lambda: Counts(3, 2), device, strategy="batched", compile=True)
    for _ in range(3):
        learner.meta_update(draw_tasks(device))
    assert len(learner.execution.compiled._functions) == 1
