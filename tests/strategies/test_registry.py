"""What every strategy must do, whatever its way of computing: the contract of an entry in the registry."""

import copy
from collections.abc import Callable

import pytest
import torch

from metasgd.strategies import STRATEGIES
from tests.strategies.helpers import (
    EVERY,
    batch_of,
    draw_tasks,
    make_learner,
    meta_gradient,
    mlp,
    small_convnet,
    with_options,
)

pytestmark = pytest.mark.usefixtures("no_channel_is_small")


@EVERY
def test_backward_and_step_are_an_update(strategy: str, device: torch.device) -> None:
    whole = make_learner(mlp, device, strategy=strategy)
    halves, tasks = copy.deepcopy(whole), draw_tasks(device)
    loss = whole.meta_update(tasks)
    assert halves.meta_step(halves.meta_backward(tasks), tasks) == loss
    for name in whole.theta:
        assert torch.equal(whole.theta[name], halves.theta[name])
        assert torch.equal(whole.alpha[name], halves.alpha[name])


@EVERY
def test_gradients_are_stored_like_their_parameters(strategy: str, device: torch.device) -> None:
    """An optimiser's fused kernel wants a parameter and its gradient in one layout."""
    learner = make_learner(small_convnet, device, strategy=strategy)
    learner.meta_backward(draw_tasks(device, (1, 6, 6)))
    for value in (*learner.theta.values(), *learner.alpha.values()):
        assert value.grad.stride() == value.stride()


@EVERY
@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_predictions_are_detached_and_leave_no_gradients(strategy: str, mode: Callable, device: torch.device) -> None:
    learner = make_learner(mlp, device, strategy=strategy)
    with mode():
        predictions = learner.predict_tasks(batch_of(draw_tasks(device)))
    assert predictions.shape == (5, 5, 2)
    assert not predictions.requires_grad
    assert all(value.grad is None for value in learner.parameters())


def test_state_does_not_depend_on_the_strategy(device: torch.device) -> None:
    states = [make_learner(mlp, device, strategy=name, chunk=2).state_dict() for name in STRATEGIES]
    assert states[0].keys() == states[1].keys() == states[2].keys()
    learner = make_learner(mlp, device, strategy="threads")
    learner.load_state_dict(states[2])
    assert learner.execution.strategy == "threads"


def test_a_strategy_is_added_in_one_place(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = STRATEGIES["loop"]
    backwards = loop._replace(backward=lambda learner, tasks: loop.backward(learner, tasks[::-1]))
    monkeypatch.setitem(STRATEGIES, "backwards", backwards)
    learner = make_learner(mlp, device, strategy="backwards")
    tasks = draw_tasks(device)
    expected = meta_gradient(with_options(learner, "loop"), tasks[::-1])
    assert torch.equal(meta_gradient(learner, tasks), expected)


@EVERY
def test_a_meta_batch_of_512_tasks_runs(strategy: str, device: torch.device) -> None:
    learner = make_learner(mlp, device, strategy=strategy)
    assert learner.meta_update(batch_of(draw_tasks(device, sizes=[(2, 2)] * 512)))["loss"] > 0
