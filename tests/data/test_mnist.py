"""MNIST: the embedded sample is what it says, and a folder is loaded whole or refused."""

import hashlib
from pathlib import Path

import pytest
import torch

from metasgd import show_messages
from metasgd.data import MNIST_FILES, SAMPLE_SHA256, load_mnist, mnist, pixels_sha256
from metasgd.tools.make_mnist_sample import OFFICIAL_TEST_COUNTS, make_sample


def test_the_sample_has_its_checksum() -> None:
    assert pixels_sha256(load_mnist(quiet=True)) == SAMPLE_SHA256


def test_the_sample_has_a_thousand_byte_pictures_of_each_digit() -> None:
    digits = load_mnist(quiet=True)
    assert [(images.shape, images.dtype) for images in digits] == [((1000, 28, 28), torch.uint8)] * 10


def test_the_sample_can_be_remade_from_the_official_files(mnist_folder: Path) -> None:
    assert pixels_sha256(list(make_sample(mnist_folder))) == SAMPLE_SHA256


def test_a_folder_gives_all_official_images_training_split_first(mnist_folder: Path) -> None:
    """Counts as published with MNIST: 60,000 and 10,000, of which these are the test split's by digit."""
    digits, sample = load_mnist(mnist_folder, quiet=True), load_mnist(quiet=True)
    assert [len(images) for images in digits] == [6903, 7877, 6990, 7141, 6824, 6313, 6876, 7293, 6825, 6958]
    for images, known, test_count in zip(digits, sample, OFFICIAL_TEST_COUNTS, strict=True):
        assert torch.equal(images[:800], known[:800])
        assert torch.equal(images[-test_count:][:200], known[800:])


def test_the_environment_names_the_folder(mnist_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METASGD_DATA", str(mnist_folder))
    assert sum(map(len, load_mnist(quiet=True))) == 70_000


def test_an_empty_environment_variable_names_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METASGD_DATA", "")
    assert sum(map(len, load_mnist(quiet=True))) == 10_000


def test_the_source_is_said_to_who_asks(capsys: pytest.CaptureFixture) -> None:
    load_mnist()
    assert capsys.readouterr().out == ""
    show_messages()
    load_mnist()
    printed = capsys.readouterr().out
    assert printed == "MNIST: 10,000 images of 10 digits, from the embedded sample\n"


@pytest.fixture
def small_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four files of a few bytes whose checksums are taken for the official ones."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in MNIST_FILES:
        (raw / name).write_bytes(b"digits")
    known = hashlib.md5(b"digits", usedforsecurity=False).hexdigest()
    monkeypatch.setattr(mnist, "MNIST_FILES", dict.fromkeys(MNIST_FILES, known))
    return tmp_path


@pytest.mark.parametrize("name", MNIST_FILES)
def test_a_missing_file_is_named(name: str, small_folder: Path) -> None:
    (small_folder / "MNIST" / "raw" / name).unlink()
    with pytest.raises(FileNotFoundError, match=f"{name} is missing; pass download=True"):
        load_mnist(small_folder)


@pytest.mark.parametrize("name", MNIST_FILES)
def test_a_corrupt_file_is_named(name: str, small_folder: Path) -> None:
    (small_folder / "MNIST" / "raw" / name).write_bytes(b"digit")
    with pytest.raises(ValueError, match=f"{name} is corrupt: its MD5 is .* delete it and download it again"):
        load_mnist(small_folder)


def test_a_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere/MNIST/raw/train-images-idx3-ubyte is missing"):
        load_mnist(tmp_path / "nowhere")


def test_downloading_needs_a_folder() -> None:
    with pytest.raises(ValueError, match="download=True needs a folder"):
        load_mnist(download=True)


def test_a_download_is_left_to_torchvision(small_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked once, for the folder, before the files are checked."""
    asked = []

    class MadeUp:
        """Stands for ``torchvision.datasets.MNIST``: one picture of a 3 in each split."""

        def __init__(self, root: Path, train: bool, download: bool = False) -> None:
            asked.append((root, train, download))
            self.data = torch.full((1, 28, 28), int(train), dtype=torch.uint8)
            self.targets = torch.tensor([3])

    monkeypatch.setattr("torchvision.datasets.MNIST", MadeUp)
    classes = load_mnist(small_folder, download=True, quiet=True)
    assert asked == [(small_folder, True, True), (small_folder, True, False), (small_folder, False, False)]
    assert [len(images) for images in classes] == [0, 0, 0, 2, 0, 0, 0, 0, 0, 0]
    assert classes[3][:, 0, 0].tolist() == [1, 0]  # the training split first
