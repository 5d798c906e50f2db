"""Random changes of single pictures, on the device, for meta-training with few classes (chapter 8)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from metasgd._core.slant import deslant


@dataclass(frozen=True)
class Augment:
    """Change every picture at random: an affine map, a smooth warp, stroke thickness, blur and contrast (chapter 8).

    An ``Augment`` is a function of pictures and a generator, as ``EpisodeSampler`` takes it. Each picture has its own
    draw of every change, the same for all of its channels. The arguments are the largest strengths, up to which the
    strengths are drawn uniformly; 0 leaves a change out.

    Args:
        rotation: in degrees, to either side.
        scale: the relative change of the width, and independently of the height, of the region that the picture shows.
            With 0.2, shapes get 1/1.2 to 1/0.8 times their size.
        shear: the tangent of the shear angle, to either side.
        shift: as a fraction of the picture's width and height, to either side.
        warp: the standard deviation of a smooth displacement, as a fraction of the picture's width and height. It is
            the same for all pictures.
        thickness: with 1, strokes get up to one pixel thicker on every side, or one pixel thinner on the left and
            right.
        blur: the weight of a blurred copy.
        contrast: the relative change of brightness, to either side.
    """

    rotation: float = 20.0
    scale: float = 0.2
    shear: float = 0.2
    shift: float = 0.1
    warp: float = 0.03
    thickness: float = 0.8
    blur: float = 0.5
    contrast: float = 0.3

    def __call__(self, pictures: Tensor, generator: torch.Generator) -> Tensor:
        """Return the changed pictures.

        Args:
            pictures: float32 of shape (pictures, channels, height, width), with values in 0..1.
            generator: for the draws, on the device of the pictures.

        Returns:
            The same shape, dtype and range.
        """
        count, _, height, width = pictures.shape

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            shape = shape or (count, 1, 1, 1)
            return low + (high - low) * torch.rand(shape, generator=generator, device=pictures.device)

        angle = math.radians(self.rotation) * uniform(-1, 1, count)
        size = 1 + self.scale * uniform(-1, 1, count, 2)
        shear = self.shear * uniform(-1, 1, count)
        shift = 2 * self.shift * uniform(-1, 1, count, 2)  # grid coordinates run from -1 to 1
        cos, sin = angle.cos(), angle.sin()
        rows = [
            torch.stack([size[:, 0] * cos, size[:, 0] * (shear * cos - sin), shift[:, 0]], 1),
            torch.stack([size[:, 1] * sin, size[:, 1] * (shear * sin + cos), shift[:, 1]], 1),
        ]
        # The point from which a pixel's value is taken is a linear function of the numbers that were drawn: the
        # entries of the affine map, and the displacements of a coarse grid. So one matrix product computes all points.
        weights, basis = torch.stack(rows, 1), affine_basis(height, width, pictures.device)
        if self.warp:
            coarse = torch.randn((count, 2, 5, 5), generator=generator, device=pictures.device)
            weights = torch.cat([weights, 2 * self.warp * coarse.flatten(2)], 2)
            basis = torch.cat([basis, bumps(height, width, pictures.device)])
        grid = (weights.flatten(0, 1) @ basis.flatten(1)).reshape(count, 2, height, width)
        pictures = F.grid_sample(pictures, grid.permute(0, 2, 3, 1), align_corners=False)

        if self.thickness:
            amount = self.thickness * uniform(-1, 1)
            thick = with_neighbours(torch.maximum, with_neighbours(torch.maximum, pictures, 3), 2)
            thin = with_neighbours(torch.minimum, pictures, 3)
            pictures = pictures.lerp(torch.where(amount > 0, thick, thin), amount.abs())
        if self.blur:
            total = with_neighbours(torch.add, with_neighbours(torch.add, pictures, 3), 2)
            pictures = pictures.lerp(total / 9, self.blur * uniform(0, 1))
        if self.contrast:
            pictures = pictures * (1 + self.contrast * uniform(-1, 1))
        return pictures.clamp(0, 1)


@dataclass(frozen=True)
class Deslanted:
    """Take the slant out of every picture, after other changes if there are any (chapter 8).

    As ``Augment``, it is a function of pictures and a generator, for ``EpisodeSampler``. It draws nothing at random.

    Args:
        changed: what is done to the pictures before, such as an ``Augment`` (None: nothing).
    """

    changed: Callable[[Tensor, torch.Generator], Tensor] | None = None

    def __call__(self, pictures: Tensor, generator: torch.Generator) -> Tensor:
        """Return the changed pictures without their slant; see ``metasgd.tasks.deslant``."""
        return deslant(pictures if self.changed is None else self.changed(pictures, generator))


def affine_basis(height: int, width: int, device: torch.device) -> Tensor:
    """Return x, y and 1 at every pixel, shape (3, height, width); the picture spans -1 to 1 in x and in y."""
    x = (torch.arange(width, device=device) + 0.5) * (2 / width) - 1
    y = (torch.arange(height, device=device) + 0.5) * (2 / height) - 1
    return torch.stack([*torch.meshgrid(x, y, indexing="xy"), torch.ones((height, width), device=device)])


def bumps(height: int, width: int, device: torch.device) -> Tensor:
    """Return the basis of fields that are interpolated smoothly between 5 x 5 points: shape (25, height, width)."""
    points = torch.eye(25, device=device).reshape(1, 25, 5, 5)
    return F.interpolate(points, (height, width), mode="bicubic", align_corners=True)[0]


def with_neighbours(operation: Callable[..., Tensor], pictures: Tensor, dim: int) -> Tensor:
    """Combine every pixel with the pixels right before and after it along a dimension, as far as there are such.

    Applied along rows and then along columns, this combines the pixels of a 3 x 3 window, at a fraction of the cost of
    PyTorch's pooling on a CPU.

    Args:
        operation: of two tensors, with an ``out`` argument, e.g. ``torch.maximum``.
        pictures: of any shape.
        dim: the dimension.
    """
    result, length = pictures.clone(), pictures.shape[dim] - 1
    for start, neighbour in ((0, 1), (1, 0)):
        part = result.narrow(dim, start, length)
        operation(part, pictures.narrow(dim, neighbour, length), out=part)
    return result
