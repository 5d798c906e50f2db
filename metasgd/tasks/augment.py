"""A random change of every single picture, on the device: what five classes lack, drawn for each image (chapter 8)."""

import math
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
        grid = F.affine_grid(torch.stack(rows, 1), list(pictures.shape), align_corners=False)
        if self.warp:
            coarse = torch.randn((count, 2, 5, 5), generator=generator, device=pictures.device)
            field = F.interpolate(coarse, (height, width), mode="bicubic", align_corners=True)
            grid = grid + 2 * self.warp * field.permute(0, 2, 3, 1)
        pictures = F.grid_sample(pictures, grid, align_corners=False)

        if self.thickness:
            amount = self.thickness * uniform(-1, 1)
            thick = F.max_pool2d(pictures, 3, 1, 1)
            thin = -F.max_pool2d(-pictures, (1, 3), 1, (0, 1))
            pictures = torch.where(
                amount > 0, pictures + amount * (thick - pictures), pictures - amount * (thin - pictures)
            )
        if self.blur:
            blurred = F.avg_pool2d(pictures, 3, 1, 1)
            pictures = pictures + self.blur * uniform(0, 1) * (blurred - pictures)
        if self.contrast:
            pictures = pictures * (1 + self.contrast * uniform(-1, 1))
        return pictures.clamp(0, 1)
