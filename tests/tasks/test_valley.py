"""The valley of chapters 1 to 5: its shape, its tasks, and what one step with a rate for each weight can do in it."""

import pytest
import torch

from metasgd import MetaSGD
from metasgd.models import linear
from metasgd.tasks import Valley


@pytest.fixture
def valley(device: torch.device) -> Valley:
    return Valley(device=device, dtype=torch.float64)


def test_a_batch_has_the_promised_shapes(valley: Valley, device: torch.device) -> None:
    task = valley.sample(7)
    assert [tuple(values.shape) for values in task] == [(7, 2, 2), (7, 2, 1), (7, 2, 2), (7, 2, 1)]
    assert {(values.dtype, values.device.type) for values in task} == {(torch.float64, device.type)}


def test_targets_are_those_of_the_true_weights(valley: Valley, device: torch.device) -> None:
    """By hand, for w = (4, 2): -0.2 * 4 + 2 * 2 = 3.2 and 0.6 * 4 + 2 = 4.4; the query set has both signs turned."""
    task = valley.tasks(torch.tensor([[4.0, 2.0]], dtype=torch.float64, device=device))
    torch.testing.assert_close(task.support_y[0, :, 0].tolist(), [3.2, 4.4])
    assert torch.equal(task.query_x, -task.support_x)
    assert torch.equal(task.query_y, -task.support_y)


def test_loss_and_gradient_are_those_of_both_sets(valley: Valley, device: torch.device) -> None:
    minima = valley.minima(5)
    task = valley.tasks(minima)
    theta = torch.tensor([0.3, -1.0], dtype=torch.float64, device=device, requires_grad=True)
    for x, y in ((task.support_x, task.support_y), (task.query_x, task.query_y)):
        losses = (x @ theta - y[..., 0]).square().mean(1)
        torch.testing.assert_close(valley.loss(theta, minima), losses)
        (gradient,) = torch.autograd.grad(losses.sum(), theta)
        torch.testing.assert_close(valley.gradient(theta, minima).sum(0), gradient)


def test_hessian_is_the_second_derivative(valley: Valley, device: torch.device) -> None:
    zero = torch.zeros(2, dtype=torch.float64, device=device)
    second = torch.func.jacrev(torch.func.grad(valley.loss))(zero, zero)
    torch.testing.assert_close(valley.hessian, second)


def test_valley_is_narrow(valley: Valley) -> None:
    low, high = torch.linalg.eigvalsh(valley.hessian).tolist()
    assert high / low > 10


def test_minima_have_the_promised_moments(valley: Valley) -> None:
    """Tolerances are five standard errors of 100,000 draws: 1.6% of a deviation for a mean, 1.1% for a deviation."""
    minima = valley.minima(100_000)
    assert ((minima.mean(0) - valley.centre).abs() < 0.016 * valley.spread).all()
    assert ((minima.std(0) / valley.spread - 1).abs() < 0.011).all()


def test_tasks_are_those_of_the_seed_or_of_the_generator(device: torch.device) -> None:
    again = [Valley(device=device, seed=3).minima(4) for _ in range(2)]
    assert torch.equal(*again)
    given = [Valley(device=device).minima(4, torch.Generator(device).manual_seed(3)) for _ in range(2)]
    assert torch.equal(*given)
    assert not torch.equal(Valley(device=device, seed=4).minima(4), again[0])


def test_meta_sgd_finds_the_best_rates(valley: Valley, device: torch.device) -> None:
    """At the mean of the minima, alpha solves (H o E[g g^T]) alpha = E[g o g], which is eq-maps-best of chapter 2."""
    minima = valley.minima(64)
    start = minima.mean(0)
    g = valley.gradient(start, minima)
    best = torch.linalg.solve(valley.hessian * (g.T @ g / len(g)), (g * g).mean(0))
    learner = MetaSGD(
        linear(2, bias=False).to(device, torch.float64), torch.nn.functional.mse_loss, task_lr=0.1, meta_lr=0.05,
        strategy="batched",
    )  # fmt: skip
    for _ in range(2000):
        learner.meta_update(valley.tasks(minima))
    torch.testing.assert_close(learner.theta["weight"][0].detach(), start, atol=1e-3, rtol=0)
    torch.testing.assert_close(learner.alpha["weight"][0].detach(), best, atol=1e-3, rtol=0)
