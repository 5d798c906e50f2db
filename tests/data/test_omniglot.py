"""Omniglot: found in a folder or a zip file, whole or refused, kept in the cache, drawn as strokes."""

import hashlib
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from metasgd import show_messages
from metasgd.data import OMNIGLOT_SHA256, load_omniglot, load_omniglot_strokes, omniglot
from metasgd.tasks import distance_fields


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
    monkeypatch.setattr(omniglot, "_drawings", None)
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
    show_messages()
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


def test_a_download_of_both_parts_is_left_to_torchvision(
    omniglot_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []
    monkeypatch.setattr(
        "torchvision.datasets.Omniglot", lambda root, background, download: asked.append((root, background, download))
    )
    load_omniglot(omniglot_folder, download=True, quiet=True)
    assert asked == [(omniglot_folder, True, True), (omniglot_folder, False, True)]
