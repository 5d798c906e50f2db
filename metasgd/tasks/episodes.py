"""N-way K-shot episodes of images, drawn on the device, many at once (chapter 7)."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from metasgd._core.task import Task, device_or_default
from metasgd.tasks.augment import Augment


class EpisodeSampler:
    """Draw N-way K-shot image classification tasks from images by class (chapter 7).

    All images are kept on ``device`` in their own dtype (uint8 takes least memory), and every task is drawn there. A
    task has ``ways`` different classes, and ``shots`` support and ``queries`` query examples of each class, all of
    them different. In each task, the labels 0 to ways - 1 are assigned to the classes at random, so a network cannot
    learn which class has which label.

    Args:
        images: one tensor for each class, of shape (examples, height, width), or (examples, channels, height, width)
            if there are several channels, as in colour; or one tensor with a leading dimension of classes. Classes
            may differ in their number of examples. uint8 is scaled to 0..1; floats stay as they are, so scale or
            standardise them yourself.
        ways: classes in a task.
        shots: support examples of each class.
        queries: query examples of each class.
        device: where the images are kept and the tasks are drawn (None: PyTorch's default device).
        augment: ``augment(pictures, generator) -> pictures``, applied to all drawn pictures, as float32 of shape
            (pictures, channels, height, width), with one channel if they are grey. Use it for meta-training only.
            ``metasgd.tasks.Augment`` wants values in 0..1.
        seed: of the generator that ``sample`` uses if it is given none.

    Raises:
        ValueError: ``ways``, ``shots`` or ``queries`` is below 1, there are fewer classes than ``ways``, a class has
            too few examples, or the pictures of a class are unsuitable, as ``check_pictures`` says.

    >>> colours = torch.randint(256, (6, 20, 3, 32, 32), dtype=torch.uint8)  # 20 pictures in each of 6 classes
    >>> EpisodeSampler(colours, ways=5, shots=1).sample(num_tasks=4).support_x.shape
    torch.Size([4, 5, 3, 32, 32])
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
        classes = list(map(torch.as_tensor, images))
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
        check_pictures(classes, in_0_to_1=isinstance(augment, Augment))
        self.ways, self.shots, self.queries = ways, shots, queries
        self.device, self.augment = device_or_default(device), augment
        pictures = torch.cat([images.to(self.device) for images in classes])
        self._pictures = pictures if pictures.ndim == 4 else pictures.unsqueeze(1)
        self._counts = torch.tensor([len(pictures) for pictures in classes], device=self.device)
        self._offsets = self._counts.cumsum(0) - self._counts
        self._generator = torch.Generator(self.device).manual_seed(seed)

    def sample(self, num_tasks: int, generator: torch.Generator | None = None) -> Task:
        """Draw ``num_tasks`` tasks as one batch.

        Args:
            num_tasks: the number of tasks, B.
            generator: on the sampler's device (None: the sampler's own, seeded at its construction).

        Returns:
            float32 inputs of shape (B, ways * examples, channels, height, width), with one channel if the images have
            none, and int64 targets of shape (B, ways * examples), class by class, where ``examples`` is the number of
            shots in the support set and that of the queries in the query set.
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
            pictures = self.augment(pictures.flatten(0, 2), generator).reshape(pictures.shape)
        support, query = torch.split(pictures, [self.shots, self.queries], dim=2)
        labels = torch.arange(self.ways, device=self.device)
        return Task(
            support.flatten(1, 2),
            labels.repeat_interleave(self.shots).repeat(num_tasks, 1),
            query.flatten(1, 2),
            labels.repeat_interleave(self.queries).repeat(num_tasks, 1),
        )

    def draw_classes(self, num_tasks: int, generator: torch.Generator) -> Tensor:
        """Draw the classes of each task, in the order of their labels: int64 of shape (num_tasks, ways).

        ``sample`` does this first, so a generator in the same state gives the classes that ``sample`` would draw.
        """
        counts = torch.full((num_tasks,), len(self._counts), device=self.device)
        return draw_without_replacement(counts, self.ways, generator)


def check_pictures(classes: Sequence[Tensor], *, in_0_to_1: bool = False) -> None:
    """Refuse classes of pictures that are no pictures, or differ in their form.

    Args:
        classes: one tensor of pictures for each class, as ``EpisodeSampler`` takes them.
        in_0_to_1: whether floats must lie in 0..1, up to a thousandth.

    Raises:
        ValueError: a shape that is not that of pictures, or whose channels come last; a dtype that is neither uint8
            nor that of floats; classes that differ in shape or dtype; a pixel that is not finite, or not in 0..1.
    """
    first = classes[0]
    for label, pictures in enumerate(classes):
        shape, dtype = tuple(pictures.shape), pictures.dtype
        if len(shape) not in (3, 4):
            raise ValueError(
                f"class {label} has shape {shape}; pictures have the shape (examples, height, width), or (examples, "
                "channels, height, width)"
            )
        if len(shape) == 4 and shape[3] in (3, 4) and shape[1] > 4:
            raise ValueError(
                f"class {label} has shape {shape}, which looks like (examples, height, width, channels); pass "
                "images.movedim(-1, -3)"
            )
        if dtype not in (torch.uint8, torch.bool) and not dtype.is_floating_point:
            raise ValueError(
                f"class {label} has dtype {dtype}; pictures are uint8 with values 0..255, or floating-point numbers"
            )
        for name, own, other in (("shape", shape[1:], tuple(first.shape[1:])), ("dtype", dtype, first.dtype)):
            if own != other:
                raise ValueError(
                    f"the pictures of class {label} have {name} {own}, those of class 0 {other}; all classes need the "
                    f"same{', as uint8 alone is scaled to 0..1' if name == 'dtype' else ''}"
                )
        if pictures.is_floating_point() and not pictures.isfinite().all():
            raise ValueError(f"class {label} has NaN or infinite pixels; clean the data")
        if in_0_to_1 and pictures.is_floating_point() and not ((pictures >= -1e-3) & (pictures <= 1.001)).all():
            raise ValueError(
                f"class {label} has pixels from {pictures.min().item():g} to {pictures.max().item():g}, of which "
                "Augment would cut off all beyond 0..1; scale them to 0..1, e.g. by images / 255"
            )


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
