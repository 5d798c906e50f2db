"""Slant: how far ink leans to one side, and pictures without it."""

import torch
import torch.nn.functional as F
from torch import Tensor

MOST_SLANT = 0.7  # the largest slope that is taken out, in columns a row of a square picture
LEAST_SPREAD = 0.3  # the least sum of ink times squared height, in half heights of a picture, that has a slant


def deslant(pictures: Tensor) -> Tensor:
    """Take the slant out of every picture, by a sideways shift of its rows, and centre it by mass (chapter 8).

    LeCun et al. 1998 prepared MNIST's digits in this way. How far the ink moves sideways from row to row is the slope
    of the regression of the ink's columns on its rows, which its second moments give. The shift undoes this slope, up
    to ``MOST_SLANT``. Every picture is changed by itself, so that the answer to one does not depend on another, and
    nothing is learned.

    Args:
        pictures: floats of shape (pictures, channels, height, width), bright ink on black, with values in 0..1.

    Returns:
        The same shape and dtype. The channels of a picture are moved together.

    Raises:
        ValueError: pictures of another shape, or that are no floats.

    >>> rows = torch.arange(28)
    >>> slanted = torch.zeros(1, 1, 28, 28)
    >>> slanted[0, 0, rows[4:24], 24 - rows[4:24] // 2] = 1
    >>> (slanted.amax(2).sum().item(), deslant(slanted).gt(0.2).any(2).sum().item())  # columns that have ink
    (10.0, 2)
    """
    if pictures.ndim != 4 or not pictures.is_floating_point():
        raise ValueError(
            f"pictures have the shape {tuple(pictures.shape)} and the dtype {pictures.dtype}; deslant takes floats of "
            "shape (pictures, channels, height, width), such as images.unsqueeze(1) / 255"
        )
    height, width = pictures.shape[-2:]
    ink = pictures.sum(1)
    # As in PyTorch's grids, a picture spans -1 to 1 in x, to the right, and in y, downwards.
    x = (torch.arange(width, dtype=ink.dtype, device=ink.device) + 0.5) * (2 / width) - 1
    y = ((torch.arange(height, dtype=ink.dtype, device=ink.device) + 0.5) * (2 / height) - 1)[:, None]
    mass = ink.sum((1, 2)).clamp(min=1)  # of a picture without ink, nothing is moved
    middle_x, middle_y = (ink * x).sum((1, 2)) / mass, (ink * y).sum((1, 2)) / mass
    dx, dy = x - middle_x[:, None, None], y - middle_y[:, None, None]
    spread = (ink * dy * dy).sum((1, 2)).clamp(min=LEAST_SPREAD)  # what has no height has no slant
    slope = ((ink * dx * dy).sum((1, 2)) / spread).clamp(-MOST_SLANT, MOST_SLANT)
    # Every pixel is taken from where the slant had carried it.
    one, zero = torch.ones_like(slope), torch.zeros_like(slope)
    maps = torch.stack([torch.stack([one, slope, middle_x], 1), torch.stack([zero, one, middle_y], 1)], 1)
    return F.grid_sample(pictures, F.affine_grid(maps, list(pictures.shape), align_corners=False), align_corners=False)
