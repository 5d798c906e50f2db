"""Imitations of scans and photographs: a digit of MNIST, drawn on a sheet in uneven light, with a shadow and noise."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def drawn_on_sheet(
    digit: Tensor,
    generator: torch.Generator,
    *,
    bright: bool = False,
    size: float = 0.7,
    contrast: float = 0.7,
    noise: float = 0.03,
    shadow: bool = True,
    side: int = 400,
) -> Tensor:
    """Draw a digit somewhere on a sheet and photograph it: uint8 of shape (side, side).

    Args:
        digit: uint8 of shape (28, 28), bright ink.
        generator: for the place, the light, the shadow and the noise.
        bright: chalk on a board, instead of ink on paper.
        size: of the digit's picture, as a part of the sheet's side.
        contrast: between ink and sheet.
        noise: its standard deviation, of a brightness of 1.
        shadow: takes away 45% of the light beyond a straight line.
        side: of the sheet, in pixels.
    """

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * torch.rand((), generator=generator).item()

    drawn = F.interpolate(digit[None, None] / 255, (round(side * size),) * 2, mode="bicubic")[0, 0]
    drawn = (14 * (drawn - 0.5)).sigmoid()  # with a sharp edge
    top, left = (round(uniform(0, side - len(drawn))) for _ in range(2))
    ink = F.pad(drawn, (left, side - left - len(drawn), top, side - top - len(drawn)))
    y, x = torch.meshgrid(*[torch.linspace(-1, 1, side)] * 2, indexing="ij")
    angle, other = uniform(0, 2 * math.pi), uniform(0, 2 * math.pi)
    light = 0.75 * (1 + 0.25 * (math.cos(angle) * x + math.sin(angle) * y) - 0.15 * (x * x + y * y))
    if shadow:
        beyond = math.cos(other) * x + math.sin(other) * y - uniform(-0.3, 0.5)
        light = light * (1 - 0.45 * (30 * beyond).sigmoid())
    sheet = 0.15 + 0.85 * contrast * ink if bright else 1 - contrast * ink
    seen = light * sheet + noise * torch.randn(side, side, generator=generator)
    return (255 * seen.clamp(0, 1)).round().to(torch.uint8)
