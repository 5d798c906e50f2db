"""The formulas of chapter 15, where Meta-SGD stops paying."""

import pytest
import torch
from torch.distributions import MultivariateNormal

from metasgd.tasks import LinearRegressionSampler


def test_ideal_learner_is_the_mean_of_the_posterior(float64: None) -> None:
    """eq-where-ideal: weights are drawn from prior times likelihood on a grid, in two dimensions."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(3, 2, generator=generator), torch.randn(3, 1, generator=generator)
    mean, variance, noise = torch.tensor([0.5, -1.0]), torch.tensor([0.4, 1.5]), 0.7
    system = x.T @ x + noise**2 * torch.diag(1 / variance)
    ideal = mean + torch.linalg.solve(system, x.T @ (y[:, 0] - x @ mean))

    grid = torch.cartesian_prod(*(torch.linspace(-8, 8, 801),) * 2)
    prior = MultivariateNormal(mean, torch.diag(variance)).log_prob(grid)
    likelihood = -((grid @ x.T - y[:, 0]) ** 2).sum(1) / (2 * noise**2)
    posterior = (prior + likelihood).softmax(0)
    assert torch.allclose(posterior @ grid, ideal, atol=1e-6)  # the grid's sum is exact far beyond this


@pytest.mark.parametrize("shots", [1, 3, 20])
def test_share_of_the_error_that_one_step_leaves(float64: None, shots: int) -> None:
    """Exercise 1: 2 / (K + 2), with one weight, inputs of variance 1 and no noise."""
    sampler = LinearRegressionSampler([1.0], [1.7], shots=shots, dtype=torch.float64)
    left = sampler.expected_query_loss(sampler.best_alpha()) / sampler.expected_query_loss(0.0)
    assert left.item() == pytest.approx(2 / (shots + 2), rel=1e-12)


def test_error_grows_with_the_square_of_the_shift(float64: None) -> None:
    """A learner that keeps its start and its rates: equal second differences."""

    def loss(shift: float) -> float:
        new = LinearRegressionSampler([2.0, 0.5], [1.0, 3.0], [shift, 3 * shift], noise=0.1, dtype=torch.float64)
        return new.expected_query_loss(torch.tensor([0.05, 0.3]), torch.zeros(2)).item()

    second = [loss(step + 1) - 2 * loss(step) + loss(step - 1) for step in (1, 2, 3)]
    assert second == pytest.approx([second[0]] * 3, rel=1e-9)
    assert second[0] > 0
