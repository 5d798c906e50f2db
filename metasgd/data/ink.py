"""Drawn symbols, from a scan or a photograph, made like MNIST's digits.

Light falls unevenly on a sheet, and its shadows may be darker than faint ink. So ink is not what is dark, but what is
darker than the sheet around it, and has an edge all around: a shadow fades, or ends with the picture.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from metasgd._core.connected_pieces import connected_pieces
from metasgd.tasks.strokes import BOX, SIZE

__all__ = ["ink_like_mnist"]

# Ink is looked for in pictures whose longer side has so many pixels. All lengths below are in such pixels.
LOOK = 224
# The sheet is what remains if everything is filled that is narrower than 2 * reach + 1. Lines are of any width, so
# several are tried; a larger one fills more of the shadows.
REACHES = (10, 18, 30, 48)
EDGE = 4  # an edge rises within so many pixels to either side
# Brightness is taken as log(DARK + grey) with grey in 0..1, of which a shadow on the sheet only takes away a constant.
DARK = 0.15
CONTRAST, TIMES_NOISE = 0.06, 6.0  # ink differs at least so much from its sheet, and so many times the noise
PART = 0.4  # of the difference of clear ink from the sheet: what differs more may be ink
SEALED = 0.6  # the edge around ink has at least this part of the ink's difference from the sheet
SPECK = 0.03  # pieces are specks if they are smaller than this part of the largest one
AT_THE_BORDER = 0.5  # pieces at the border are left out if the others have at least this part of all ink
# The least score that is ink, and no unevenness of a blank sheet: on 59 of 60 imitations of such it is smaller. Of
# drawn digits it is above 8, unless they are as faint as the noise or have a tenth of the sheet's side.
LEAST_SCORE = 2.5
MARGIN = 0.15  # around the ink, as a part of its longer side, in the second look
THIN = 2.2  # lines that are thinner become so thick, in pixels of the result; of MNIST's, four in ten are thinner


class Look(NamedTuple):
    """What was found: the ink, bool of shape (height, width), and how much edge it has, summed along it."""

    ink: Tensor
    score: float


def ink_like_mnist(picture: Tensor) -> Tensor:
    """Make a scan or photograph of one drawn symbol into a picture as MNIST's are: 28 x 28, bright ink on black.

    The ink may be darker than the sheet, or brighter, whichever of the two stands out from its surroundings more. The
    light may be uneven, and a shadow may lie on the sheet. Of what is found, specks are left out. The rest is
    black-and-white then, as MNIST's digits were when they were made: it is scaled to a longer side of 20 pixels by
    averaging areas, after thin lines are made thicker, which would else fade, and its centre of mass is moved to the
    middle.

    Args:
        picture: uint8 of shape (height, width), or (1, height, width), or (3, height, width) in colour, as
            ``read_picture`` returns it. The symbol is the only one, and the sheet fills the picture.

    Returns:
        uint8 of shape (28, 28), with 255 for ink.

    Raises:
        ValueError: another shape or dtype, or a picture without ink.

    >>> sheet = torch.full((60, 80), 200, dtype=torch.uint8)
    >>> sheet[10:50, 30:36] = 40
    >>> drawn = ink_like_mnist(sheet)
    >>> drawn.shape, int((drawn > 127).any(1).sum()), int(drawn.max())
    (torch.Size([28, 28]), 20, 255)
    """
    with torch.device("cpu"):  # wherever new tensors are made by default
        light = log_light(picture)
        looks = {sign: look_for_ink(sign * fitted(light)) for sign in (1, -1)}  # for darker and for brighter ink
        sign = max(looks, key=lambda sign: looks[sign].score)
        if looks[sign].score < LEAST_SCORE:
            raise ValueError(
                "no ink is found; take a picture of one symbol, with a pen that stands out from its sheet"
            )
        closer = look_for_ink(sign * fitted(cut_out(light, looks[sign].ink)))
        # A line so thin that the closer look misses it is taken as it was seen at first.
        return set_like_mnist((closer if closer.score > 0 else looks[sign]).ink)


def log_light(picture: Tensor) -> Tensor:
    """Return the logarithm of the brightness, in which uneven light adds to the picture; float32, (height, width)."""
    shape = tuple(picture.shape)
    if picture.dtype != torch.uint8 or len(shape) not in (2, 3) or (len(shape) == 3 and shape[0] not in (1, 3)):
        raise ValueError(
            f"the picture has dtype {picture.dtype} and shape {shape}; it must be uint8 of shape (height, width), or "
            "(3, height, width) in colour"
        )
    if 0 in shape:
        raise ValueError(f"the picture has shape {shape}, and so no pixels")
    grey = picture.cpu().float() / 255
    if len(shape) == 3:
        grey = (grey * grey.new_tensor([0.299, 0.587, 0.114])[:, None, None]).sum(0) if shape[0] == 3 else grey[0]
    return (DARK + grey).log()


def fitted(picture: Tensor) -> Tensor:
    """Scale a picture of shape (height, width) so that its longer side has ``LOOK`` pixels."""
    factor = LOOK / max(picture.shape)
    size = [max(1, round(side * factor)) for side in picture.shape]
    mode = "area" if factor < 1 else "bilinear"
    return F.interpolate(picture[None, None], size, mode=mode)[0, 0]


def cut_out(picture: Tensor, ink: Tensor) -> Tensor:
    """Cut ink out of a picture, with a margin, after it was found in ``fitted(picture)``."""
    pixel = max(picture.shape) / LOOK
    top, bottom, left, right = box_of(ink)
    margin = MARGIN * max(bottom - top, right - left) + 2
    rows, columns = (
        slice(max(round(pixel * (low - margin)), 0), round(pixel * (high + margin)))
        for low, high in ((top, bottom), (left, right))
    )
    return picture[rows, columns]


def look_for_ink(picture: Tensor) -> Look:
    """Find ink that is darker than its sheet, with the reach by which the most edge is found around it.

    Args:
        picture: logarithms of brightness, (height, width), the longer side ``LOOK``.
    """
    smooth = F.avg_pool2d(F.pad(picture[None, None], (1, 1, 1, 1), "replicate"), 3, 1)[0, 0]
    noise = 1.48 * (picture - smooth).abs().median().item()  # the standard deviation, were it normal
    least = max(CONTRAST, TIMES_NOISE * noise)
    change = widened(smooth, EDGE) + widened(-smooth, EDGE)  # the largest difference of pixels nearby
    change = change - change.median()
    best = Look(torch.zeros_like(smooth, dtype=torch.bool), 0.0)
    for reach in REACHES:
        sheet = -widened(-widened(smooth, reach), reach)
        depth = sheet - smooth
        depth = depth - depth.median()
        ink = sealed_ink(depth, change, least)
        if not ink.any():
            continue
        edge = edge_of(ink)
        score = (torch.minimum(change, depth) - SEALED * depth)[edge].sum().item()
        if score > 1.05 * best.score:
            best = Look(ink & (depth > depth[ink].median() / 2), score)
    return best


def sealed_ink(depth: Tensor, change: Tensor, least: float) -> Tensor:
    """Mark the pieces that are clearly deeper than the sheet, and have an edge all around.

    Args:
        depth: how much darker than the sheet each pixel is, (height, width).
        change: the largest difference between pixels near each, of the same shape.
        least: the smallest depth of ink.
    """
    ink = depth > least
    for _ in range(2):  # the second time, what is clear ink is not measured at shadows any more
        if not ink.any():
            break
        clear = depth[ink].sort().values[int(0.8 * ink.sum())].item()
        ink = depth > max(least, PART * clear)
        pieces = connected_pieces(ink)
        inside = F.pad(torch.ones_like(ink[1:-1, 1:-1]), (1, 1, 1, 1))  # the border of the picture is no edge
        edge = edge_of(ink)
        size, deep = sums(pieces, ink), sums(pieces, depth * ink)
        around, rise = sums(pieces, edge), sums(pieces, change * (edge & inside))
        sealed = rise / around.clamp(min=1) > SEALED * deep / size.clamp(min=1)
        sealed[0] = False  # what is not marked
        sealed &= size >= SPECK * (size * sealed).max()
        at_border = sums(pieces, ~inside) > 0
        if (size * (sealed & ~at_border)).sum() >= AT_THE_BORDER * (size * sealed).sum():
            sealed &= ~at_border
        ink = sealed[pieces]
    return ink


def sums(pieces: Tensor, values: Tensor) -> Tensor:
    """Sum values over each piece: float32 of shape (pieces + 1,), first of what belongs to none."""
    return torch.bincount(pieces.flatten(), values.flatten().float())


def edge_of(marked: Tensor) -> Tensor:
    """Mark what is marked and has a neighbour, above, below, left or right, that is not."""
    all_around = F.pad(marked, (1, 1, 1, 1))
    inner = all_around[:-2, 1:-1] & all_around[2:, 1:-1] & all_around[1:-1, :-2] & all_around[1:-1, 2:]
    return marked & ~inner


def box_of(marked: Tensor) -> tuple[int, int, int, int]:
    """Return the first row of what is marked, the one after its last, and the same of the columns."""
    rows, columns = (marked.any(dim).nonzero() for dim in (1, 0))
    return int(rows[0]), int(rows[-1]) + 1, int(columns[0]), int(columns[-1]) + 1


def widened(picture: Tensor, reach: int) -> Tensor:
    """Return at each pixel the largest value in a square around it, which reaches so far to every side."""
    picture = F.pad(picture, [reach] * 4, value=-torch.inf)
    for dim in (0, 1):
        done = 0
        while done < reach:  # which triples with each step
            step = min(2 * done + 1, reach - done)
            length = picture.shape[dim] - 2 * step
            parts = [picture.narrow(dim, start, length) for start in (0, step, 2 * step)]
            picture = torch.maximum(torch.maximum(parts[0], parts[1]), parts[2])
            done += step
    return picture


def set_like_mnist(ink: Tensor) -> Tensor:
    """Scale and centre ink as MNIST's digits are.

    Args:
        ink: bool of shape (height, width), with some ink.

    Returns:
        uint8 of shape (28, 28), 255 times the part of each pixel's area that is ink.
    """
    top, bottom, left, right = box_of(ink)
    ink = ink[top:bottom, left:right]
    side, width = max(ink.shape), 2 * ink.sum().item() / edge_of(ink).sum().item()  # of the lines, roughly
    # With the radius r, lines have (width + 2 r) BOX / (side + 2 r) pixels of the result.
    radius = (THIN * side - BOX * width) / (2 * BOX - 2 * THIN)
    if radius > 0:
        reach = int(radius) + 1
        rows, columns = torch.meshgrid(*[torch.arange(-reach, reach + 1)] * 2, indexing="ij")
        disc = (rows * rows + columns * columns <= radius * radius).float()
        ink = F.conv2d(F.pad(ink[None, None].float(), [2 * reach] * 4), disc[None, None])[0, 0] > 0.5
        top, bottom, left, right = box_of(ink)
        ink = ink[top:bottom, left:right]
    height, width = (max(1, round(BOX * side / max(ink.shape))) for side in ink.shape)
    small = area_weights(ink.shape[0], height) @ ink.float() @ area_weights(ink.shape[1], width).T
    # MNIST's centres of mass lie around row and column 14, counted from 0.
    down, across = (
        (small.sum(1 - dim) * torch.arange(length)).sum().item() / small.sum().item()
        for dim, length in enumerate((height, width))
    )
    top, left = (
        min(max(round(SIZE / 2 - centre), 0), SIZE - length) for centre, length in ((down, height), (across, width))
    )
    result = torch.zeros(SIZE, SIZE, dtype=torch.uint8)
    result[top : top + height, left : left + width] = (255 * small).round().clamp(0, 255).to(torch.uint8)
    return result


def area_weights(old: int, new: int) -> Tensor:
    """Return the matrix, (new, old), that makes a row of new pixels of old ones by averaging what they cover."""
    edges = torch.arange(new + 1) * (old / new)
    pixels = torch.arange(old)
    covered = torch.minimum(edges[1:, None], pixels + 1.0) - torch.maximum(edges[:-1, None], pixels)
    return covered.clamp(min=0) * (new / old)
