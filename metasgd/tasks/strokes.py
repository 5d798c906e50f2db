"""Drawings as strokes, which are kept as distances to a line and drawn with a pen of any width (chapter 12).

If the thin line of a picture is made thicker, the result is blurred or jagged. With the distance of each pixel to the
line, there is no such problem: ink is where the distance is below half the width of the pen. So a drawing is kept as a
field of distances, and a picture is made by comparing them with a threshold. Pictures are scaled and centred as those
of MNIST are.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from metasgd.tasks.augment import Augment, affine_basis

SIZE = 28  # the number of pixels of a side
BOX = 20.0  # MNIST's digits are scaled to fit a box of 20 x 20 pixels, and have their centre of mass in the middle
REACH = 8.0  # the largest distance that is kept, in pixels; so 1 - distance / REACH is in 0..1


def distance_fields(drawings: Tensor) -> Tensor:
    """Scale and centre drawings as MNIST's digits, and return how near each pixel is to the ink (chapter 12).

    Args:
        drawings: of shape (pictures, height, width), not zero where there is ink.

    Returns:
        ``255 * (1 - distance / REACH)``, uint8 of shape (pictures, 28, 28), with distances in pixels of the result.

    Raises:
        ValueError: a drawing has no ink.
    """
    if empty := [index for index, drawing in enumerate(drawings) if not drawing.any()]:
        raise ValueError(f"drawing {empty[0]} has no ink; leave it out")
    grid = torch.cartesian_prod(*[torch.arange(SIZE) - (SIZE - 1) / 2] * 2)  # row, column from the middle
    fields = []
    for drawing in drawings:
        ink = drawing.nonzero().float()
        side = (ink.amax(0) - ink.amin(0)).amax() + 1
        # The lines of these drawings are wider than a pixel. So every second pixel of the ink, as on a chessboard, is
        # enough to compute distances from.
        points = (ink - ink.mean(0))[ink.sum(1) % 2 == 0] if len(ink) > 20 else ink - ink.mean(0)
        fields.append(torch.cdist(grid, points * (BOX / side)).amin(1))
    nearness = 1 - torch.stack(fields).reshape(-1, SIZE, SIZE) / REACH
    return (255 * nearness).round().clamp(0, 255).to(torch.uint8)


@dataclass(frozen=True)
class Ink:
    """Draw pictures from distance fields, each with its own change of shape, pen and softness (chapter 12).

    An ``Ink`` is a function of distance fields and a generator, as ``EpisodeSampler`` takes it for ``augment``.

    Args:
        shape: a change of the field before it is drawn, after which it is scaled and centred again (None: no change).
        pen: the range of half the width of the lines, in pixels, from which it is drawn uniformly for each picture.
        softness: the range of the width of the lines' edges, in pixels, from which it is drawn in the same way.
    """

    shape: Augment | None = None
    pen: tuple[float, float] = (0.6, 1.6)
    softness: tuple[float, float] = (1.0, 1.6)

    def __call__(self, fields: Tensor, generator: torch.Generator) -> Tensor:
        """Return the pictures.

        Args:
            fields: float32 of shape (pictures, 1, 28, 28) with values in 0..1: ``distance_fields`` divided by 255.
            generator: for the draws, on the device of the fields.

        Returns:
            float32 of the same shape, with values in 0..1.
        """

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


# Half the width of the pen, in pixels, with which a field is drawn to find its box and its centre of mass.
MEASURING_PEN = 1.0


def as_mnist(fields: Tensor) -> tuple[Tensor, Tensor]:
    """Scale each field so that its ink fits MNIST's box, and move its centre of mass to the middle.

    Args:
        fields: of shape (pictures, 1, height, width), 1 where there is a line, 0 at a distance of ``REACH`` or more.

    Returns:
        The fields, which still contain the distances from before they were scaled, and the factors of the scaling,
        between 0.5 and 2, of shape (pictures, 1, 1, 1). The product of both is the distances in pixels of the result.
    """
    height, width = fields.shape[2:]
    ink = (fields >= 1 - MEASURING_PEN / REACH).float()
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
    """Return how many entries there are from the first 1 to the last 1 in rows of zeros and ones, (rows, n)."""
    length = marked.shape[1]
    last = length - marked.flip(1).argmax(1)
    return (last - marked.argmax(1)).to(marked.dtype)
