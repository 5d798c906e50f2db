"""Sine waves: how curves and their points are drawn."""

import math

import pytest
import torch
from torch import Tensor

from metasgd.tasks import SineWaves, SineWaveSampler


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [("amplitude", 0.1, 5.0), ("frequency", 0.8, 1.2), ("phase", 0.0, math.pi), ("inputs", -5.0, 5.0)],
)
def test_numbers_are_uniform_over_the_ranges_of_the_paper(device, values, low, high):
    """Kolmogorov-Smirnov: the distribution of 4,000 uniform draws is 1.95 / sqrt(4000) = 0.031 off once in 1,000."""
    sampler = SineWaveSampler(1, 1, device=device)
    if values == "inputs":
        drawn = sampler.sample(4000, generator(0, device)).query_x
    else:
        drawn = getattr(sampler.waves(4000, generator(0, device)), values)
    scaled = ((drawn.flatten().cpu().double() - low) / (high - low)).sort().values
    assert scaled[0] >= 0
    assert scaled[-1] <= 1
    assert (scaled - torch.linspace(0, 1, 4000, dtype=torch.float64)).abs().max() < 0.031


def test_the_numbers_of_a_curve_are_independent(device):
    """A correlation of 4,000 independent pairs has the standard deviation 1 / sqrt(4000); 4 of them are 0.063."""
    waves = SineWaveSampler(device=device).waves(4000, generator(1, device))
    correlations = torch.corrcoef(torch.stack([values.flatten() for values in waves]))
    assert (correlations - torch.eye(3, device=device)).abs().max() < 0.063


def test_a_task_lies_on_its_curve(device):
    """The curves alone, drawn by a generator in the same state, are those of the tasks."""
    sampler = SineWaveSampler(5, 7, device=device, dtype=torch.float64)
    task, waves = sampler.sample(6, generator(2, device)), sampler.waves(6, generator(2, device))
    for x, y in ((task.support_x, task.support_y), (task.query_x, task.query_y)):
        torch.testing.assert_close(waves.amplitude * torch.sin(waves.frequency * x + waves.phase), y)


def test_a_wave_is_amplitude_times_sine_of_frequency_times_x_plus_phase(float64):
    """3 sin(2 x + pi / 6) is 1.5 at 0 and 3 at pi / 6."""
    wave = SineWaves(*(torch.full((1, 1, 1), value) for value in (3.0, 2.0, math.pi / 6)))
    values = wave(torch.tensor([[[0.0], [math.pi / 6]]]))
    torch.testing.assert_close(values, torch.tensor([[[1.5], [3.0]]]))


def test_a_task_has_the_promised_shapes_dtype_and_device(device):
    task = SineWaveSampler(5, 7, device=device, dtype=torch.float64).sample(3)
    assert [tuple(values.shape) for values in task] == [(3, 5, 1)] * 2 + [(3, 7, 1)] * 2
    assert {values.dtype for values in task} == {torch.float64}
    assert {values.device.type for values in task} == {device.type}


def test_the_same_seed_draws_the_same_tasks(device):
    def draw(seed: int) -> Tensor:
        return SineWaveSampler(device=device, seed=seed).sample(4).query_y

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_a_generator_takes_the_place_of_the_samplers_own(device):
    sampler = SineWaveSampler(device=device)
    first, second = (sampler.sample(4, generator(5, device)).query_y for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(sampler.sample(4).query_y, sampler.sample(4).query_y)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shots": 0}, "shots is 0 and queries 15; both must be at least 1"),
        ({"queries": 0}, "shots is 5 and queries 0"),
        ({"amplitude": (5.0, 0.1)}, r"amplitude is the range \(5.0, 0.1\); its end must not lie below its start"),
        ({"inputs": (0.0, math.nan)}, r"inputs is the range \(0.0, nan\)"),
    ],
)
def test_impossible_tasks_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SineWaveSampler(**settings)
