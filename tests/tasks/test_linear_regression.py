"""Linear regression: the moments of the tasks, and the best alpha against brute force."""

import math

import pytest
import torch

from metasgd.tasks import LinearRegressionSampler


def make_regression(device: torch.device, **options: object) -> LinearRegressionSampler:
    settings = {"weight_mean": [1.0, -2.0, 0.0], "noise": 0.5, "shots": 4, "queries": 6}
    return LinearRegressionSampler(
        [2.0, 1.0, 0.5], [0.5, 1.5, 0.0], **settings | options, device=device, dtype=torch.float64
    )


def test_a_regression_batch_has_the_promised_shapes(device: torch.device) -> None:
    task = make_regression(device).sample(7)
    assert [tuple(values.shape) for values in task] == [(7, 4, 3), (7, 4, 1), (7, 6, 3), (7, 6, 1)]
    assert {(values.dtype, values.device.type) for values in task} == {(torch.float64, device.type)}


def test_inputs_and_targets_have_the_promised_moments(device: torch.device) -> None:
    """x_i is N(0, lambda_i), and y has mean 0 and variance sum_i lambda_i (m_i^2 + d_i) + noise^2.

    Here 4 * 1.25 + 1 * 6.25 + 0.25 * 0 + 0.25 = 11.5. Tolerances are five standard errors of 200,000 inputs
    (0.8% for a standard deviation) and of the variance of y over 20,000 tasks, whose weights are shared (5%).
    """
    support_x, support_y, query_x, query_y = make_regression(device).sample(20_000)
    x, y = torch.cat([support_x, query_x], 1), torch.cat([support_y, query_y], 1)
    scale = torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64, device=device)
    torch.testing.assert_close(x.flatten(0, 1).std(0), scale, rtol=0.008, atol=0)
    assert (x.mean((0, 1)).abs() < 5 * scale / 200_000**0.5).all()
    assert y.var().item() == pytest.approx(11.5, rel=0.05)


def test_a_task_keeps_its_weights_over_support_and_query(device: torch.device) -> None:
    """Without noise, three support examples determine w, and the query targets follow from it exactly."""
    support_x, support_y, query_x, query_y = make_regression(device, noise=0.0, shots=3).sample(50)
    weights = torch.linalg.solve(support_x, support_y)
    torch.testing.assert_close(query_x @ weights, query_y, rtol=1e-6, atol=1e-6)  # some systems are near-singular
    assert weights[:, 1].std() > 1  # the tasks differ in this weight
    torch.testing.assert_close(weights[:, 2], torch.zeros_like(weights[:, 2]), rtol=0, atol=1e-6)  # not in this one


def test_the_noise_has_its_standard_deviation(device: torch.device) -> None:
    """With known weights (of no spread) the residual is the noise; five standard errors of 100,000 draws are 1.2%."""
    sampler = LinearRegressionSampler([1.0], [0.0], [3.0], noise=0.5, device=device, dtype=torch.float64)
    task = sampler.sample(5_000)
    residual = torch.cat([task.support_y - 3 * task.support_x, task.query_y - 3 * task.query_x], 1)
    assert residual.std().item() == pytest.approx(0.5, rel=0.012)


def test_the_same_seed_draws_the_same_regression_tasks(device: torch.device) -> None:
    first, again, other = (make_regression(device, seed=seed).sample(3).query_y for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("shots", [1, 4])
def test_best_alpha_minimises_the_query_loss_of_drawn_tasks(shots: int, device: torch.device) -> None:
    """Brute force: for fixed theta the query loss over many tasks is a quadratic in alpha, so solve for its minimum.

    theta' = theta - alpha * g makes the query residual ``e - sum_i alpha_i x_i g_i``, a linear regression of e on
    the columns x_i g_i. 400,000 tasks leave a standard error of 1% in the solution; five of them are allowed.
    """
    sampler = LinearRegressionSampler(
        [2.0, 1.0], [0.5, 1.5], [1.0, -2.0], noise=2.0, shots=shots, queries=6, device=device, dtype=torch.float64
    )
    support_x, support_y, query_x, query_y = sampler.sample(400_000)
    theta = sampler.weight_mean[:, None]
    gradient = 2 * support_x.mT @ (support_x @ theta - support_y) / shots  # of the mean squared error
    columns = (query_x * gradient.mT).flatten(0, 1)
    residual = (query_x @ theta - query_y).flatten()
    best = torch.linalg.solve(columns.T @ columns, columns.T @ residual)
    torch.testing.assert_close(sampler.best_alpha(), best, rtol=0.05, atol=0)


def test_the_expected_query_loss_is_the_mean_over_drawn_tasks(device: torch.device) -> None:
    """For other rates and another start than the best; five standard errors of 100,000 tasks are allowed."""
    sampler = make_regression(device)
    support_x, support_y, query_x, query_y = sampler.sample(100_000)
    theta = torch.tensor([[0.5], [-1.0], [0.3]], dtype=torch.float64, device=device)
    alpha = torch.tensor([[0.02], [0.05], [0.1]], dtype=torch.float64, device=device)
    gradient = 2 * support_x.mT @ (support_x @ theta - support_y) / 4  # of the mean squared error over 4 shots
    losses = (query_x @ (theta - alpha * gradient) - query_y).square().mean((1, 2))
    expected = sampler.expected_query_loss(alpha[:, 0], theta[:, 0]).item()
    assert losses.mean().item() == pytest.approx(expected, abs=5 * losses.std().item() / 100_000**0.5)


def test_no_rates_have_a_lower_expected_query_loss_than_the_best(device: torch.device) -> None:
    """Its gradient in alpha is zero there, and so is the mean of the weights where a step should start."""
    sampler = make_regression(device)
    alpha = sampler.best_alpha().requires_grad_()
    theta = sampler.weight_mean.clone().requires_grad_()
    slopes = torch.autograd.grad(sampler.expected_query_loss(alpha, theta), [alpha, theta])
    torch.testing.assert_close(slopes, (torch.zeros_like(alpha), torch.zeros_like(theta)), rtol=0, atol=1e-12)
    assert sampler.expected_query_loss(1.1 * alpha) > sampler.expected_query_loss(alpha)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1.0, 1.0], [1.0]), {}, r"lengths are \{'input_scale': 2, 'weight_scale': 1, 'weight_mean': 2\}"),
        (([1.0], [1.0], [1.0, 2.0]), {}, r"'weight_mean': 2"),
        (([-1.0], [1.0]), {}, "must not be negative"),
        (([1.0], [1.0]), {"noise": -0.1}, "must not be negative"),
        (([1.0], [1.0]), {"shots": 0}, "shots is 0"),
        (([1.0], [1.0]), {"queries": 0}, "queries 0"),
    ],
)
def test_impossible_regression_tasks_are_refused(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LinearRegressionSampler(*arguments, **options)


def test_the_expected_error_of_least_squares_is_its_mean_over_drawn_tasks() -> None:
    """With 3 weights and 12 shots: 0.25 * (1 + 3 / 8), whatever the scales; five standard errors of 20,000 tasks."""
    sampler = make_regression(torch.device("cpu"), shots=12, queries=20)
    support_x, support_y, query_x, query_y = sampler.sample(20_000)
    errors = (query_x @ torch.linalg.pinv(support_x) @ support_y - query_y).square().mean((1, 2))
    expected = sampler.expected_least_squares_loss()
    assert expected == pytest.approx(0.25 * (1 + 3 / 8))
    assert errors.mean().item() == pytest.approx(expected, abs=5 * errors.std().item() / 20_000**0.5)


@pytest.mark.parametrize(("shots", "noise", "expected"), [(3, 0.5, math.inf), (4, 0.5, math.inf), (3, 0.0, 0.0)])
def test_least_squares_fails_without_bound_where_it_has_hardly_more_shots_than_weights(
    shots: int, noise: float, expected: float
) -> None:
    sampler = make_regression(torch.device("cpu"), shots=shots, noise=noise)
    assert sampler.expected_least_squares_loss() == expected


def test_fewer_shots_than_weights_have_no_expected_error_of_least_squares() -> None:
    with pytest.raises(ValueError, match="shots is 2, fewer than the 3 weights"):
        make_regression(torch.device("cpu"), shots=2).expected_least_squares_loss()
