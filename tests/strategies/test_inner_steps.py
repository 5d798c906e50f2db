"""Options of the inner steps and of the query set: every strategy does what is written out, and so does the loop.

The oracle is written out here, in float64, by ``torch.autograd.grad`` alone.
"""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from metasgd import Task
from tests.strategies.helpers import (
    EVERY,
    EXACT,
    FAST,
    batch_of,
    draw_tasks,
    make_learner,
    meta_gradient,
    mlp,
    relative_error,
    with_options,
)

TO_COMPARE = pytest.mark.parametrize(
    ("strategy", "options"),
    [("loop", {}), ("threads", {}), ("batched", {}), ("batched", {"chunk": 2}), ("threads", {"recompute": True})],
    ids=["loop", "threads", "batched", "chunks", "recompute"],
)
# The inner gradients of these tasks are between 0.3 and 1.7 long: some are clipped to this, some are not.
MAX_NORM = 0.8


def written_out(
    model: nn.Module, alpha: dict[str, Tensor], tasks: list[Task], losses: tuple, max_norm: float
) -> Tensor:
    """The mean query loss after two steps, each along the gradient divided by its length if that is too large."""
    total = torch.tensor(0.0)
    for task in tasks:
        params = dict(model.named_parameters())
        for _ in range(2):
            loss = losses[0](functional_call(model, params, (task.support_x,)), task.support_y)
            gradients = torch.autograd.grad(loss, list(params.values()), create_graph=True)
            length = torch.cat([gradient.flatten() for gradient in gradients]).norm()
            scale = max_norm / length if length > max_norm else 1.0
            params = {n: p - alpha[n] * scale * g for (n, p), g in zip(params.items(), gradients, strict=True)}
        total = total + losses[1](functional_call(model, params, (task.query_x,)), task.query_y)
    return total / len(tasks)


def smooth(prediction: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(prediction, target, label_smoothing=0.3)


@TO_COMPARE
@pytest.mark.parametrize("max_norm", [MAX_NORM, math.inf, 1e-3])
@pytest.mark.usefixtures("float64")
def test_clipped_inner_steps_and_a_query_loss(strategy, options, max_norm, device):
    """The derivative of the clipping is a part of the meta-gradient, task by task."""
    limit = None if max_norm == math.inf else max_norm
    learner = make_learner(
        mlp, device, inner_steps=2, query_loss_fn=smooth, inner_max_norm=limit, strategy=strategy, **options
    )
    tasks = draw_tasks(device)
    loss = written_out(learner.model, learner.alpha, tasks, (F.cross_entropy, smooth), max_norm)
    gradients = torch.autograd.grad(loss, [*learner.theta.values(), *learner.alpha.values()])
    expected = torch.cat([loss.detach().reshape(1), *(gradient.flatten() for gradient in gradients)])
    assert relative_error(meta_gradient(learner, tasks), expected) < EXACT
    torch.testing.assert_close(learner.meta_loss(tasks), loss, rtol=EXACT, atol=0)


@FAST
@pytest.mark.usefixtures("float64", "traced")
def test_clipping_is_traced_by_a_compiler(strategy, device):
    learner = make_learner(mlp, device, inner_steps=2, query_loss_fn=smooth, inner_max_norm=MAX_NORM, strategy="loop")
    tasks = draw_tasks(device)
    expected = meta_gradient(learner, tasks)
    twin = with_options(learner, strategy, compile=True)
    assert relative_error(meta_gradient(twin, tasks), expected) < EXACT
    twin.inner_max_norm = learner.inner_max_norm = 0.1  # which the compiled function must notice
    assert relative_error(meta_gradient(twin, tasks), meta_gradient(learner, tasks)) < EXACT


@EVERY
@pytest.mark.usefixtures("float64")
def test_a_gradient_of_zero_can_be_clipped(strategy, device):
    """The length of a vector has no slope at zero; here the first step has a gradient of zero."""
    learner = make_learner(mlp, device, lambda p, y: (0 * p).sum(), inner_max_norm=0.1, strategy=strategy)
    assert torch.equal(meta_gradient(learner, draw_tasks(device)), torch.zeros(1 + 2 * 26, device=device))


@EVERY
@pytest.mark.parametrize("steps", [0, 1, 4])
@pytest.mark.usefixtures("float64")
def test_a_prediction_may_take_other_steps_than_meta_training(strategy, steps, device):
    learner = make_learner(mlp, device, inner_max_norm=MAX_NORM, strategy=strategy)
    tasks = draw_tasks(device)
    expected = torch.stack([learner(*task[:3], steps=steps) for task in tasks])
    torch.testing.assert_close(
        learner.predict_tasks(batch_of(tasks), steps), expected.detach(), rtol=EXACT, atol=EXACT
    )
    assert learner.inner_steps == 1


@EVERY
def test_labels_are_checked_by_the_loss_that_takes_them(strategy, device):
    """The support set has numbers, the query set labels, and only the query set has a cross-entropy."""
    tasks = [
        task._replace(support_y=torch.ones(4, 2, device=device), query_y=task.query_y) for task in draw_tasks(device)
    ]
    learner = make_learner(mlp, device, F.mse_loss, query_loss_fn=F.cross_entropy, strategy=strategy)
    assert learner.meta_backward(tasks).isfinite()
    wrong = [task._replace(query_y=task.query_y + 5) for task in tasks]
    with pytest.raises(ValueError, match="labels must lie in"):
        learner.meta_backward(wrong)
