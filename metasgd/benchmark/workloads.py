"""What the benchmark measures: workloads, the settings that they share, and the tasks of a workload (chapter 9)."""

from dataclasses import dataclass

import torch

from metasgd._core.task import Task
from metasgd.data import load_mnist
from metasgd.tasks import EpisodeSampler, SineWaveSampler

WAYS = 5
SINE_POINTS, SINE_WIDTH = 10, 40
META_BATCHES = 2  # the number of different meta-batches, which a contender takes in turn


@dataclass(frozen=True)
class Workload:
    """A problem on which all contenders are measured (chapter 9).

    Args:
        kind: ``"convnet"`` (5-way classification of MNIST digits) or ``"sine"`` (regression of sine waves).
        meta_batch: tasks in a meta-update.
        shots: support examples, of each class for ``"convnet"``.
        queries: query examples, of each class for ``"convnet"``.
        width: filters of a convolution, or neurons of a hidden layer.

    Raises:
        ValueError: a number below 1.

    >>> str(Workload("convnet", meta_batch=4, shots=1, queries=15, width=32))
    'convnet, 32 filters, 5-way 1-shot, meta-batch 4'
    """

    kind: str
    meta_batch: int
    shots: int = SINE_POINTS
    queries: int = SINE_POINTS
    width: int = SINE_WIDTH

    def __post_init__(self) -> None:
        for name in ("meta_batch", "shots", "queries", "width"):
            check_at_least_one(name, getattr(self, name))

    @property
    def unit(self) -> str:
        """What the speed counts: ``"tasks"`` or ``"meta-steps"`` per second."""
        return "tasks" if self.kind == "convnet" else "meta-steps"

    @property
    def sort_key(self) -> tuple[str, int, int, int]:
        """The key by which results are sorted, whichever run they come from."""
        return self.kind, self.width, self.shots, self.meta_batch

    def __str__(self) -> str:
        if self.kind == "sine":
            return f"sine waves, 1-{self.width}-{self.width}-1, meta-batch {self.meta_batch}"
        return f"convnet, {self.width} filters, {WAYS}-way {self.shots}-shot, meta-batch {self.meta_batch}"


@dataclass(frozen=True)
class Settings:
    """What all workloads of a run have in common.

    Args:
        device: where the meta-updates are computed.
        rounds: how many times each contender is timed.
        seconds: how many seconds a contender runs in a round, at least.
        memory: whether the peak memory is measured, too.
        seed: decides theta, alpha, the tasks and the order of the contenders.

    Raises:
        ValueError: ``rounds`` is below 1.
    """

    device: torch.device
    rounds: int = 5
    seconds: float = 0.3
    memory: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        check_at_least_one("rounds", self.rounds)


def check_at_least_one(name: str, value: int) -> None:
    """Refuse a number below 1.

    Raises:
        ValueError: ``value`` is below 1; the message calls it ``name``.
    """
    if value < 1:
        raise ValueError(f"{name} is {value}; it must be at least 1")


def make_tasks(workload: Workload, settings: Settings, dtype: torch.dtype) -> list[Task]:
    """Return the meta-batches that every contender gets.

    They are drawn on the CPU, so the seed decides the same tasks for every device.

    Args:
        workload: decides the kind, the number and the size of the tasks.
        settings: the seed and the device.
        dtype: of the inputs, and of the targets of a regression; labels are int64.

    Returns:
        ``META_BATCHES`` batches of ``workload.meta_batch`` tasks, on the device of the settings.
    """
    generator = torch.Generator().manual_seed(settings.seed)
    sampler: EpisodeSampler | SineWaveSampler
    if workload.kind == "sine":
        sampler = SineWaveSampler(workload.shots, workload.queries, device="cpu")
    else:
        sampler = EpisodeSampler(load_mnist(quiet=True), WAYS, workload.shots, workload.queries, device="cpu")
    batches = [sampler.sample(workload.meta_batch, generator) for _ in range(META_BATCHES)]
    return [
        Task(*(x.to(settings.device, dtype if x.is_floating_point() else x.dtype) for x in batch)) for batch in batches
    ]
