"""Random glyphs: any number of classes of invented symbols, made by random movements of a pen (chapter 12).

A class is a movement of a pen: one to four strokes, each of one to three pieces. A piece runs straight, bends or
loops, and joins the piece before it smoothly or at a corner. An example of the class is the same movement made by an
unsteady hand: all lengths, turns and corners are a little different, and it is slanted, stretched, and drawn with
another pen. No pictures are used.
"""

import math
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from metasgd.tasks.strokes import BOX, SIZE

MAX_STROKES, MAX_PIECES = 4, 3  # the largest numbers of strokes of a glyph and of pieces of a stroke
POINTS = 128  # points on the path of the pen, about 0.7 pixels apart
# Random numbers are always drawn for this many classes at a time, however many classes are asked for. So whoever asks
# for fewer classes gets the first ones of those that others get.
CLASSES_PER_DRAW = 50
# This many pictures are computed at a time, to limit the memory: the distances of 64 * 784 pixels to POINTS points
# take 26 MB.
PICTURES_AT_A_TIME = 64
PEN = (0.7, 1.6)  # the range of half the width of the ink, in pixels of 28; chosen by eye to look like MNIST
SOFTNESS = (1.0, 1.6)  # the range of the width of the ink's edge, in pixels of 28


class Style(NamedTuple):
    """What kind of symbols are drawn. All but the last are probabilities, which sum to 1.

    Attributes:
        bends: that a piece is nearly straight, an arc, a hook, or a loop.
        strokes: of one, two, three and four strokes.
        pieces: that a stroke has one, two and three pieces.
        touches: that a stroke begins or ends where those before it do, begins or ends anywhere on them, crosses them,
            or stays apart.
        most_pieces: how many pieces a stroke has at most, in a glyph of one, two, three and four strokes.
    """

    bends: tuple[float, ...] = (0.3, 0.35, 0.15, 0.2)
    strokes: tuple[float, ...] = (0.4, 0.38, 0.17, 0.05)
    pieces: tuple[float, ...] = (0.35, 0.45, 0.2)
    touches: tuple[float, ...] = (0.25, 0.3, 0.25, 0.2)
    most_pieces: tuple[int, ...] = (MAX_PIECES, MAX_PIECES, 2, 2)


DRAWN = Style()  # as ``glyph_classes`` draws


class Movement(NamedTuple):
    """The movements of a pen for a number of glyphs. Angles are in radians.

    Attributes:
        lengths: of each piece, 0 for a piece that does not exist; shape (glyphs, MAX_STROKES, MAX_PIECES).
        turns: how much the direction changes from the beginning of a piece to its end; the same shape.
        eases: how unevenly the direction changes within a piece; with 0, the piece is an arc of a circle; the same
            shape.
        corners: the change of direction right before a piece, or the direction of a stroke before its first piece; the
            same shape.
        own: which point of a stroke is laid on the strokes before it, from 0 (its beginning) to 1 (its end); shape
            (glyphs, MAX_STROKES). It has no meaning for the first stroke.
        base: on which point of the strokes before it a stroke is laid, from 0 to 1; the same shape.
        gap: how far the stroke is then moved, in x and y; shape (glyphs, MAX_STROKES, 2).
        stretch: the factor by which the width of the glyph is multiplied; shape (glyphs,).
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
    """Draw classes of random glyphs, in bright ink on black, scaled and centred as MNIST's digits (chapter 12).

    With the same number of examples, fewer classes are the first ones of more classes. All devices draw the same
    glyphs, up to the rounding of the pixels.

    Args:
        count: the number of classes.
        examples: the number of pictures of each class.
        seed: decides everything that is random.
        size: the number of pixels of a side; the ink fits a box of 20 / 28 of it.
        device: where the pictures are computed and returned.

    Returns:
        uint8 of shape (count, examples, size, size).

    Raises:
        ValueError: ``count``, ``examples`` or ``size`` is below 1.

    >>> glyph_classes(5, 20).shape
    torch.Size([5, 20, 28, 28])
    """
    for name, value in (("count", count), ("examples", examples), ("size", size)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    generator = torch.Generator().manual_seed(seed)  # on the CPU, so that every device draws the same glyphs
    pictures = torch.empty((count, examples, size, size), dtype=torch.uint8, device=device)
    for first in range(0, count, CLASSES_PER_DRAW):
        group = pictures[first : first + CLASSES_PER_DRAW].flatten(0, 1)
        with torch.device("cpu"):
            movements = vary_movements(draw_movements(CLASSES_PER_DRAW, generator), examples, generator)
            pens = draw_pens(CLASSES_PER_DRAW * examples, generator)
        group.copy_(inked(movements, pens, size, count=len(group), device=device))
    return pictures


def draw_movements(count: int, generator: torch.Generator, style: Style = DRAWN) -> Movement:
    """Draw the movements of ``count`` new classes in a style, on the CPU."""
    uniform, category = partial(_uniform, generator), partial(_category, generator)
    shape = (count, MAX_STROKES, MAX_PIECES)
    kind = category(style.bends, *shape)
    bends = torch.stack(
        [uniform(0, 0.2, *shape), uniform(0.6, 2.4, *shape), uniform(2.4, 4.2, *shape), uniform(5.4, 6.8, *shape)]
    )
    turns = bends.gather(0, kind[None])[0] * (2 * category((0.5, 0.5), *shape) - 1)
    # A bent piece has to be longer than a straight one to take up the same space.
    lengths = uniform(0.45, 1.1, *shape) * (1 + turns.abs() / 2.5)
    strokes = 1 + category(style.strokes, count)
    pieces = 1 + category(style.pieces, count, MAX_STROKES)
    pieces = pieces.minimum(torch.tensor(style.most_pieces)[strokes - 1, None])  # many strokes are simple ones
    # Glyphs of a single piece look much alike. So in nine of ten of them, a second piece is added.
    single = (strokes == 1) & (uniform(0, 1, count) < 0.9)
    pieces[:, 0] = torch.where(single, pieces[:, 0].clamp(min=2), pieces[:, 0])
    lengths = lengths * (torch.arange(MAX_PIECES) < pieces[..., None])
    lengths = lengths * (torch.arange(MAX_STROKES) < strokes[:, None])[..., None]
    lengths[:, 1:] *= uniform(0.4, 1, count, MAX_STROKES - 1, 1)
    corners = uniform(0.6, 2.6, *shape)
    corners *= category((0.35, 0.3, 0.35), *shape) - 1  # to one side, none, or to the other side
    corners[..., 0] = uniform(-math.pi, math.pi, count, MAX_STROKES)
    # Most strokes touch those before: with an end on an end (0), with an end anywhere (1), or crossing them (2). The
    # others (3) are moved away by a gap.
    touch = category(style.touches, count, MAX_STROKES)
    middle, end = uniform(0.25, 0.75, count, MAX_STROKES), category((0.7, 0.3), count, MAX_STROKES).float()
    own = torch.where(touch == 2, middle, end)
    base = uniform(0, 1, count, MAX_STROKES)
    base = torch.where(touch == 0, base.round(), base)
    gap = uniform(-0.45, 0.45, count, MAX_STROKES, 2) * (touch == 3)[..., None]
    stretch = uniform(-0.7, 0.2, count).exp()
    return Movement(lengths, turns, uniform(-0.6, 0.6, *shape), corners, own, base, gap, stretch)


def vary_movements(movements: Movement, examples: int, generator: torch.Generator) -> Movement:
    """Return each movement ``examples`` times, each time a little different: first all examples of the first class."""
    return unsteady(Movement(*(part.repeat_interleave(examples, 0) for part in movements)), generator)


def unsteady(same: Movement, generator: torch.Generator, strength: Tensor | None = None) -> Movement:
    """Return each movement a little different.

    Args:
        same: the movements.
        generator: for the differences, on the CPU.
        strength: the factor of the differences of each movement, shape (glyphs,) (None: 1 for all).
    """
    count, shape = len(same.lengths), same.lengths.shape

    def noise(deviation: float, *shape: int) -> Tensor:
        drawn = deviation * torch.randn(shape, generator=generator)
        return drawn if strength is None else drawn * strength.view(-1, *[1] * (len(shape) - 1))

    return Movement(
        lengths=same.lengths * noise(0.16, *shape).exp(),
        turns=same.turns * (1 + noise(0.07, *shape)) + noise(0.13, *shape),
        eases=same.eases + noise(0.2, *shape),
        corners=same.corners + noise(0.16, *shape),
        own=(same.own + noise(0.04, count, MAX_STROKES)).clamp(0, 1),
        base=(same.base + noise(0.04, count, MAX_STROKES)).clamp(0, 1),
        gap=same.gap + noise(0.05, count, MAX_STROKES, 2),
        stretch=same.stretch * noise(0.18, count).exp(),
    )


class Pen(NamedTuple):
    """How the hand holds the pen, and what the pen is like, for a number of pictures.

    Attributes:
        slant: the tangent of the angle by which a glyph is slanted; shape (pictures,).
        tilt: the angle by which it is turned, in radians; shape (pictures,).
        width: half the width of the ink, in pixels of 28; shape (pictures,).
        softness: the width of the ink's edge, in pixels of 28; shape (pictures,).
        pressure: the width swings along the path like a sine: the relative amplitude, the number of swings, and the
            phase; shape (pictures, 3).
    """

    slant: Tensor
    tilt: Tensor
    width: Tensor
    softness: Tensor
    pressure: Tensor


def draw_pens(count: int, generator: torch.Generator, slant: float = 0.2) -> Pen:
    """Draw a hand and a pen for each of ``count`` pictures, with this standard deviation of the slant."""
    uniform = partial(_uniform, generator)
    return Pen(
        slant=slant * torch.randn(count, generator=generator),
        tilt=0.12 * torch.randn(count, generator=generator),
        width=uniform(*PEN, count),
        softness=uniform(*SOFTNESS, count),
        pressure=torch.stack([uniform(0, 0.25, count), uniform(1, 4, count), uniform(0, 2 * math.pi, count)], 1),
    )


def pen_path(movement: Movement) -> tuple[Tensor, Tensor]:
    """Return the path of the pen, for all glyphs at once.

    The movement says which direction the pen has at each point of its path. A place is the sum of small steps in these
    directions.

    Returns:
        The places of the pen after equal steps, as x to the right and y downwards, of shape (glyphs, POINTS, 2); and
        the stroke to which each point belongs, int64 of shape (glyphs, POINTS).
    """
    lengths = movement.lengths.flatten(1)  # (glyphs, MAX_STROKES * MAX_PIECES)
    ends = lengths.cumsum(1)
    total = ends[:, -1:]
    walked = (torch.arange(POINTS, device=lengths.device) + 0.5) / POINTS * total
    piece = torch.searchsorted(ends, walked).clamp(max=MAX_STROKES * MAX_PIECES - 1)

    def at(values: Tensor) -> Tensor:
        return values.flatten(1).gather(1, piece)

    done = ((walked - at(ends - lengths)) / at(lengths)).clamp(0, 1)  # the fraction of the piece
    # The direction in which a piece begins is the direction of its stroke plus all turns and corners since then.
    before = (movement.corners + movement.turns).cumsum(2) - movement.turns
    angle = at(before) + at(movement.turns) * (done + at(movement.eases) * done * (1 - done))
    steps = torch.stack([angle.cos(), angle.sin()], 2) * (total / POINTS)[..., None]
    path = steps.cumsum(1) - steps / 2
    stroke = piece // MAX_PIECES
    sizes = (stroke[..., None] == torch.arange(MAX_STROKES, device=lengths.device)).sum(1)
    begins = sizes.cumsum(1) - sizes
    for number in range(1, MAX_STROKES):
        begin, size = begins[:, number], sizes[:, number]
        own = _point(path, begin + movement.own[:, number] * (size - 1).clamp(min=0))
        base = _point(path, movement.base[:, number] * (begin - 1))
        moved = path + (base - own + movement.gap[:, number])[:, None]
        path = torch.where((stroke == number)[..., None], moved, path)
    return path * torch.stack([movement.stretch, torch.ones_like(movement.stretch)], 1)[:, None], stroke


def _point(path: Tensor, place: Tensor) -> Tensor:
    """Return points of paths.

    Args:
        path: of shape (glyphs, POINTS, 2).
        place: the index of a point of each path, which is rounded, of shape (glyphs,).

    Returns:
        The points, of shape (glyphs, 2).
    """
    index = place.round().long().clamp(0, POINTS - 1)
    return path.gather(1, index[:, None, None].expand(-1, 1, 2))[:, 0]


def inked(
    movements: Movement, pens: Pen, size: int, *, count: int | None = None, device: torch.device | str = "cpu"
) -> Tensor:
    """Draw movements with pens, a few at a time.

    Args:
        movements: of each picture.
        pens: of each picture.
        size: the number of pixels of a side.
        count: how many of the pictures, from the first (None: all).
        device: where the pictures are computed and returned.

    Returns:
        uint8 of shape (count, size, size).
    """
    count = len(movements.lengths) if count is None else count
    pictures = torch.empty((count, size, size), dtype=torch.uint8, device=device)
    for start in range(0, count, PICTURES_AT_A_TIME):
        chosen = slice(start, min(start + PICTURES_AT_A_TIME, count))
        path, _ = pen_path(Movement(*(part[chosen].to(device) for part in movements)))
        pictures[chosen] = draw_ink(path, Pen(*(part[chosen].to(device) for part in pens)), size)
    return pictures


def draw_ink(path: Tensor, pen: Pen, size: int) -> Tensor:
    """Draw paths with pens, scaled to fit MNIST's box and centred by mass.

    The ink is a disc at every point of the path, and the value of a pixel depends on its distance to the nearest disc.
    The nearest disc is found by comparing squared distances less squared radii, which takes one matrix product and a
    minimum.

    Args:
        path: of shape (pictures, POINTS, 2).
        pen: of each picture.
        size: the number of pixels of a side.

    Returns:
        uint8 of shape (pictures, size, size).
    """
    pixel = size / SIZE
    cos, sin = pen.tilt.cos(), pen.tilt.sin()
    x, y = path.unbind(2)
    x = x - pen.slant[:, None] * y
    path = torch.stack([cos[:, None] * x - sin[:, None] * y, sin[:, None] * x + cos[:, None] * y], 2)
    strength, swings, begin = pen.pressure.T[..., None]
    along = torch.linspace(0, 2 * math.pi, POINTS, device=path.device)
    radius = pixel * pen.width[:, None] * (1 + strength * torch.sin(swings * along + begin))

    low, high = path.amin(1), path.amax(1)
    box = pixel * (BOX - 2 * pen.width)  # the ink reaches beyond the path by half its width on each side
    path = (path - (low + high)[:, None] / 2) * (box / (high - low).amax(1).clamp(min=1e-6))[:, None, None]
    margin = pixel * (SIZE - BOX) / 2
    # If a glyph has a long tail, its centre of mass is far from the middle of its box. So it is moved no farther than
    # the box may move within the picture.
    path = path - path.mean(1, keepdim=True).clamp(-margin, margin)

    line = torch.arange(size, device=path.device) - (size - 1) / 2
    rows, columns = torch.meshgrid(line, line, indexing="ij")
    pixels = torch.stack([columns, rows], 2).reshape(-1, 2)
    # The squared distance is |pixel|^2 - 2 pixel . point + |point|^2. The first term is added after the minimum, as it
    # is the same for all points.
    points = torch.cat([-2 * path, ((path * path).sum(2) - radius * radius)[..., None]], 2)
    nearest = (torch.cat([pixels, torch.ones_like(pixels[:, :1])], 1) @ points.transpose(1, 2)).amin(2)
    width = pixel * pen.width[:, None]
    beyond = (nearest + (pixels * pixels).sum(1) + width * width).clamp(min=0).sqrt() - width
    ink = (0.5 - beyond / (pixel * pen.softness[:, None])).clamp(0, 1)
    return (255 * ink).round().to(torch.uint8).reshape(-1, size, size)


def _uniform(generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    """Draw numbers uniformly between low and high, on the CPU."""
    return low + (high - low) * torch.rand(shape, generator=generator)


def _category(generator: torch.Generator, probabilities: tuple[float, ...], *shape: int) -> Tensor:
    """Draw indices 0, 1, ... with the given probabilities, which sum to 1, on the CPU."""
    draws = torch.rand(shape, generator=generator)
    return torch.bucketize(draws, torch.tensor(probabilities).cumsum(0)[:-1], right=True)
