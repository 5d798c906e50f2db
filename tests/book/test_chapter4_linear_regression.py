"""The closed forms of chapter 4 are exact: against Gaussian quadrature, which knows none of their algebra.

The query loss of one task is a polynomial in the inputs, the weights and the noise. An n-point Gauss-Hermite rule
integrates polynomials of degree 2n - 1 in a normal variable exactly. The query loss has degree 4 in a support input
(the gradient is quadratic in it, and is squared) and 2 in everything else, so 3 and 2 points are enough, and the
expectation is a finite sum without sampling error.
"""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from metasgd.tasks import LinearRegressionSampler

pytestmark = pytest.mark.usefixtures("float64")
# Sums of up to 20,000 terms of size 1 in float64.
EXACT = {"rtol": 1e-11, "atol": 1e-12}
SETTINGS = {
    "one weight, one shot": {"input_scale": [1.3], "weight_scale": [0.7], "noise": 0.4, "shots": 1},
    "one weight, three shots": {"input_scale": [0.8], "weight_scale": [1.2], "noise": 0.9, "shots": 3},
    "two weights, two shots": {"input_scale": [2.0, 0.5], "weight_scale": [0.6, 1.1], "noise": 0.3, "shots": 2},
    "three weights, one shot": {
        "input_scale": [1.0, 2.0, 0.5],
        "weight_scale": [1.0, 0.0, 2.0],
        "noise": 0.0,
        "shots": 1,
    },
}


def make_sampler(setting: str) -> LinearRegressionSampler:
    options = SETTINGS[setting]
    mean = [0.5 - index for index in range(len(options["input_scale"]))]
    return LinearRegressionSampler(weight_mean=mean, dtype=torch.float64, **options)


def quadrature(points: int, variables: int) -> tuple[Tensor, Tensor]:
    """Nodes (n, variables) and weights (n,) that integrate polynomials of standard normal variables."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(points)
    grid = torch.tensor(list(itertools.product(nodes, repeat=variables))).reshape(-1, variables)
    mass = [math.prod(parts) for parts in itertools.product(weights / weights.sum(), repeat=variables)]
    return grid, torch.tensor(mass)


def exact_query_loss(sampler: LinearRegressionSampler, alpha: Tensor, theta: Tensor) -> Tensor:
    """E[L_Q(theta')] by brute force: every combination of support inputs, noises, weights and one query example."""
    dimension, shots = len(theta), sampler.shots
    inputs, inputs_mass = quadrature(3, shots * dimension)
    rest, rest_mass = quadrature(2, shots + dimension + dimension + 1)
    # One row for each combination of the two grids.
    x = sampler.input_scale * inputs.reshape(-1, 1, shots, dimension)
    noise, weights, query_x, query_noise = rest.split([shots, dimension, dimension, 1], 1)
    weights = sampler.weight_mean + sampler.weight_scale * weights
    query_x = sampler.input_scale * query_x
    y = (x * weights[:, None]).sum(-1) + sampler.noise * noise
    query_y = (query_x * weights).sum(-1) + sampler.noise * query_noise[:, 0]
    support_gradient = 2 * (((x @ theta)[..., None] - y[..., None]) * x).mean(2)
    adapted = theta - alpha * support_gradient
    query_loss = ((adapted * query_x).sum(-1) - query_y) ** 2
    return inputs_mass @ query_loss @ rest_mass


@pytest.mark.parametrize("setting", SETTINGS)
def test_expected_query_loss_is_the_integral_over_tasks(setting: str) -> None:
    sampler = make_sampler(setting)
    generator = torch.Generator().manual_seed(0)
    dimension = len(sampler.input_scale)
    for _ in range(3):
        alpha, theta = torch.randn(2, dimension, generator=generator)
        expected = exact_query_loss(sampler, alpha, theta)
        torch.testing.assert_close(sampler.expected_query_loss(alpha, theta), expected, **EXACT)
    at_mean = exact_query_loss(sampler, alpha, sampler.weight_mean)
    torch.testing.assert_close(sampler.expected_query_loss(alpha), at_mean, **EXACT)
    single = exact_query_loss(sampler, torch.full((dimension,), 0.3), sampler.weight_mean)
    torch.testing.assert_close(sampler.expected_query_loss(0.3), single, **EXACT)


@pytest.mark.parametrize("setting", SETTINGS)
def test_the_integral_is_smallest_at_the_mean_and_best_alpha(setting: str) -> None:
    sampler = make_sampler(setting)
    best = torch.stack([sampler.best_alpha(), sampler.weight_mean]).requires_grad_()
    lowest = exact_query_loss(sampler, *best)
    (slope,) = torch.autograd.grad(lowest, best)
    assert slope.abs().max() < 1e-10  # of a function whose values are of size 1 to 10
    generator = torch.Generator().manual_seed(1)
    for size in (0.01, 0.1, 1.0):
        elsewhere = best.detach() + size * torch.randn(best.shape, generator=generator)
        assert exact_query_loss(sampler, *elsewhere) > lowest


def test_the_mean_is_the_best_start_for_every_alpha() -> None:
    sampler = make_sampler("two weights, two shots")
    generator = torch.Generator().manual_seed(2)
    for alpha in torch.randn(20, 2, generator=generator):
        start = sampler.weight_mean.clone().requires_grad_()
        (slope,) = torch.autograd.grad(sampler.expected_query_loss(alpha, start), start)
        curvature = torch.autograd.functional.hessian(lambda t, a=alpha: sampler.expected_query_loss(a, t), start)
        assert slope.abs().max() < 1e-12
        assert curvature.diagonal().min() > 0
        assert (curvature - curvature.diag().diag()).abs().max() == 0


def test_in_alpha_the_loss_is_a_separable_convex_quadratic_at_every_theta() -> None:
    sampler = make_sampler("three weights, one shot")
    generator = torch.Generator().manual_seed(3)
    for theta in torch.randn(5, 3, generator=generator):
        curvatures = [
            torch.autograd.functional.hessian(lambda a, t=theta: sampler.expected_query_loss(a, t), alpha)
            for alpha in torch.randn(2, 3, generator=generator)
        ]
        torch.testing.assert_close(curvatures[0], curvatures[1], **EXACT)
        assert curvatures[0].diagonal().min() > 0
        assert (curvatures[0] - curvatures[0].diag().diag()).abs().max() == 0


def test_limits_of_best_alpha() -> None:
    """Many shots: Newton's 1 / (2 lambda). A shared weight: 0. One weight, no noise: a factor 1 / (1 + 2 / K)."""

    def best(shots: int, noise: float = 0.5, **scales: list[float]) -> Tensor:
        scales = {"input_scale": [2.0, 0.5, 1.0], "weight_scale": [1.0, 3.0, 0.0]} | scales
        return LinearRegressionSampler(**scales, noise=noise, shots=shots, dtype=torch.float64).best_alpha()

    torch.testing.assert_close(best(10**12), torch.tensor([1 / 8, 2.0, 0.0]))
    assert best(3)[2] == 0
    assert (best(3, noise=1.0)[:2] < best(3)[:2]).all()
    for shots in (1, 2, 7):
        alone = best(shots, 0.0, input_scale=[3.0], weight_scale=[0.2])
        torch.testing.assert_close(alone, torch.tensor([1 / 18 / (1 + 2 / shots)]), **EXACT)


def test_samples_have_the_moments_that_the_closed_form_assumes() -> None:
    """With 100,000 tasks a mean has a relative error of about 1 percent; 5 percent is five of its standard errors."""
    sampler = LinearRegressionSampler(
        [2.0, 0.5], [0.0, 1.5], [3.0, -1.0], noise=0.7, shots=3, queries=2, dtype=torch.float64
    )
    tasks = sampler.sample(100_000, torch.Generator().manual_seed(4))
    assert tasks.support_x.shape == (100_000, 3, 2)
    assert tasks.query_y.shape == (100_000, 2, 1)
    for x, y in ((tasks.support_x, tasks.support_y[..., 0]), (tasks.query_x, tasks.query_y[..., 0])):
        torch.testing.assert_close(x.square().mean((0, 1)), torch.tensor([4.0, 0.25]), rtol=0.05, atol=0)
        slope = (x * y[..., None]).mean((0, 1)) / x.square().mean((0, 1))
        torch.testing.assert_close(slope, torch.tensor([3.0, -1.0]), rtol=0.05, atol=0)
        left = y - x @ torch.tensor([3.0, -1.0])
        torch.testing.assert_close(left.square().mean(), torch.tensor(1.5**2 * 0.25 + 0.49), rtol=0.05, atol=0)
    # Support and query set share the weights of their task: errors of the mean weight correlate through them.
    through = [(x * (y - x @ sampler.weight_mean[:, None])).mean(1)[:, 1] for x, y in (tasks[:2], tasks[2:])]
    shared = (through[0] * through[1]).mean()
    torch.testing.assert_close(shared, torch.tensor(1.5**2 * 0.25**2), rtol=0.1, atol=0)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"weight_scale": [1.0]}, "lengths"),
        ({"noise": -0.1}, "negative"),
        ({"input_scale": [1.0, -1.0]}, "negative"),
        ({"shots": 0}, "shots is 0"),
        ({"queries": 0}, "queries 0"),
    ],
)
def test_bad_settings_are_refused(changed: dict, message: str) -> None:
    settings = {"input_scale": [1.0, 2.0], "weight_scale": [1.0, 1.0]}
    with pytest.raises(ValueError, match=message):
        LinearRegressionSampler(**settings | changed)
