"""Symbols that nobody ever wrote: random pen movements, drawn on the device, any number of classes (chapter 12).

A class is a way to move a pen: one to four strokes, each of one to three pieces that run straight, bend or loop, and
that join smoothly or at a corner. An example is the same movement made by an unsteady hand: every length, every turn
and every corner a little different, slanted, stretched, with a pen of its own. No picture of anything is used.
"""

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from metasgd.tasks.strokes import BOX, SIZE

STROKES, PIECES = 4, 3  # at most, and pieces of a stroke
POINTS = 128  # along the pen's whole way, some 0.7 pixels apart
DRAWN_TOGETHER = 50  # classes whose random numbers are drawn at once, so that more classes begin as fewer do
INKED_TOGETHER = 64  # pictures; what bounds the memory: 64 * 784 * POINTS distances are 26 MB
PEN = (0.7, 1.6)  # half the width of the ink, in pixels of 28: MNIST's strokes, by eye
SOFTNESS = (1.0, 1.6)  # width of the ink's edge, in pixels of 28


class Movement(NamedTuple):
    """How a pen moves: tensors whose leading dimension counts glyphs. Angles are in radians.

    ``lengths`` (0: no such piece), ``turns`` (by how much a piece bends, from its beginning to its end), ``eases``
    (how unevenly: 0 is a circle's arc) and ``corners`` (the change of direction before a piece; before the first piece
    of a stroke, its direction) have the shape (glyphs, STROKES, PIECES). A stroke after the first one is laid with its
    point ``own`` (0 to 1, from beginning to end) on the point ``base`` of what is drawn before (0 to 1), but for
    ``gap``: shapes (glyphs, STROKES), the same, and (glyphs, STROKES, 2). ``stretch`` is the width relative to the
    height, shape (glyphs,).
    """

    lengths: Tensor
    turns: Tensor
    eases: Tensor
    corners: Tensor
    own: Tensor
    base: Tensor
    gap: Tensor
    stretch: Tensor


def glyph_classes(
    count: int, examples: int, *, seed: int = 0, size: int = SIZE, device: torch.device | str = "cpu"
) -> Tensor:
    """Draw examples of random glyphs, set as MNIST's digits are: bright ink, its box 20 of 28 pixels, centred by mass.

    Class c is the same for every ``count``, with the same ``examples``. Every device draws the same glyphs, to the
    rounding of their pixels.

    Args:
        count: classes.
        examples: pictures of each.
        seed: of everything that is random.
        size: pixels of a side.
        device: where to draw, and where the pictures are.

    Returns:
        uint8 of shape (count, examples, size, size).

    Raises:
        ValueError: fewer than one class, example or pixel.

    >>> glyph_classes(5, 20).shape
    torch.Size([5, 20, 28, 28])
    """
    for name, value in (("count", count), ("examples", examples), ("size", size)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    generator = torch.Generator().manual_seed(seed)  # the CPU's, so that the device does not matter
    pictures = torch.empty((count, examples, size, size), dtype=torch.uint8, device=device)
    for first in range(0, count, DRAWN_TOGETHER):
        group = pictures[first : first + DRAWN_TOGETHER].flatten(0, 1)
        with torch.device("cpu"):
            movements = written_again(new_movements(DRAWN_TOGETHER, generator), examples, generator)
            pens = drawn_pens(DRAWN_TOGETHER * examples, generator)
        for start in range(0, len(group), INKED_TOGETHER):
            chosen = slice(start, min(start + INKED_TOGETHER, len(group)))
            movement = Movement(*(part[chosen].to(device) for part in movements))
            way, strokes = pen_way(movement)
            group[chosen] = inked(way, strokes, Pen(*(part[chosen].to(device) for part in pens)), size)
    return pictures


def new_movements(count: int, generator: torch.Generator) -> Movement:
    """Draw the movements of new classes, on the CPU."""
    uniform, chosen = partial(_uniform, generator), partial(_chosen, generator)
    shape = (count, STROKES, PIECES)
    # How a piece bends: nearly straight, as an arc, as a hook, or once around.
    kind = chosen((0.3, 0.35, 0.15, 0.2), *shape)
    bends = torch.stack(
        [uniform(0, 0.2, *shape), uniform(0.6, 2.4, *shape), uniform(2.4, 4.2, *shape), uniform(5.4, 6.8, *shape)]
    )
    turns = bends.gather(0, kind[None])[0] * (2 * chosen((0.5, 0.5), *shape) - 1)
    # A bent piece is longer than a straight one of the same extent.
    lengths = uniform(0.45, 1.1, *shape) * (1 + turns.abs() / 2.5)
    strokes = 1 + chosen((0.4, 0.38, 0.17, 0.05), count)
    pieces = 1 + chosen((0.35, 0.45, 0.2), count, STROKES)
    pieces = torch.where(strokes[:, None] > 2, pieces.clamp(max=2), pieces)  # many strokes are simple ones
    # A single piece alone is a poor glyph, of which there are not many: it gets another one, nine times in ten.
    poor = (strokes == 1) & (uniform(0, 1, count) < 0.9)
    pieces[:, 0] = torch.where(poor, pieces[:, 0].clamp(min=2), pieces[:, 0])
    lengths = lengths * (torch.arange(PIECES) < pieces[..., None])
    lengths = lengths * (torch.arange(STROKES) < strokes[:, None])[..., None]
    lengths[:, 1:] *= uniform(0.4, 1, count, STROKES - 1, 1)
    corners = uniform(0.6, 2.6, *shape) * (chosen((0.35, 0.3, 0.35), *shape) - 1)  # to the right, none, to the left
    corners[..., 0] = uniform(-math.pi, math.pi, count, STROKES)
    # Most strokes touch the one before: with an end on its end, with an end somewhere on it, or crossing it.
    touch = chosen((0.25, 0.3, 0.25, 0.2), count, STROKES)
    own = torch.where(touch == 2, uniform(0.25, 0.75, count, STROKES), chosen((0.7, 0.3), count, STROKES).float())
    base = uniform(0, 1, count, STROKES)
    base = torch.where(touch == 0, base.round(), base)
    gap = uniform(-0.45, 0.45, count, STROKES, 2) * (touch == 3)[..., None]
    stretch = uniform(-0.7, 0.2, count).exp()
    return Movement(lengths, turns, uniform(-0.6, 0.6, *shape), corners, own, base, gap, stretch)


def written_again(movements: Movement, examples: int, generator: torch.Generator) -> Movement:
    """Return every movement ``examples`` times, each time a little different, one class after the other."""
    own = Movement(*(part.repeat_interleave(examples, 0) for part in movements))
    count, shape = len(own.lengths), own.lengths.shape

    def noise(deviation: float, *shape: int) -> Tensor:
        return deviation * torch.randn(shape, generator=generator)

    return Movement(
        lengths=own.lengths * noise(0.16, *shape).exp(),
        turns=own.turns * (1 + noise(0.07, *shape)) + noise(0.13, *shape),
        eases=own.eases + noise(0.2, *shape),
        corners=own.corners + noise(0.16, *shape),
        own=(own.own + noise(0.04, count, STROKES)).clamp(0, 1),
        base=(own.base + noise(0.04, count, STROKES)).clamp(0, 1),
        gap=own.gap + noise(0.05, count, STROKES, 2),
        stretch=own.stretch * noise(0.18, count).exp(),
    )


class Pen(NamedTuple):
    """The hand and the pen of every picture.

    ``slant`` (tangent), ``tilt`` (radians), ``width`` (half of the ink's) and ``softness`` (the width of its edge),
    both in pixels of 28, have the shape (pictures,). ``pressure`` swings along the way: strength, how often, and where
    it begins, shape (pictures, 3).
    """

    slant: Tensor
    tilt: Tensor
    width: Tensor
    softness: Tensor
    pressure: Tensor


def drawn_pens(count: int, generator: torch.Generator) -> Pen:
    """Draw a hand and a pen for every picture."""
    uniform = partial(_uniform, generator)
    return Pen(
        slant=0.2 * torch.randn(count, generator=generator),
        tilt=0.12 * torch.randn(count, generator=generator),
        width=uniform(*PEN, count),
        softness=uniform(*SOFTNESS, count),
        pressure=torch.stack([uniform(0, 0.25, count), uniform(1, 4, count), uniform(0, 2 * math.pi, count)], 1),
    )


def pen_way(movement: Movement) -> tuple[Tensor, Tensor]:
    """Follow the pen over the paper.

    The direction is known everywhere; the place is the sum of small steps in that direction, for all glyphs at once.

    Returns:
        where the pen is at POINTS even steps of its way, as x and y downwards, (glyphs, POINTS, 2), and which stroke
        each point belongs to, int64 of shape (glyphs, POINTS).
    """
    lengths = movement.lengths.flatten(1)  # (glyphs, STROKES * PIECES)
    ends = lengths.cumsum(1)
    total = ends[:, -1:]
    walked = (torch.arange(POINTS, device=lengths.device) + 0.5) / POINTS * total
    piece = torch.searchsorted(ends, walked).clamp(max=STROKES * PIECES - 1)

    def at(values: Tensor) -> Tensor:
        return values.flatten(1).gather(1, piece)

    done = ((walked - at(ends - lengths)) / at(lengths)).clamp(0, 1)  # of the piece
    # Before a piece: the direction of its stroke, then all turns and corners since.
    before = (movement.corners + movement.turns).cumsum(2) - movement.turns
    angle = at(before) + at(movement.turns) * (done + at(movement.eases) * done * (1 - done))
    steps = torch.stack([angle.cos(), angle.sin()], 2) * (total / POINTS)[..., None]
    way = steps.cumsum(1) - steps / 2
    stroke = piece // PIECES
    sizes = (stroke[..., None] == torch.arange(STROKES, device=lengths.device)).sum(1)
    begins = sizes.cumsum(1) - sizes
    for number in range(1, STROKES):
        begin, size = begins[:, number], sizes[:, number]
        own = _point(way, begin + movement.own[:, number] * (size - 1).clamp(min=0))
        base = _point(way, movement.base[:, number] * (begin - 1))
        moved = way + (base - own + movement.gap[:, number])[:, None]
        way = torch.where((stroke == number)[..., None], moved, way)
    return way * torch.stack([movement.stretch, torch.ones_like(movement.stretch)], 1)[:, None], stroke


def _point(way: Tensor, place: Tensor) -> Tensor:
    """Return the point nearest to a place along the way: (glyphs, POINTS, 2) and (glyphs,) to (glyphs, 2)."""
    index = place.round().long().clamp(0, POINTS - 1)
    return way.gather(1, index[:, None, None].expand(-1, 1, 2))[:, 0]


def inked(way: Tensor, stroke: Tensor, pen: Pen, size: int) -> Tensor:
    """Draw the pen's way, scaled to MNIST's box and centred by mass: uint8 of shape (pictures, size, size).

    The ink is a disc at every point, and a pixel is as dark as its place in the nearest one. With squared distances
    less squared radii in place of distances, that is one matrix product and a minimum.
    """
    pixel = size / SIZE
    cos, sin = pen.tilt.cos(), pen.tilt.sin()
    x, y = way.unbind(2)
    x = x - pen.slant[:, None] * y
    way = torch.stack([cos[:, None] * x - sin[:, None] * y, sin[:, None] * x + cos[:, None] * y], 2)
    strength, swings, begin = pen.pressure.T[..., None]
    along = torch.linspace(0, 2 * math.pi, POINTS, device=way.device)
    radius = pixel * pen.width[:, None] * (1 + strength * torch.sin(swings * along + begin))

    low, high = way.amin(1), way.amax(1)
    box = pixel * (BOX - 2 * pen.width)  # the rest of it is the ink's width
    way = (way - (low + high)[:, None] / 2) * (box / (high - low).amax(1).clamp(min=1e-6))[:, None, None]
    margin = pixel * (SIZE - BOX) / 2
    way = way - way.mean(1, keepdim=True).clamp(
        -margin, margin
    )  # the middle of a long tail may lie far from its box's

    line = torch.arange(size, device=way.device) - (size - 1) / 2
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    pixels = torch.stack([columns, rows], 2).reshape(-1, 2)
    # |pixel|^2 is added after the minimum: it is the same for all points.
    points = torch.cat([-2 * way, ((way * way).sum(2) - radius * radius)[..., None]], 2)
    nearest = (torch.cat([pixels, torch.ones_like(pixels[:, :1])], 1) @ points.transpose(1, 2)).amin(2)
    width = pixel * pen.width[:, None]
    beyond = (nearest + (pixels * pixels).sum(1) + width * width).clamp(min=0).sqrt() - width
    ink = (0.5 - beyond / (pixel * pen.softness[:, None])).clamp(0, 1)
    return (255 * ink).round().to(torch.uint8).reshape(-1, size, size)


def _uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    return low + (high - low) * torch.rand(shape, generator=generator)


def _chosen(generator: torch.Generator, chances: tuple[float, ...], *shape: int) -> Tensor:
    """Draw indices, each with its chance."""
    draws = torch.rand(shape, generator=generator)
    return torch.bucketize(draws, torch.tensor(chances).cumsum(0)[:-1], right=True)
