"""Pictures without their slant: against a shear that is known, and one picture at a time."""

import math

import pytest
import torch

from metasgd.data import load_mnist_sample
from metasgd.models import Deslant
from metasgd.tasks import Deslanted, deslant


def bar(slope: float, size: int = 28) -> torch.Tensor:
    """A soft bar, 20 pixels of 28 high, whose middle moves ``slope`` columns from row to row: (1, 1, size, size)."""
    place = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    across = place[None, :] - slope * place[:, None]
    within = (place.abs() < 10 * size / 28)[:, None]
    return (torch.exp(-((across / 1.5) ** 2)) * within)[None, None]


def moments(picture: torch.Tensor) -> tuple[float, float, float]:
    """The centre of mass in pixels from the middle, and the slope of columns on rows, by plain loops."""
    pixels = picture[0, 0]
    height, width = pixels.shape
    mass = float(pixels.sum())
    points = [
        (c - (width - 1) / 2, r - (height - 1) / 2, float(pixels[r, c])) for r in range(height) for c in range(width)
    ]
    x, y = (sum(point[axis] * point[2] for point in points) / mass for axis in (0, 1))
    along = sum((point[0] - x) * (point[1] - y) * point[2] for point in points)
    return x, y, along / sum((point[1] - y) ** 2 * point[2] for point in points)


@pytest.mark.parametrize("slope", [-0.6, -0.25, 0.1, 0.5])
def test_a_slanted_bar_stands_upright_again(slope):
    """The slope of the picture goes to zero, and what is left is the upright bar, but for the interpolation."""
    made = deslant(bar(slope))
    assert abs(moments(bar(slope))[2] - slope) < 0.02
    assert abs(moments(made)[2]) < 0.02
    assert (made - bar(0.0)).abs().mean() < 0.02


def test_no_more_slant_is_taken_out_than_its_limit():
    assert moments(deslant(bar(1.0)))[2] == pytest.approx(0.3, abs=0.05)  # 1 less the limit of 0.7


def test_ink_is_centred_by_mass():
    moved = torch.roll(bar(0.3), (3, -4), (2, 3))
    x, y, _ = moments(deslant(moved))
    assert math.hypot(x, y) < 0.1


def test_real_digits_lean_less():
    digits = torch.cat([images[:20] for images in load_mnist_sample()])[:, None].double() / 255
    before = torch.tensor([abs(moments(picture[None])[2]) for picture in digits])
    after = torch.tensor([abs(moments(deslant(picture[None]))[2]) for picture in digits])
    assert after.mean() < before.mean() / 5


def test_every_picture_is_changed_by_itself():
    digits = torch.stack([images[0] for images in load_mnist_sample()])[:, None].double() / 255
    together = deslant(digits)
    alone = torch.cat([deslant(picture[None]) for picture in digits])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-14)


def test_pictures_without_ink_or_height_stay_finite():
    empty = torch.zeros(1, 1, 28, 28)
    assert torch.equal(deslant(empty), empty)
    row = torch.zeros(1, 1, 28, 28)
    row[0, 0, 13] = 1
    assert deslant(row).isfinite().all()
    assert deslant(row).sum() > 14


def test_channels_are_moved_together_and_any_size_is_taken():
    grey = bar(0.4, size=40)
    coloured = torch.cat([grey, 0.5 * grey, 0 * grey], 1)
    made = deslant(coloured)
    assert made.shape == (1, 3, 40, 40)
    torch.testing.assert_close(made[:, 1], 0.5 * made[:, 0], rtol=0, atol=1e-12)


@pytest.mark.parametrize("pictures", [torch.zeros(3, 28, 28), torch.zeros(3, 1, 28, 28, dtype=torch.uint8)])
def test_what_are_no_pictures_is_refused(pictures):
    with pytest.raises(ValueError, match=r"images\.unsqueeze\(1\) / 255"):
        deslant(pictures)


def test_the_layer_and_the_change_of_pictures_do_the_same():
    generator = torch.Generator()
    pictures = bar(0.4)
    assert torch.equal(Deslant()(pictures), deslant(pictures))
    assert torch.equal(Deslanted()(pictures, generator), deslant(pictures))

    def twice_as_bright(pictures: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        return 2 * pictures

    assert torch.equal(Deslanted(twice_as_bright)(pictures, generator), deslant(2 * pictures))
