"""Tasks from several samplers in one meta-batch (chapter 12)."""

from collections.abc import Sequence
from typing import Any

import torch

from metasgd._core.task import Task


class Mixture:
    """Draw equally many tasks from each of several samplers, or one more from the first ones (chapter 12).

    Args:
        samplers: on one device, whose tasks have the same sizes.

    >>> from metasgd.tasks import SineWaveSampler
    >>> Mixture([SineWaveSampler(5, 10), SineWaveSampler(5, 10)]).sample(3).support_x.shape
    torch.Size([3, 5, 1])
    """

    def __init__(self, samplers: Sequence[Any]) -> None:
        self.samplers, self.device = samplers, torch.device(samplers[0].device)

    def sample(self, num_tasks: int, generator: torch.Generator | None = None) -> Task:
        """Draw a batch of tasks, those of the first sampler first."""
        shares = [len(range(start, num_tasks, len(self.samplers))) for start in range(len(self.samplers))]
        parts = [
            sampler.sample(share, generator) for sampler, share in zip(self.samplers, shares, strict=True) if share
        ]
        return Task(*(torch.cat(field) for field in zip(*parts, strict=True)))
