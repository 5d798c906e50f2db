"""Ink becomes a picture like MNIST's: MNIST's own digits, photographed on imitated sheets, come out as they were."""

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor

from metasgd.data import ink_like_mnist, load_mnist_sample
from metasgd.data.ink import area_weights, edge_of, widened
from metasgd.recipes.shipped import load_weights
from tests.data.sheets import drawn_on_sheet

DIGITS = [images[100:103] for images in load_mnist_sample()]
SHEETS: dict[str, dict[str, Any]] = {
    "ink on paper": {},
    "chalk on a board": {"bright": True},
    "a symbol as large as the picture": {"size": 1.0},
    "a small symbol on a large sheet": {"size": 0.25, "side": 700},
    "much noise": {"noise": 0.08},
    "pencil": {"contrast": 0.35},
}


def likeness(first: Tensor, second: Tensor) -> float:
    """The largest correlation of two pictures if one may be moved by a pixel, as a centre is rounded to one."""
    moved = [second.roll((down, right), (0, 1)) for down, right in product((-1, 0, 1), repeat=2)]
    return max(torch.corrcoef(torch.stack([first, other]).flatten(1).float())[0, 1].item() for other in moved)


@pytest.mark.parametrize("sheet", SHEETS.values(), ids=SHEETS.keys())
def test_a_digit_on_a_sheet_comes_out_as_it_was(sheet: dict[str, Any]) -> None:
    """Thin digits come out thicker, and pencil has gaps, so not all are alike to the last pixel."""
    generator = torch.Generator().manual_seed(0)
    alike = torch.tensor(
        [likeness(images[0], ink_like_mnist(drawn_on_sheet(images[0], generator, **sheet))) for images in DIGITS]
    )
    assert alike.median() > 0.92
    assert alike.min() > 0.6


def test_a_digit_of_mnist_itself_stays_nearly_as_it_is() -> None:
    alike = [likeness(images[0], ink_like_mnist(images[0])) for images in DIGITS]
    assert min(alike) > 0.9


def test_a_shipped_learner_reads_scans_as_it_reads_the_digits_themselves() -> None:
    """One picture of each of five digits, then two queries of each: what is lost by a photograph is one in ten."""
    learner, _ = load_weights("omniglot-mnist-5way")
    generator, labels = torch.Generator().manual_seed(1), torch.arange(5)
    scans = [torch.stack([ink_like_mnist(drawn_on_sheet(digit, generator)) for digit in images]) for images in DIGITS]
    right = {}
    for name, classes in {"digits": DIGITS, "scans": scans}.items():
        right[name] = 0
        for chosen in (classes[:5], classes[5:]):
            pictures = torch.stack([images[:3] for images in chosen])[:, :, None] / 255
            with torch.no_grad():
                answers = learner(pictures[:, 0], labels, pictures[:, 1:].flatten(0, 1)).argmax(1)
            right[name] += (answers == labels.repeat_interleave(2)).sum().item()
    assert right["scans"] >= right["digits"] - 2
    assert right["scans"] >= 14


def cross(width: int, *, side: int = 500, bright: bool = False) -> Tensor:
    """A plus sign of 300 pixels, on a sheet."""
    sheet = torch.full((side, side), 30 if bright else 220, dtype=torch.uint8)
    for rows, columns in ((slice(100, 400), slice(240, 240 + width)), (slice(240, 240 + width), slice(100, 400))):
        sheet[rows, columns] = 220 if bright else 30
    return sheet


@pytest.mark.parametrize("width", [2, 6, 15, 30])
@pytest.mark.parametrize("bright", [False, True])
def test_lines_of_any_width_are_drawn_and_thin_ones_do_not_fade(width: int, bright: bool) -> None:
    drawn = ink_like_mnist(cross(width, bright=bright))
    assert (drawn.dtype, drawn.shape) == (torch.uint8, (28, 28))
    rows, columns = ((drawn > 127).any(dim).nonzero() for dim in (1, 0))
    assert [len(rows), len(columns)] == [20, 20]
    middle = drawn[int(rows[2])]  # crosses one line
    assert middle.max() > 200
    assert 1.5 < middle.sum() / 255 < 3


def test_thick_lines_stay_thick() -> None:
    middle = ink_like_mnist(cross(75))[6].sum() / 255
    assert 4.5 < middle < 5.5


def test_the_size_and_shape_of_the_picture_play_no_part() -> None:
    """The same cross on a wide sheet, on one twice as fine, and cut out tightly."""
    drawn, wide = cross(20), torch.full((500, 1300), 220, dtype=torch.uint8)
    wide[:, 700:1200] = drawn
    for other in (wide, drawn.repeat_interleave(2, 0).repeat_interleave(2, 1), drawn[98:402, 98:402]):
        assert likeness(ink_like_mnist(drawn), ink_like_mnist(other)) > 0.95


def test_colours_are_made_grey() -> None:
    drawn = cross(20)
    blue = torch.stack([drawn, drawn, torch.full_like(drawn, 220)])
    assert likeness(ink_like_mnist(drawn), ink_like_mnist(blue)) > 0.98
    assert torch.equal(ink_like_mnist(drawn[None]), ink_like_mnist(drawn))


def test_specks_are_left_out_and_dots_are_not() -> None:
    """The dot has a twelfth of the cross's ink, the speck a hundredth."""
    drawn = cross(20)
    drawn[150:156, 150:156] = 30
    assert torch.equal(ink_like_mnist(drawn)[:13, :13], ink_like_mnist(cross(20))[:13, :13])
    drawn[130:160, 130:160] = 30
    assert ink_like_mnist(drawn)[4:10, 4:10].max() == 255


def test_ruled_lines_are_no_ink() -> None:
    ruled = cross(20)
    ruled[torch.arange(500) % 40 < 3] = ruled[torch.arange(500) % 40 < 3].clamp(max=185)
    assert likeness(ink_like_mnist(ruled), ink_like_mnist(cross(20))) > 0.95


@pytest.mark.parametrize("seed", range(6))
def test_an_empty_sheet_is_refused(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    sheet = drawn_on_sheet(torch.zeros(28, 28), generator, noise=(0.01, 0.03, 0.08)[seed % 3], shadow=seed < 3)
    with pytest.raises(ValueError, match="no ink is found; take a picture of one symbol"):
        ink_like_mnist(sheet)


@pytest.mark.parametrize("shape", [(1, 1), (3, 1, 1), (40, 1), (28, 28)])
def test_a_picture_of_one_colour_has_no_ink(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="no ink is found"):
        ink_like_mnist(torch.full(shape, 77, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (torch.zeros(28, 28), r"has dtype torch.float32 and shape \(28, 28\); it must be uint8"),
        (torch.zeros(28, dtype=torch.uint8), r"shape \(28,\); it must be uint8 of shape \(height, width\)"),
        (torch.zeros(28, 28, 3, dtype=torch.uint8), r"shape \(28, 28, 3\); it must be"),
        (torch.zeros(0, 28, dtype=torch.uint8), r"shape \(0, 28\), and so no pixels"),
    ],
)
def test_what_is_no_picture_is_refused(picture: Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ink_like_mnist(picture)


def test_a_picture_is_widened_by_its_largest_values() -> None:
    """Against PyTorch's max-pooling."""
    picture = torch.rand(23, 40, generator=torch.Generator().manual_seed(0))
    for reach in (1, 2, 4, 7, 10):
        pooled = torch.nn.functional.max_pool2d(picture[None, None], 2 * reach + 1, 1, reach)[0, 0]
        assert torch.equal(widened(picture, reach), pooled)


def test_areas_are_averaged() -> None:
    weights = area_weights(5, 2)
    torch.testing.assert_close(weights, torch.tensor([[2, 2, 1, 0, 0], [0, 0, 1, 2, 2]]) / 5)
    torch.testing.assert_close(area_weights(2, 3), torch.tensor([[2, 0], [1, 1], [0, 2]]) / 2)


def test_the_edge_of_a_square() -> None:
    square = torch.zeros(6, 6, dtype=torch.bool)
    square[1:5, 1:5] = True
    assert edge_of(square).sum() == 12
    assert edge_of(torch.ones(3, 3, dtype=torch.bool)).sum() == 8  # the border of the picture counts
