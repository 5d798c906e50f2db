"""Augmentation: every picture changes by its own draw, and each strength means what its name says."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from metasgd.tasks import Augment

NOTHING = {
    "rotation": 0,
    "scale": 0,
    "shear": 0,
    "shift": 0,
    "warp": 0,
    "thickness": 0,
    "blur": 0,
    "contrast": 0,
}


def draw_pictures(device: torch.device, count: int = 8) -> Tensor:
    return torch.empty(count, 1, 28, 28).uniform_(generator=torch.Generator().manual_seed(0)).to(device)


def generator(device: torch.device, seed: int = 0) -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


@pytest.fixture
def largest_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every uniform draw its upper end, so that a strength is reached exactly."""
    monkeypatch.setattr(torch, "rand", lambda shape, generator, device: torch.ones(shape, device=device))


def test_strengths_of_zero_leave_pictures_as_they_are(device: torch.device) -> None:
    """To the rounding of the interpolation weights in float32: 28 pixels times 1e-7."""
    pictures = draw_pictures(device)
    changed = Augment(**NOTHING)(pictures, generator(device))
    torch.testing.assert_close(changed, pictures, rtol=0, atol=1e-5)


@pytest.mark.parametrize("strength", NOTHING)
def test_every_strength_does_something_by_default(strength: str, device: torch.device) -> None:
    default = getattr(Augment(), strength)
    pictures = draw_pictures(device)
    changed = Augment(**NOTHING | {strength: default})(pictures, generator(device))
    least = 0.01 if device.type == "cpu" else 0.001  # the same seed draws other strengths on a GPU, some near 0
    assert ((changed - pictures).abs().amax((1, 2, 3)) > least).all()


def test_pictures_keep_their_shape_and_range(device: torch.device) -> None:
    pictures = draw_pictures(device, 100).round()
    changed = Augment(contrast=0.9)(pictures, generator(device))
    assert changed.shape == pictures.shape
    assert changed.dtype == torch.float32
    assert 0 <= changed.min() < 0.01
    assert 0.99 < changed.max() <= 1


def test_the_same_generator_state_changes_pictures_the_same_way(device: torch.device) -> None:
    pictures = draw_pictures(device)
    first, again, other = (Augment()(pictures, generator(device, seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("strength", NOTHING)
def test_equal_pictures_are_changed_differently(strength: str, device: torch.device) -> None:
    equal = draw_pictures(device, 1).expand(8, -1, -1, -1)
    augment = Augment(**NOTHING | {strength: getattr(Augment(), strength)})
    changed = augment(equal, generator(device)).flatten(1)
    assert torch.cdist(changed, changed).fill_diagonal_(torch.inf).min() > 0.01


def test_a_picture_is_changed_without_regard_to_its_neighbours(device: torch.device) -> None:
    pictures = draw_pictures(device)
    others = pictures.clone()
    others[1:] = 0
    one, other = (Augment()(batch, generator(device))[0] for batch in (pictures, others))
    torch.testing.assert_close(one, other, rtol=0, atol=1e-6)


# With every draw at its upper end, a change can be written down another way. Interpolation between pixels is exact
# where pixels fall on pixels, to float32's rounding.
TO_ROUNDING = {"rtol": 0, "atol": 1e-4}


def quarter_turn(pictures: Tensor) -> Tensor:
    return torch.rot90(pictures, 1, dims=(2, 3))


def shifted(pictures: Tensor) -> Tensor:
    """A quarter of 28 pixels up and to the left; black comes in from outside."""
    return F.pad(pictures[:, :, 7:, 7:], (0, 7, 0, 7))


def half_size(pictures: Tensor) -> Tensor:
    """Every second row and column, by the mean of the four pixels around, in the middle of a black picture."""
    return F.pad(F.avg_pool2d(pictures, 2), (7, 7, 7, 7))


def sheared(pictures: Tensor) -> Tensor:
    """Two pixels to the left for each row downwards, none in the middle between rows 13 and 14."""
    rows = [F.pad(pictures[:, :, row], (28, 28))[..., 28 + 2 * row - 27 : 56 + 2 * row - 27] for row in range(28)]
    return torch.stack(rows, dim=2)


def mean_of_nine(pictures: Tensor) -> Tensor:
    return F.conv2d(pictures, torch.full((1, 1, 3, 3), 1 / 9, device=pictures.device), padding=1)


def brightest_of_nine(pictures: Tensor) -> Tensor:
    return F.unfold(pictures, 3, padding=1).unflatten(1, (1, 9)).amax(2).unflatten(2, (28, 28))


@pytest.mark.parametrize(
    ("strength", "value", "expected"),
    [
        ("rotation", 90, quarter_turn),
        ("shift", 0.25, shifted),
        ("scale", 1, half_size),
        ("shear", 2, sheared),
        ("thickness", 1, brightest_of_nine),
        ("blur", 1, mean_of_nine),
        ("contrast", 0.5, lambda pictures: (1.5 * pictures).clamp(max=1)),
    ],
)
@pytest.mark.usefixtures("largest_draws")
def test_the_largest_change_is_the_known_one(
    strength: str, value: float, expected: Callable[[Tensor], Tensor], device: torch.device
) -> None:
    pictures = draw_pictures(device)
    changed = Augment(**NOTHING | {strength: value})(pictures, generator(device))
    torch.testing.assert_close(changed, expected(pictures), **TO_ROUNDING)


def test_the_other_end_of_thickness_thins_strokes(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """The darkest of three neighbours in a row: a vertical stroke of three pixels keeps its middle one."""
    monkeypatch.setattr(torch, "rand", lambda shape, generator, device: torch.zeros(shape, device=device))
    stroke = torch.zeros(1, 1, 28, 28, device=device)
    stroke[..., 12:15] = 1
    changed = Augment(**NOTHING | {"thickness": 1})(stroke, generator(device))
    middle = torch.zeros_like(stroke)
    middle[..., 13] = 1
    torch.testing.assert_close(changed, middle, **TO_ROUNDING)


def test_the_warp_displaces_by_its_standard_deviation(device: torch.device) -> None:
    """A ramp from 0 to 1 shows where each pixel came from.

    The displacement is normal at 5 x 5 points and interpolated in between, where its spread is smaller: on average
    over the picture between half and all of ``warp``. The border, where the ramp ends, is left out.
    """
    ramp = ((torch.arange(28, device=device) + 0.5) / 28).expand(2000, 1, 28, 28)
    changed = Augment(**NOTHING | {"warp": 0.02})(ramp, generator(device))
    displacement = (changed - ramp)[..., 4:-4, 4:-4]
    assert 0.5 * 0.02 < displacement.std() < 0.02


def test_a_change_is_the_same_for_all_channels(device: torch.device) -> None:
    grey = draw_pictures(device)
    changed = Augment()(grey, generator(device))
    coloured = Augment()(torch.cat([grey, grey, 0 * grey], 1), generator(device))
    torch.testing.assert_close(coloured[:, :2], changed.expand(-1, 2, -1, -1))
    assert (coloured[:, 2] == 0).all()
