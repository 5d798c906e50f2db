"""N-way K-shot episodes of images, drawn on the device, many at once (chapter 7)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from metasgd._core.task import Task, device_or_default


class EpisodeSampler:
    """Draw N-way K-shot image classification tasks from images by class (chapter 7).

    All images are kept on ``device`` in their own dtype (uint8 takes least memory), and every task is drawn there. A
    task has ``ways`` different classes, and ``shots`` support and ``queries`` query examples of each class, all of
    them different. In each task, the labels 0 to ways - 1 are assigned to the classes at random, so a network cannot
    learn which class has which label.

    Args:
        images: one uint8 or float tensor of shape (examples, height, width) for each class, or one tensor of shape
            (classes, examples, height, width). Classes may differ in size. Values of uint8 are scaled to 0..1.
        ways: classes in a task.
        shots: support examples of each class.
        queries: query examples of each class.
        device: where the images are kept and the tasks are drawn (None: PyTorch's default device).
        augment: ``augment(pictures, generator) -> pictures``, applied to all drawn pictures, as float32 of shape
            (pictures, 1, height, width). Use it for meta-training only.
        seed: of the generator that ``sample`` uses if it is given none.

    Raises:
        ValueError: ``ways``, ``shots`` or ``queries`` is below 1, there are fewer classes than ``ways``, a class has
            too few examples, or a pixel is not finite.
    """

    def __init__(
        self,
        images: Tensor | Sequence[Tensor],
        ways: int,
        shots: int,
        queries: int = 15,
        *,
        device: torch.device | str | None = None,
        augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
        seed: int = 0,
    ) -> None:
        classes = list(images)
        for name, value in (("ways", ways), ("shots", shots), ("queries", queries)):
            if value < 1:
                raise ValueError(f"{name} is {value}; it must be at least 1")
        if ways > len(classes):
            raise ValueError(f"{ways} ways need {ways} classes, but there are {len(classes)}; lower ways")
        smallest = min(map(len, classes))
        if shots + queries > smallest:
            raise ValueError(
                f"{shots} shots and {queries} queries need {shots + queries} examples of a class, but the smallest "
                f"class has {smallest}; lower shots or queries"
            )
        for label, pictures in enumerate(classes):
            if pictures.is_floating_point() and not pictures.isfinite().all():
                raise ValueError(f"class {label} has NaN or infinite pixels; clean the data")
        self.ways, self.shots, self.queries = ways, shots, queries
        self.device, self.augment = device_or_default(device), augment
        self._pictures = torch.cat(classes).to(self.device)
        self._counts = torch.tensor([len(pictures) for pictures in classes], device=self.device)
        self._offsets = self._counts.cumsum(0) - self._counts
        self._generator = torch.Generator(self.device).manual_seed(seed)

    def sample(self, num_tasks: int, generator: torch.Generator | None = None) -> Task:
        """Draw ``num_tasks`` tasks as one batch.

        Args:
            num_tasks: the number of tasks, B.
            generator: on the sampler's device (None: the sampler's own, seeded at its construction).

        Returns:
            float32 inputs of shape (B, ways * examples, 1, height, width) and int64 targets of shape
            (B, ways * examples), class by class, where ``examples`` is the number of shots in the support set and that
            of the queries in the query set.
        """
        generator = generator or self._generator
        classes = self.draw_classes(num_tasks, generator)
        examples = draw_without_replacement(self._counts[classes], self.shots + self.queries, generator)
        index = self._offsets[classes, None] + examples
        # index_select copies whole pictures. self._pictures[index] gives the same, but copies pixel by pixel, which is
        # many times slower on a CPU.
        pictures = self._pictures.index_select(0, index.flatten())
        pictures = pictures.view(index.shape + pictures.shape[1:])
        pictures = pictures / 255 if pictures.dtype == torch.uint8 else pictures.float()
        if self.augment is not None:
            flat = pictures.flatten(0, 2).unsqueeze(1)
            pictures = self.augment(flat, generator).reshape(pictures.shape)
        support, query = torch.split(pictures, [self.shots, self.queries], dim=2)
        labels = torch.arange(self.ways, device=self.device)
        return Task(
            support.flatten(1, 2).unsqueeze(2),
            labels.repeat_interleave(self.shots).repeat(num_tasks, 1),
            query.flatten(1, 2).unsqueeze(2),
            labels.repeat_interleave(self.queries).repeat(num_tasks, 1),
        )

    def draw_classes(self, num_tasks: int, generator: torch.Generator) -> Tensor:
        """Draw the classes of each task, in the order of their labels: int64 of shape (num_tasks, ways).

        ``sample`` does this first, so a generator in the same state gives the classes that ``sample`` would draw.
        """
        counts = torch.full((num_tasks,), len(self._counts), device=self.device)
        return draw_without_replacement(counts, self.ways, generator)


def draw_without_replacement(counts: Tensor, size: int, generator: torch.Generator) -> Tensor:
    """For each entry of ``counts``, draw ``size`` different numbers from ``0..entry - 1``, in random order.

    This is Floyd's algorithm (Bentley and Floyd 1987). Its cost depends on ``size`` but not on ``counts``, so drawing
    from a class of 7,000 images costs no more than drawing from a class of 20.

    Args:
        counts: int64 of any shape, no entry below ``size``.
        size: how many numbers are drawn.
        generator: on the device of ``counts``.

    Returns:
        int64 of shape ``counts.shape + (size,)``.

    >>> counts = torch.tensor([3, 1000])
    >>> draw_without_replacement(counts, 3, torch.Generator().manual_seed(0)).shape
    torch.Size([2, 3])
    """
    uniform = torch.rand((*counts.shape, size), generator=generator, device=counts.device, dtype=torch.float64)
    chosen = torch.full_like(uniform, -1, dtype=torch.int64)
    for step in range(size):
        last = counts - size + step
        candidate = (uniform[..., step] * (last + 1)).long()
        taken = (chosen[..., :step] == candidate[..., None]).any(-1)
        chosen[..., step] = torch.where(taken, last, candidate)
    order = torch.rand(uniform.shape, generator=generator, device=counts.device).argsort(-1)
    return chosen.gather(-1, order)
