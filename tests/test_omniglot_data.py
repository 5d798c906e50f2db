"""Omniglot: found in a folder or a zip file, whole or refused, kept in the cache, drawn as strokes."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from metasgd import data
from metasgd.data import OMNIGLOT_SHA256, load_omniglot, load_omniglot_strokes
from metasgd.tasks import Augment, Ink, distance_fields


def test_characters_are_sorted_background_first(omniglot_folder: Path) -> None:
    """The shrunk pictures of the first and the last character, by another way: mean areas of five pixels by five."""
    images = load_omniglot(omniglot_folder, quiet=True)
    assert (images.shape, images.dtype) == ((60, 20, 28, 28), torch.uint8)
    folder = omniglot_folder / "omniglot-py" / "images_background" / "Alphabet_of_0" / "character01"
    first = [1 - np.asarray(Image.open(path)).astype(np.float32) for path in sorted(folder.iterdir())]
    # 140 pixels, four for each old one, shrink to 28 by whole blocks.
    fine = torch.from_numpy(np.stack(first)).repeat_interleave(4, 1).repeat_interleave(4, 2)
    expected = 255 * F.avg_pool2d(fine[:, None], 5)[:, 0]
    torch.testing.assert_close(images[0].float(), expected, rtol=0, atol=0.51)  # rounded to whole numbers
    assert (images[40:] != images[:1]).flatten(1).any(1).all()


def test_a_folder_and_a_zip_file_give_the_same(omniglot_folder: Path) -> None:
    images = load_omniglot(omniglot_folder, quiet=True)
    with zipfile.ZipFile(omniglot_folder / "omniglot-py" / "images_evaluation.zip") as archive:
        archive.extractall(omniglot_folder / "omniglot-py")
    assert torch.equal(load_omniglot(omniglot_folder, quiet=True), images)


def test_the_folder_may_be_called_omniglot_or_be_named_itself(
    omniglot_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = load_omniglot(omniglot_folder, quiet=True)
    assert torch.equal(load_omniglot(omniglot_folder / "omniglot-py", quiet=True), images)
    (omniglot_folder / "omniglot-py").rename(omniglot_folder / "omniglot")
    monkeypatch.setenv("METASGD_DATA", str(omniglot_folder))
    assert torch.equal(load_omniglot(quiet=True), images)


def test_the_second_time_comes_from_the_cache(omniglot_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = load_omniglot(omniglot_folder, quiet=True)
    monkeypatch.setattr(data, "_drawings", None)
    assert torch.equal(load_omniglot(omniglot_folder, quiet=True), images)


@pytest.mark.parametrize("content", [b"", b"no archive"])
def test_a_damaged_cache_is_made_again(omniglot_folder: Path, tmp_path: Path, content: bytes) -> None:
    images = load_omniglot(omniglot_folder, quiet=True)
    (cache,) = (tmp_path / "cache" / "metasgd").iterdir()
    cache.write_bytes(content)
    assert torch.equal(load_omniglot(omniglot_folder, quiet=True), images)


def test_a_cache_that_cannot_be_written_is_done_without(
    omniglot_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file where the folder would be")
    assert len(load_omniglot(omniglot_folder)) == 60
    printed = capsys.readouterr().out
    assert "prepared again next time" in printed
    assert f"Omniglot: 1,200 drawings of 60 characters, from {omniglot_folder}" in printed


def test_without_a_folder_it_says_how_to_get_one() -> None:
    with pytest.raises(FileNotFoundError, match=r"not part of the package.*root='data'.*download=True"):
        load_omniglot()


def test_a_missing_part_is_named(omniglot_folder: Path) -> None:
    (omniglot_folder / "omniglot-py" / "images_evaluation.zip").unlink()
    with pytest.raises(FileNotFoundError, match=r"neither omniglot-py/images_evaluation nor .* download=True"):
        load_omniglot(omniglot_folder)


def test_a_part_that_is_not_complete_is_named(omniglot_folder: Path) -> None:
    next((omniglot_folder / "omniglot-py").rglob("*.png")).unlink()
    with pytest.raises(ValueError, match="images_background has 799 drawings instead of 800"):
        load_omniglot(omniglot_folder)


def test_a_damaged_zip_file_is_named(omniglot_folder: Path) -> None:
    (omniglot_folder / "omniglot-py" / "images_evaluation.zip").write_bytes(b"half a zip")
    with pytest.raises(ValueError, match=r"images_evaluation\.zip is damaged .*; delete it and download it again"):
        load_omniglot(omniglot_folder)


def test_the_full_omniglot_has_its_checksum(full_omniglot_folder: Path) -> None:
    images = load_omniglot(full_omniglot_folder, quiet=True)
    assert images.shape == (1623, 20, 28, 28)
    assert hashlib.sha256(images.numpy().tobytes()).hexdigest() == OMNIGLOT_SHA256


def test_strokes_have_the_same_order_as_pictures(omniglot_folder: Path) -> None:
    strokes = load_omniglot_strokes(omniglot_folder, quiet=True)
    assert (strokes.shape, strokes.dtype) == ((60, 20, 28, 28), torch.uint8)
    with zipfile.ZipFile(omniglot_folder / "omniglot-py" / "images_evaluation.zip") as archive:
        last = sorted(name for name in archive.namelist() if name.endswith(".png"))[-1]
        drawing = 1 - np.asarray(Image.open(archive.open(last))).astype(np.uint8)
    assert torch.equal(strokes[-1, -1:], distance_fields(torch.from_numpy(drawing)[None]))


def cross() -> torch.Tensor:
    """A cross of 41 x 41 pixels away from the middle of a drawing of 105 x 105."""
    drawing = torch.zeros(1, 105, 105, dtype=torch.uint8)
    drawing[0, 30:71, 50] = 1
    drawing[0, 50, 30:71] = 1
    return drawing


def test_a_field_is_the_distance_from_a_scaled_and_centred_drawing() -> None:
    """The cross becomes 20 pixels wide around the middle, between pixels 13 and 14.

    A pixel at (13.5 + 3.5, 13.5 + 0.5) is half a pixel from the arm, and one at (27, 27) is 3.5 * sqrt(2) from where
    both arms' ends meet... the nearest point is an arm's end, 13.5 and 3.75 away, beyond the reach. Every second
    pixel of the line is kept, 20 / 41 apart, so distances are right to a quarter of a pixel.
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
