"""A random change of every single picture, on the device: what five classes lack, drawn for each image (chapter 8)."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor


@dataclass(frozen=True)
class Augment:
    """Draw for each picture its own affine map, smooth warp, stroke thickness, blur and contrast.

    Called with pictures, float32 of shape (pictures, 1, height, width) in 0..1, and a generator on their device;
    returns the same shape. Each strength is a maximum, drawn uniformly below it; 0 leaves that change out.

    Args:
        rotation: degrees to either side.
        scale: relative change of the width and of the height that is looked at: 0.2 for 1/1.2 to 1/0.8 times the size.
        shear: tangent of the shear angle.
        shift: fraction of the picture's width.
        warp: standard deviation of a smooth displacement, as a fraction of the picture's width.
        thickness: 1 for strokes up to one pixel thicker on every side, or one pixel thinner on the left and right.
        blur: weight of a blurred copy.
        contrast: relative change of brightness.
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
        """Change every picture by its own draw."""
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
        # Where a pixel is taken from is linear in what was drawn, so one matrix product serves all pictures.
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


def affine_basis(height: int, width: int, device: torch.device) -> Tensor:
    """Return x, y and 1 at every pixel, where the picture spans -1 to 1: (3, height, width)."""
    x = (torch.arange(width, device=device) + 0.5) * (2 / width) - 1
    y = (torch.arange(height, device=device) + 0.5) * (2 / height) - 1
    return torch.stack([*torch.meshgrid(x, y, indexing="xy"), torch.ones((height, width), device=device)])


def bumps(height: int, width: int, device: torch.device) -> Tensor:
    """Return what each of 5 x 5 points adds to a field that is interpolated smoothly between them."""
    points = torch.eye(25, device=device).reshape(1, 25, 5, 5)
    return F.interpolate(points, (height, width), mode="bicubic", align_corners=True)[0]


def with_neighbours(operation: Callable[..., Tensor], pictures: Tensor, dim: int) -> Tensor:
    """Combine every pixel with those before and after it along a dimension; outside there is nothing.

    Twice so, along rows and columns, is a 3 x 3 window, at a fraction of the cost of PyTorch's pooling on a CPU.
    """
    result, length = pictures.clone(), pictures.shape[dim] - 1
    for own, other in ((0, 1), (1, 0)):
        part = result.narrow(dim, own, length)
        operation(part, pictures.narrow(dim, other, length), out=part)
    return result
