"""Glyphs as many hands write them: classes with a second way of writing, and families that look alike (chapter 8).

The glyphs of ``metasgd.tasks.glyphs`` are the same movement in every picture of a class, made by an unsteady hand.
Handwriting varies more. A 7 may have a bar, and a 4 may be open; and a 4 that is closed looks much like a 9. So here
half of the classes are written in two ways that differ in structure, or classes come in families whose members differ
as little as that. Both are made by the same change: ``with_a_change``. No pictures are used.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from metasgd._core.checks import check_counts
from metasgd.tasks.augment import Augment, Deslanted
from metasgd.tasks.episodes import EpisodeSampler, draw_without_replacement
from metasgd.tasks.glyphs import (
    MAX_PIECES,
    Movement,
    Style,
    _category,
    _uniform,
    draw_movements,
    draw_pens,
    inked,
    unsteady,
)
from metasgd.tasks.mixture import Mixture
from metasgd.tasks.strokes import SIZE

# Letters and digits have few strokes, and those of several strokes have simple ones.
SIMPLE = Style(
    bends=(0.33, 0.37, 0.17, 0.13),
    strokes=(0.5, 0.38, 0.12, 0.0),
    pieces=(0.3, 0.45, 0.25),
    touches=(0.3, 0.3, 0.28, 0.12),
    most_pieces=(MAX_PIECES, 2, 1, 1),
)
UNSTEADINESS = (0.8, 2.2)  # the range of a class's factor of the differences between its pictures
UNSTEADINESS_OF_FAMILIES = (0.8, 1.6)  # less, so that members do not become each other
SLANT = 0.3  # the standard deviation of the slant, which ``deslant`` takes out again
SECOND_WAY = 0.4  # the share of pictures in the second way, in a class that has one
FAMILY = 4  # the classes of a family
PICTURES = 20  # of a class
# What a hand changes in a glyph, while meta-training; the glyphs themselves differ in stretch, slant and pen already.
UNSTEADY = Augment(rotation=8, scale=0.12, shear=0.15, shift=0.03, warp=0.02, thickness=0.5, blur=0.3, contrast=0.2)


def handwritten_classes(count: int, examples: int, *, seed: int = 0) -> Tensor:
    """Draw classes of which every other one is written in two ways, in bright ink on black, scaled as MNIST's digits.

    Args:
        count: the number of classes.
        examples: the number of pictures of each class.
        seed: decides everything that is random.

    Returns:
        uint8 of shape (count, examples, 28, 28). Classes whose pictures are mostly wider than high are turned by a
        quarter, as digits are high.

    Raises:
        ValueError: ``count`` or ``examples`` is below 1.

    >>> handwritten_classes(6, 4).shape
    torch.Size([6, 4, 28, 28])
    """
    check_counts(count=count, examples=examples)
    generator = torch.Generator().manual_seed(seed)
    first = draw_movements(count, generator, SIMPLE)
    both = joined([first, with_a_change(first, generator)])
    has_second = torch.arange(count) % 2 == 0
    label = torch.arange(count).repeat_interleave(examples)
    in_second = (torch.rand(len(label), generator=generator) < SECOND_WAY) & has_second[label]
    return draw(chosen(both, label + count * in_second), examples, UNSTEADINESS, generator)


def families(count: int, examples: int, *, seed: int = 0) -> Tensor:
    """Draw classes in families of ``FAMILY`` that look much alike: a first one, and others with one change to it.

    Args:
        count: the number of families.
        examples: the number of pictures of each class.
        seed: decides everything that is random.

    Returns:
        uint8 of shape (count * FAMILY, examples, 28, 28), family by family, otherwise as ``handwritten_classes``.

    Raises:
        ValueError: ``count`` or ``examples`` is below 1.

    >>> families(2, 4).shape
    torch.Size([8, 4, 28, 28])
    """
    check_counts(count=count, examples=examples)
    generator = torch.Generator().manual_seed(seed)
    first = draw_movements(count, generator, SIMPLE)
    members = joined([first, *(with_a_change(first, generator) for _ in range(FAMILY - 1))])
    in_order = torch.arange(count * FAMILY).reshape(FAMILY, count).T.flatten()  # family by family
    each = chosen(members, in_order.repeat_interleave(examples))
    return draw(each, examples, UNSTEADINESS_OF_FAMILIES, generator)


def mirrored(classes: Tensor) -> Tensor:
    """Return classes as they are, turned by half a turn, and mirrored in both directions: four times as many.

    Args:
        classes: of shape (classes, examples, height, width).
    """
    return torch.cat([classes, classes.flip(2, 3), classes.flip(2), classes.flip(3)])


class FamilySampler(EpisodeSampler):
    """Draw tasks in which some classes are of one family, and so look much alike (chapter 8).

    Args:
        classes: of shape (families * FAMILY, examples, height, width), as ``families`` returns them.
        *arguments: of ``EpisodeSampler``: ways, shots and queries.
        alike: the chance that a class is of the family of the class that was drawn before it.
        **options: of ``EpisodeSampler``.

    Raises:
        ValueError: classes that are not whole families, or fewer families than ways.
    """

    def __init__(
        self, classes: Tensor | Sequence[Tensor], *arguments: Any, alike: float = 0.3, **options: Any
    ) -> None:
        super().__init__(classes, *arguments, **options)
        if len(classes) % FAMILY or len(classes) < self.ways * FAMILY:
            raise ValueError(
                f"{len(classes)} classes are not whole families of {FAMILY}, at least {self.ways} of them; draw them "
                "by metasgd.tasks.handwriting.families"
            )
        self.alike = alike

    def draw_classes(self, num_tasks: int, generator: torch.Generator) -> Tensor:
        """Draw the classes of each task, in the order of their labels: int64 of shape (num_tasks, ways)."""
        random = partial(torch.rand, generator=generator, device=self.device)
        joins = random((num_tasks, self.ways)) < self.alike
        number = member = torch.zeros(num_tasks, dtype=torch.int64, device=self.device)
        numbers, members = [number], [member]  # of each class: which family of the task it is of, and which member
        for place in range(1, self.ways):
            same = joins[:, place] & (member < FAMILY - 1)
            member = torch.where(same, member + 1, 0)
            number = number + ~same
            numbers.append(number)
            members.append(member)
        which, rank = torch.stack(numbers, 1), torch.stack(members, 1)
        counts = torch.full((num_tasks,), len(self._counts) // FAMILY, device=self.device)
        family = draw_without_replacement(counts, self.ways, generator).gather(1, which)
        order = random((num_tasks, self.ways, FAMILY)).argsort(2)  # of the members of each family
        own = order.gather(1, which[..., None].expand(-1, -1, FAMILY)).gather(2, rank[..., None])[..., 0]
        return (family * FAMILY + own).gather(1, random((num_tasks, self.ways)).argsort(1))


def handwriting_sampler(
    ways: int,
    shots: int,
    queries: int,
    *,
    classes: int = 2000,
    seed: int = 0,
    device: torch.device | str | None = None,
) -> Mixture:
    """Return the sampler of the tasks from which chapter 8 learns to read digits: random glyphs, as hands write them.

    Half of the tasks of a meta-batch have classes that may have a second way of writing, and half have families that
    look alike. Each picture is changed by an unsteady hand, and then its slant is taken out. All are mirrored, too.

    Args:
        ways: classes in a task.
        shots: support pictures of a class.
        queries: query pictures of a class.
        classes: of each half, before they are mirrored, of 20 pictures each.
        seed: decides the glyphs.
        device: where pictures are kept and tasks are drawn (None: PyTorch's default device).
    """
    options: dict[str, Any] = {"device": device, "augment": Deslanted(UNSTEADY)}
    one = mirrored(handwritten_classes(classes, PICTURES, seed=seed))
    two = mirrored(families(classes // FAMILY, PICTURES, seed=seed))
    sizes = ways, shots, queries
    return Mixture([EpisodeSampler(one, *sizes, **options), FamilySampler(two, *sizes, **options)])


def with_a_change(movements: Movement, generator: torch.Generator) -> Movement:
    """Return each movement with one change of structure: another way to write it, or a symbol that looks like it.

    With nearly equal chances, a piece bends the other way or becomes a loop; a corner becomes round, or a round joint
    a corner; a piece gets much longer or shorter; or a piece is added, and where there is no room for one, the strokes
    are joined elsewhere.
    """
    uniform, category = partial(_uniform, generator), partial(_category, generator)
    lengths, turns, corners = (part.clone() for part in (movements.lengths, movements.turns, movements.corners))
    count, row = len(lengths), torch.arange(len(lengths))
    kind = category((0.3, 0.25, 0.2, 0.25), count)
    flat = lengths.flatten(1)
    piece = (torch.rand(flat.shape, generator=generator) * (flat > 0)).argmax(1)  # one that exists

    def change(values: Tensor, place: Tensor, which: Tensor, new: Tensor) -> None:
        values = values.view(count, -1)
        values[row, place] = torch.where(which, new, values[row, place])

    bend = turns.view(count, -1)[row, piece]
    other_way, loop = -bend * uniform(0.7, 1.3, count), bend.sign() * uniform(4.6, 6.6, count)
    bent = torch.where(torch.rand(count, generator=generator) < 0.5, other_way, loop)
    bent = torch.where(bend.abs() > 3.5, bend.sign() * uniform(0.3, 2.6, count), bent)
    change(turns, piece, kind == 0, bent)

    joint = torch.where(piece % MAX_PIECES == 0, (piece + 1).clamp(max=flat.shape[1] - 1), piece)
    corner = corners.view(count, -1)[row, joint]
    sharp = uniform(0.9, 2.4, count) * (2 * category((0.5, 0.5), count) - 1)
    sharp = torch.where(corner.abs() > 0.1, torch.zeros(count), sharp)
    change(corners, joint, (kind == 1) & (joint % MAX_PIECES > 0), sharp)

    is_short = torch.rand(count, generator=generator) < 0.5
    factor = torch.where(is_short, uniform(0.2, 0.5, count), uniform(1.7, 2.5, count))
    change(lengths, piece, kind == 2, lengths.view(count, -1)[row, piece] * factor)

    used = (lengths[:, 0] > 0).sum(1)
    change(lengths, used.clamp(max=MAX_PIECES - 1), (kind == 3) & (used < MAX_PIECES), uniform(0.35, 0.8, count))
    elsewhere = (movements.base + uniform(0.25, 0.75, *movements.base.shape)) % 1
    base = torch.where(((kind == 3) & (used == MAX_PIECES))[:, None], elsewhere, movements.base)
    return movements._replace(lengths=lengths, turns=turns, corners=corners, base=base)


def draw(movements: Movement, examples: int, strengths: tuple[float, float], generator: torch.Generator) -> Tensor:
    """Draw each movement once, by an unsteady hand, and turn classes that are wider than high.

    Args:
        movements: those of all pictures, class by class.
        examples: the number of pictures of a class.
        strengths: the range of a class's factor of the differences between its pictures.
        generator: for all that is random, on the CPU.

    Returns:
        uint8 of shape (classes, examples, 28, 28).
    """
    count = len(movements.lengths)
    strength = _uniform(generator, *strengths, count // examples).repeat_interleave(examples)
    movements, pens = unsteady(movements, generator, strength), draw_pens(count, generator, SLANT)
    pictures = inked(movements, pens, SIZE).reshape(-1, examples, SIZE, SIZE)
    ink = pictures > 100
    height, width = (ink.any(dim).sum(2).float().mean(1) for dim in (3, 2))
    return torch.where((width > height)[:, None, None, None], torch.rot90(pictures, 1, dims=(2, 3)), pictures)


def joined(movements: Sequence[Movement]) -> Movement:
    """Return several groups of movements as one, the first group first."""
    return Movement(*(torch.cat(parts) for parts in zip(*movements, strict=True)))


def chosen(movements: Movement, index: Tensor) -> Movement:
    """Return the movements with these indices."""
    return Movement(*(part[index] for part in movements))
