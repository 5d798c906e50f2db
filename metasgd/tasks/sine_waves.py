"""Sine waves: regression tasks that can be drawn as curves, from the first experiment of the paper (chapter 6)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from metasgd._core.task import Task, device_or_default

Range = tuple[float, float]


class SineWaves(NamedTuple):
    """B curves ``y = amplitude * sin(frequency * x + phase)`` (chapter 6); each field has the shape (B, 1, 1).

    >>> waves = SineWaves(torch.full((1, 1, 1), 2.0), torch.ones(1, 1, 1), torch.zeros(1, 1, 1))
    >>> waves(torch.tensor([[[0.0], [math.pi / 2]]])).flatten().tolist()
    [0.0, 2.0]
    """

    amplitude: Tensor
    frequency: Tensor
    phase: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Return the values of each curve at its own inputs; both have the shape (B, examples, 1)."""
        return self.amplitude * torch.sin(self.frequency * x + self.phase)


class SineWaveSampler:
    """Draw regression tasks, each of which is a sine wave that is known at a few random inputs (chapter 6).

    All numbers are drawn uniformly from their ranges. The default ranges are those of Li et al. 2017.

    Args:
        shots: support examples of a task.
        queries: query examples of a task.
        amplitude: the range of the amplitude.
        frequency: the range of the angular frequency.
        phase: the range of the phase, in radians.
        inputs: the range of x.
        device: where tasks are drawn (None: PyTorch's default device).
        dtype: of all four tensors of a task.
        seed: of the generator that ``sample`` and ``waves`` use if they are given none.

    Raises:
        ValueError: the end of a range lies below its start, or ``shots`` or ``queries`` is below 1.
    """

    def __init__(
        self,
        shots: int = 5,
        queries: int = 15,
        *,
        amplitude: Range = (0.1, 5.0),
        frequency: Range = (0.8, 1.2),
        phase: Range = (0.0, math.pi),
        inputs: Range = (-5.0, 5.0),
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
        seed: int = 0,
    ) -> None:
        ranges = {"amplitude": amplitude, "frequency": frequency, "phase": phase, "inputs": inputs}
        for name, (low, high) in ranges.items():
            if not low <= high:
                raise ValueError(f"{name} is the range ({low}, {high}); its end must not lie below its start")
        if min(shots, queries) < 1:
            raise ValueError(f"shots is {shots} and queries {queries}; both must be at least 1")
        self.shots, self.queries = shots, queries
        self.amplitude, self.frequency, self.phase, self.inputs = amplitude, frequency, phase, inputs
        self.device, self.dtype = device_or_default(device), dtype
        self._generator = torch.Generator(self.device).manual_seed(seed)

    def sample(self, num_tasks: int, generator: torch.Generator | None = None) -> Task:
        """Draw a batch of tasks.

        Args:
            num_tasks: the number of tasks, B.
            generator: on the sampler's device (None: the sampler's own, seeded at its construction).

        Returns:
            Inputs and targets, both of shape (B, examples, 1).
        """
        generator = generator or self._generator
        waves = self.waves(num_tasks, generator)
        x = self._uniform(self.inputs, (num_tasks, self.shots + self.queries, 1), generator)
        sizes = [self.shots, self.queries]
        (support_x, query_x), (support_y, query_y) = torch.split(x, sizes, 1), torch.split(waves(x), sizes, 1)
        return Task(support_x, support_y, query_x, query_y)

    def waves(self, num_tasks: int, generator: torch.Generator | None = None) -> SineWaves:
        """Draw only the curves of a batch of tasks.

        ``sample`` does this first, so a generator in the same state gives the curves of the tasks that it would draw.
        """
        generator = generator or self._generator
        ranges = (self.amplitude, self.frequency, self.phase)
        return SineWaves(*(self._uniform(ends, (num_tasks, 1, 1), generator) for ends in ranges))

    def _uniform(self, ends: Range, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        low, high = ends
        return low + (high - low) * torch.rand(shape, generator=generator, device=self.device, dtype=self.dtype)
