"""CIFAR-FS: the split of Bertinetto et al. 2019, by name, from CIFAR-100 in torchvision's layout."""

import hashlib
import os
import shutil
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from torchvision.datasets import CIFAR100

from metasgd import show_messages
from metasgd.data import CIFAR_FS_CLASSES, PARTS, load_cifar_fs
from tests.data.colour_folders import CIFAR_100

# The SHA-256 of the names of each part, sorted and joined by line breaks, in the lists of torchmeta's repository
# (github.com/tristandeleu/pytorch-meta, torchmeta/datasets/assets/cifar100/cifar-fs/).
TORCHMETA_SHA256 = {
    "train": "e40c037757741c61e50829c14d921fd10476dfc74ca34da755afdcf05e75b9c1",
    "val": "e02b317c48c94270f9d5385a65f92a748210ed6c14138a0d3ac79a5fdc571f07",
    "test": "2a35675fcdddfebb30b999bbeda046762a08705273587d19c96d3c3ab9dd8142",
}


def test_the_split_is_that_of_other_programs() -> None:
    for part, names in CIFAR_FS_CLASSES.items():
        assert hashlib.sha256("\n".join(names).encode()).hexdigest() == TORCHMETA_SHA256[part]


def test_the_parts_are_disjoint_and_have_all_of_cifar_100() -> None:
    assert (
        {part: len(names) for part, names in CIFAR_FS_CLASSES.items()} == PARTS == {"train": 64, "val": 16, "test": 20}
    )
    together = [name for names in CIFAR_FS_CLASSES.values() for name in names]
    assert sorted(together) == sorted(CIFAR_100)
    assert len(set(together)) == 100


def test_every_class_has_its_own_pictures_training_first(small_cifar_100: Path) -> None:
    found = load_cifar_fs(small_cifar_100, quiet=True)
    labels = {name: label for label, name in enumerate(sorted(CIFAR_100))}
    assert {part: tuple(classes) for part, classes in found.items()} == CIFAR_FS_CLASSES
    for classes in found.values():
        for name, pictures in classes.items():
            expected = torch.empty(18, 3, 32, 32, dtype=torch.uint8)
            expected[:, 0], expected[:, 1], expected[:, 2] = labels[name], torch.arange(18)[:, None, None], 200
            expected[:, :, 0] = torch.tensor([255, 0, 0], dtype=torch.uint8)[:, None]
            assert torch.equal(pictures, expected)


def test_some_parts_are_enough(small_cifar_100: Path) -> None:
    assert list(load_cifar_fs(small_cifar_100, ["test"], quiet=True)) == ["test"]
    for wrong in (["train", "novel"], [], "test"):
        with pytest.raises(ValueError, match=r"must be a list of some of train, val, test"):
            load_cifar_fs(small_cifar_100, wrong, quiet=True)


def test_the_folder_may_be_named_itself_or_by_the_environment(
    small_cifar_100: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    show_messages()
    load_cifar_fs(small_cifar_100 / "cifar-100-python", ["val"])
    assert "CIFAR-FS (val: 288 pictures of 16 classes), from " in capsys.readouterr().out
    monkeypatch.setenv("METASGD_DATA", str(small_cifar_100))
    assert len(load_cifar_fs(parts=["val"])["val"]) == 16


def test_without_a_folder_it_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("METASGD_DATA", raising=False)
    with pytest.raises(FileNotFoundError, match=r"not part of the package.*root='data'.*download=True"):
        load_cifar_fs()


def test_nothing_is_downloaded_unless_it_is_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What arrives here is nothing, which torchvision finds; or there is no network."""
    asked = []
    monkeypatch.setattr(CIFAR100, "download", lambda self: asked.append(Path(self.root)))
    with pytest.raises(FileNotFoundError, match=r"cifar-100-python.train is missing; pass download=True"):
        load_cifar_fs(tmp_path)
    assert asked == []
    with pytest.raises(
        ValueError, match=r"could not be downloaded .*found or corrupted.* delete .*cifar-100-python.tar"
    ):
        load_cifar_fs(tmp_path, download=True)
    assert asked == [tmp_path]

    def fail(self: CIFAR100) -> None:
        raise URLError("no network")

    monkeypatch.setattr(CIFAR100, "download", fail)
    with pytest.raises(
        ValueError, match=r"could not be downloaded .*no network.* or get it from https://www.cs.toronto"
    ):
        load_cifar_fs(tmp_path, download=True)


@pytest.mark.parametrize("name", ["train", "test", "meta"])
def test_a_file_that_is_missing_or_damaged_is_named(small_cifar_100: Path, tmp_path: Path, name: str) -> None:
    shutil.copytree(small_cifar_100, tmp_path / "copy")
    file = tmp_path / "copy" / "cifar-100-python" / name
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(ValueError, match=rf"{name} is corrupt: its MD5 is \w+ instead of \w+; delete it"):
        load_cifar_fs(tmp_path / "copy")
    file.unlink()
    with pytest.raises(FileNotFoundError, match=rf"{name} is missing; pass download=True"):
        load_cifar_fs(tmp_path / "copy")


def test_the_real_cifar_100_has_600_pictures_of_each_class() -> None:
    root = Path(os.environ.get("METASGD_DATA", "")).expanduser()
    if not (root / "cifar-100-python").is_dir():
        pytest.skip("needs CIFAR-100; set METASGD_DATA to a folder that has cifar-100-python/")
    found = load_cifar_fs(root, quiet=True)
    assert all(pictures.shape == (600, 3, 32, 32) for classes in found.values() for pictures in classes.values())
