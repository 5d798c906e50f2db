"""Drawings as strokes: kept as distances from a line, inked with a pen of any width, set as MNIST's are (chapter 12).

A picture of a thin line cannot be made bold without blur or teeth. The distance to the line can: ink is wherever it is
below half the pen's width. So each drawing is kept as a field of distances, and a picture is a threshold of it.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from metasgd.tasks.augment import Augment, affine_basis

SIZE = 28  # pixels of a side
BOX = 20.0  # MNIST's digits were scaled to fit a box of 20 x 20 pixels, with their centre of mass in the middle
REACH = 8.0  # pixels; what is farther from a line counts as this far, so that 1 - distance / REACH is in 0..1


def distance_fields(drawings: Tensor) -> Tensor:
    """Return how near every pixel is to the ink of a drawing, the drawing being scaled and centred as MNIST's digits.

    Args:
        drawings: (pictures, height, width), ink where not zero.

    Returns:
        ``255 * (1 - distance / REACH)``, uint8 of shape (pictures, 28, 28), distances in pixels of 28.

    Raises:
        ValueError: a drawing without ink.
    """
    if empty := [index for index, drawing in enumerate(drawings) if not drawing.any()]:
        raise ValueError(f"drawing {empty[0]} has no ink; leave it out")
    grid = torch.cartesian_prod(*[torch.arange(SIZE) - (SIZE - 1) / 2] * 2)  # row, column from the middle
    fields = []
    for drawing in drawings:
        ink = drawing.nonzero().float()
        side = (ink.amax(0) - ink.amin(0)).amax() + 1
        # A pen is wider than a pixel of these drawings: every second pixel of it, as on a chessboard, is enough.
        points = (ink - ink.mean(0))[ink.sum(1) % 2 == 0] if len(ink) > 20 else ink - ink.mean(0)
        fields.append(torch.cdist(grid, points * (BOX / side)).amin(1))
    nearness = 1 - torch.stack(fields).reshape(-1, SIZE, SIZE) / REACH
    return (255 * nearness).round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class Ink:
    """Draw pictures from distance fields, each with its own change of shape, pen and softness.

    Called with fields, float32 of shape (pictures, 1, 28, 28) as ``EpisodeSampler`` makes them of
    ``distance_fields``, and a generator on their device; returns pictures of the same shape.

    Args:
        shape: changes the field before it is inked (None: nothing). What it makes is scaled and centred again.
        pen: range of half the width of the ink, in pixels, drawn uniformly for each picture.
        softness: range of the width of the ink's edge, in pixels.
    """

    shape: Augment | None = None
    pen: tuple[float, float] = (0.6, 1.6)
    softness: tuple[float, float] = (1.0, 1.6)

    def __call__(self, fields: Tensor, generator: torch.Generator) -> Tensor:
        """Ink every field."""

        def uniform(ends: tuple[float, float]) -> Tensor:
            draws = torch.rand((len(fields), 1, 1, 1), generator=generator, device=fields.device)
            return ends[0] + (ends[1] - ends[0]) * draws

        pen, softness = uniform(self.pen), uniform(self.softness)
        if self.shape is None:
            distance = REACH * (1 - fields)
        else:
            fields, magnified = as_mnist(self.shape(fields, generator))
            distance = REACH * (1 - fields) * magnified
        return ((pen - distance) / softness + 0.5).clamp(0, 1)


# Half the width of the pen that MNIST's box and centre are measured with.
MEASURED_AT = 1.0


def as_mnist(fields: Tensor) -> tuple[Tensor, Tensor]:
    """Scale every field so that its ink fits the box, move its centre of mass to the middle, and tell the scale.

    Args:
        fields: nearness in 0..1, shape (pictures, 1, height, width).

    Returns:
        the fields, whose distances are still those of before, and how many times larger they are now,
        shape (pictures, 1, 1, 1): at least half, at most twice as large.
    """
    height, width = fields.shape[2:]
    ink = (fields >= 1 - MEASURED_AT / REACH).float()
    rows, columns = ink.amax(3).flatten(1), ink.amax(2).flatten(1)
    side = torch.maximum(extent(rows), extent(columns))
    magnified = (BOX / side).clamp(0.5, 2)
    x, y, _ = basis = affine_basis(height, width, fields.device)
    mass = ink.sum((1, 2, 3)).clamp(min=1)
    centre_x, centre_y = (ink[:, 0] * x).sum((1, 2)) / mass, (ink[:, 0] * y).sum((1, 2)) / mass
    zero = torch.zeros_like(mass)
    weights = torch.stack(
        [torch.stack([1 / magnified, zero, centre_x], 1), torch.stack([zero, 1 / magnified, centre_y], 1)], 1
    )
    grid = (weights.flatten(0, 1) @ basis.flatten(1)).reshape(-1, 2, height, width)
    moved = F.grid_sample(fields, grid.permute(0, 2, 3, 1), align_corners=False)
    return moved, magnified[:, None, None, None]


def extent(marked: Tensor) -> Tensor:
    """Return the length from the first to the last one of rows of zeros and ones: (rows, n) to (rows,)."""
    length = marked.shape[1]
    last = length - marked.flip(1).argmax(1)
    return (last - marked.argmax(1)).to(marked.dtype)
