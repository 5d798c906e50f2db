"""The formulas of chapter 15, where Meta-SGD stops helping, and the tasks of its applications."""

import pytest
import torch
from torch.distributions import MultivariateNormal

from metasgd import Task
from metasgd.baselines import ridge
from metasgd.data import load_mnist_sample
from metasgd.tasks import LinearRegressionSampler
from tests.book.notebooks import path_of, run_tagged


def test_ideal_learner_is_the_mean_of_the_posterior(float64: None) -> None:
    """The last row of the table below eq-where-ridge, against prior times likelihood on a grid, in two dimensions."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(3, 2, generator=generator), torch.randn(3, 1, generator=generator)
    mean, variance, noise = torch.tensor([0.5, -1.0]), torch.tensor([0.4, 1.5]), 0.7
    ideal = ridge(noise**2 / variance, mean)(x, y, torch.eye(2))[:, 0]

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


@pytest.mark.parametrize("degrees", [3, 6])
def test_the_inverse_of_the_gram_matrix_is_that_of_a_distance(float64: None, degrees: int) -> None:
    """eq-where-least-squares: 1 / (X^T X)^-1_ii is the squared distance of column i from the span of the others.

    Its mean is that of chi-squared with K - n + 1 degrees of freedom, and the mean of its inverse 1 / (K - n - 1),
    within five standard errors of 200,000 draws.
    """
    weights = 4
    shots = degrees + weights - 1
    x = torch.randn(200_000, shots, weights, generator=torch.Generator().manual_seed(degrees))
    inverse = torch.linalg.inv(x.mT @ x)[:, 0, 0]
    others, column = x[:, :, 1:], x[:, :, :1]
    distance = (column - others @ torch.linalg.lstsq(others, column).solution).square().sum((1, 2))
    torch.testing.assert_close(1 / inverse, distance, rtol=1e-6, atol=1e-9)
    assert distance.mean().item() == pytest.approx(degrees, abs=5 * (2 * degrees / 200_000) ** 0.5)
    if degrees > 4:  # the inverse has a variance
        assert inverse.mean().item() == pytest.approx(1 / (degrees - 2), abs=5 * inverse.std().item() / 200_000**0.5)


def test_with_nine_examples_and_eight_weights_larger_samples_have_larger_means(float64: None) -> None:
    """The mean of 1 / chi-squared with two degrees of freedom, cut off below t, is about log(1 / t) / 2: no limit."""
    draws = torch.randn(1_000_000, 2, generator=torch.Generator().manual_seed(0)).square().sum(1)
    for cut in (1e-1, 1e-2, 1e-3):
        kept = draws[draws > cut]
        # the exponential integral E1(cut / 2) / 2, whose series begins -gamma - log(cut / 2) + cut / 2
        expected = (-0.5772 - torch.tensor(cut / 2).log().item() + cut / 2) / 2
        assert (1 / kept).sum().item() / len(draws) == pytest.approx(expected, rel=0.02)


def test_people_rate_pictures_of_a_digit_alike_but_for_noise_and_differ_in_three_ways() -> None:
    given = {"torch": torch, "device": "cpu", "digits": load_mnist_sample(), "Task": Task}
    sampler = run_tagged(path_of(15), ["tastes"], given)["Tastes"](slice(800, 1000))
    x, y, query_x, query_y = sampler.sample(5, torch.Generator().manual_seed(0))
    assert x.shape == (5, 10, 784)
    assert y.shape == (5, 10, 1)
    assert query_x.shape == (5, 30, 784)
    assert query_y.shape == (5, 30, 1)
    assert torch.linalg.matrix_rank(sampler.ways) == 3
    # a rating has the variance of a taste, whose three parts have one third of the weight each, and that of the noise
    expected = sampler.ways.square().sum(0).mean() + 0.2**2
    ratings = sampler.sample(4000, torch.Generator().manual_seed(0))[3]
    assert ratings.square().mean().item() == pytest.approx(expected.item(), rel=0.05)  # over ten standard errors


def test_the_terms_of_the_oscillator_leave_nothing_but_the_noise() -> None:
    """eq-where-oscillator is linear in its factors: four of them, from 20 examples, leave the noise
    of variance 0.01, times about 1 + 4/16.
    """
    given = {"torch": torch, "device": "cpu", "ridge": ridge, "Task": Task}
    found = run_tagged(path_of(15), ["oscillators"], given)
    tasks = found["Oscillators"]().sample(300, torch.Generator().manual_seed(0))
    errors = [(found["knows_the_terms"](x, y, qx) - qy).square().mean() for x, y, qx, qy in zip(*tasks, strict=True)]
    assert 0.01 < torch.stack(errors).mean().item() < 0.016
