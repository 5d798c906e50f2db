"""Strokes: drawings become distance fields, and ink has the width of the pen whatever is done to the shape."""

import pytest
import torch

from metasgd.tasks import Augment, Ink, distance_fields


def cross() -> torch.Tensor:
    """A cross of 41 x 41 pixels away from the middle of a drawing of 105 x 105."""
    drawing = torch.zeros(1, 105, 105, dtype=torch.uint8)
    drawing[0, 30:71, 50] = 1
    drawing[0, 50, 30:71] = 1
    return drawing


def test_a_field_is_the_distance_from_a_scaled_and_centred_drawing() -> None:
    """The cross becomes 20 pixels wide around the middle, between pixels 13 and 14.

    The middle is at 13.5. So pixel (14, 17) is half a pixel from the arm beside it, and pixel (17, 17) is 3.5 pixels
    from both arms. Pixel (27, 27) is farther from every point of the cross than 8 pixels, the largest distance that is
    kept. Of the line's pixels only every second one is used; they are 20 / 41 apart, so distances are right to a
    quarter of a pixel.
    """
    (field,) = distance_fields(cross())
    distance = 8 * (1 - field / 255)
    assert distance[14, 17] == pytest.approx(0.5, abs=0.25)
    assert distance[17, 17] == pytest.approx(3.5, abs=0.25)
    assert distance[27, 27] == 8
    assert torch.equal(field, field.T)


def test_a_drawing_without_ink_is_refused() -> None:
    with pytest.raises(ValueError, match="drawing 1 has no ink; leave it out"):
        distance_fields(torch.cat([cross(), torch.zeros_like(cross())]))


def fields(count: int, device: torch.device) -> torch.Tensor:
    return (distance_fields(cross()) / 255).expand(count, 1, 28, 28).to(device)


@pytest.mark.parametrize("pen", [1.0, 2.0])
def test_ink_is_as_wide_as_the_pen(pen: float, device: torch.device) -> None:
    """Along a row that crosses one arm, brightness adds up to the width, twice the pen's half; see above for 0.25."""
    picture = Ink(pen=(pen, pen), softness=(1, 1))(fields(1, device), torch.Generator(device))[0, 0]
    assert picture[7].sum() == pytest.approx(2 * pen, abs=0.25)


def test_the_pen_keeps_its_width_when_a_small_shape_is_enlarged(device: torch.device) -> None:
    """A cross of arms of 5 pixels is made twice as large, its distances with it; to a third of a pixel."""
    pixels = torch.cartesian_prod(*[torch.arange(28) - 13.5] * 2)
    arm = torch.linspace(-5, 5, 101)
    cross = torch.cat([torch.stack([arm, 0 * arm], 1), torch.stack([0 * arm, arm], 1)])
    small = (1 - torch.cdist(pixels, cross).amin(1).reshape(1, 1, 28, 28) / 8).clamp(0).to(device)
    nothing = Augment(rotation=0, scale=0, shear=0, shift=0, warp=0, thickness=0, blur=0, contrast=0)
    picture = Ink(nothing, pen=(1.5, 1.5), softness=(1, 1))(small, torch.Generator(device))[0, 0]
    assert picture[7].sum() == pytest.approx(3, abs=0.33)
    assert (picture[:, 13] > 0.5).sum() > 15


def test_softness_is_the_width_of_the_edge(device: torch.device) -> None:
    def share_of_grey(softness: float) -> float:
        picture = Ink(pen=(1.5, 1.5), softness=(softness, softness))(fields(1, device), torch.Generator(device))
        return ((picture > 0.02) & (picture < 0.98)).float().mean().item()

    assert share_of_grey(3.0) > 1.5 * share_of_grey(1.0)


def test_every_picture_has_its_own_hand_and_pen_and_the_seed_decides(device: torch.device) -> None:
    ink = Ink(Augment(thickness=0, blur=0, contrast=0))
    first, again, other = (ink(fields(8, device), torch.Generator(device).manual_seed(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.cdist(first.flatten(1), first.flatten(1)).fill_diagonal_(torch.inf).min() > 0.1


def test_changed_shapes_are_centred_and_fill_the_box_again(device: torch.device) -> None:
    """Whatever the shift and the size: to a pixel on either side, as the ink is measured in whole pixels."""
    hand = Augment(rotation=0, scale=0.3, shear=0, shift=0.15, warp=0, thickness=0, blur=0, contrast=0)
    pictures = Ink(hand, pen=(1, 1), softness=(1, 1))(fields(50, device), torch.Generator(device).manual_seed(0))
    inked = pictures[:, 0] > 0.5
    pixels = torch.arange(28, device=device)
    sides = torch.stack([inked.any(2).sum(1), inked.any(1).sum(1)]).amax(0)
    assert (sides - 20).abs().max() <= 2
    for marginal in (pictures.sum((1, 2)), pictures.sum((1, 3))):
        centre = (marginal * pixels).sum(1) / marginal.sum(1)
        assert (centre - 13.5).abs().max() < 1
