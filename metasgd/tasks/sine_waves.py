"""Sine waves: regression tasks that one can see, from the first experiment of the paper (chapter 6)."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from metasgd._core.task import Task, device_or_default

Range = tuple[float, float]


class SineWaves(NamedTuple):
    """B curves ``y = amplitude * sin(frequency * x + phase)``; each field has the shape (B, 1, 1).

    >>> waves = SineWaves(torch.full((1, 1, 1), 2.0), torch.ones(1, 1, 1), torch.zeros(1, 1, 1))
    >>> waves(torch.tensor([[[0.0], [math.pi / 2]]])).flatten().tolist()
    [0.0, 2.0]
    """

    amplitude: Tensor
    frequency: Tensor
    phase: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """Return the values of each curve at its inputs: (B, examples, 1) to the same shape."""
        return self.amplitude * torch.sin(self.frequency * x + self.phase)


class SineWaveSampler:
    """Draw regression tasks: every task is a sine wave of its own, seen at a few random inputs (chapter 6).

    All numbers are drawn uniformly from their ranges; the defaults are those of Li et al. 2017.

    Args:
        shots: support examples of a task.
        queries: query examples of a task.
        amplitude: range of the height.
        frequency: range of the angular frequency.
        phase: range of the phase, in radians.
        inputs: range of x.
        device: where tasks are drawn (None: PyTorch's default device).
        dtype: of all four tensors of a task.
        seed: for ``sample`` and ``waves`` without a generator.

    Raises:
        ValueError: a range whose end lies below its start, or no examples.
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
        """Draw a batch of tasks: inputs (B, examples, 1) and targets (B, examples, 1)."""
        generator = generator or self._generator
        waves = self.waves(num_tasks, generator)
        x = self._uniform(self.inputs, (num_tasks, self.shots + self.queries, 1), generator)
        sizes = [self.shots, self.queries]
        (support_x, query_x), (support_y, query_y) = x.split(sizes, 1), waves(x).split(sizes, 1)
        return Task(support_x, support_y, query_x, query_y)

    def waves(self, num_tasks: int, generator: torch.Generator | None = None) -> SineWaves:
        """Draw the curves alone: with a generator in the same state, those of the tasks that ``sample`` draws."""
        generator = generator or self._generator
        ranges = (self.amplitude, self.frequency, self.phase)
        return SineWaves(*(self._uniform(ends, (num_tasks, 1, 1), generator) for ends in ranges))

    def _uniform(self, ends: Range, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        low, high = ends
        return low + (high - low) * torch.rand(shape, generator=generator, device=self.device, dtype=self.dtype)
