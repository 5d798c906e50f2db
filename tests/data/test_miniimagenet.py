"""miniImageNet: both forms of its folder, the check of its classes, and one sentence for each that does not fit."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from metasgd import show_messages
from metasgd.data import load_miniimagenet, miniimagenet
from tests.data.colour_folders import EXAMPLES, PARTS, as_published, class_names, copy_of


@pytest.fixture
def folder(small_miniimagenet: Path, tmp_path: Path) -> Path:
    """A copy of miniImageNet that a test may change."""
    return copy_of(small_miniimagenet / "mini-imagenet", tmp_path / "mine")


def test_every_class_has_its_own_pictures_in_order(small_miniimagenet: Path) -> None:
    """Colours are within the rounding of JPEG."""
    found = load_miniimagenet(small_miniimagenet, quiet=True)
    assert list(found) == list(PARTS)
    for part, classes in found.items():
        assert list(classes) == class_names(part)
        for index, pictures in enumerate(classes.values()):
            assert (pictures.shape, pictures.dtype) == ((EXAMPLES, 3, 84, 84), torch.uint8)
            examples = torch.arange(EXAMPLES)
            expected = torch.stack([0 * examples + 2 * index, 12 * examples, 0 * examples + 128], 1)
            assert (pictures - expected[:, :, None, None].short()).abs().max() <= 3


def test_pictures_of_the_size_are_taken_as_they_are(folder: Path) -> None:
    """Channels come first, rows before columns."""
    pixels = np.random.default_rng(0).integers(256, size=(84, 84, 3), dtype=np.uint8)
    one = folder / "val" / class_names("val")[3]
    Image.fromarray(pixels).save(one / "a first one.png")
    found = load_miniimagenet(folder, ["val"], quiet=True)["val"][one.name]
    assert torch.equal(found[0], torch.from_numpy(pixels).permute(2, 0, 1))


@pytest.mark.parametrize(("folders", "images"), [(False, "images"), (True, "images"), (True, "."), (False, ".")])
def test_the_published_lists_give_the_same_as_folders(folder: Path, folders: bool, images: str) -> None:
    expected = load_miniimagenet(folder, ["val", "test"], size=4, quiet=True)
    as_published(folder, folders=folders, images=images)
    assert not (folder / "train").exists()
    found = load_miniimagenet(folder, ["val", "test"], size=4, quiet=True)
    for part, classes in expected.items():
        assert list(found[part]) == list(classes)
        assert all(torch.equal(found[part][name], pictures) for name, pictures in classes.items())


def test_the_folder_of_a_class_is_all_of_it_whatever_its_files_are_called(folder: Path) -> None:
    """Some copies have the published lists, but ImageNet's own names of files."""
    as_published(folder, folders=True)
    for number, file in enumerate(sorted((folder / "images").glob("*/*.jpg"))):
        file.rename(file.with_name(f"{number:06}.JPEG"))
    assert all(len(own) == EXAMPLES for own in load_miniimagenet(folder, ["val"], size=4, quiet=True)["val"].values())


@pytest.mark.parametrize("name", ["miniimagenet", "miniImageNet", "mini_imagenet", "Mini-ImageNet"])
def test_the_folder_may_have_any_spelling_or_be_named_by_the_environment(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    (folder.parent / "data").mkdir()
    folder.rename(folder.parent / "data" / name)
    monkeypatch.setenv("METASGD_DATA", str(folder.parent / "data"))
    show_messages()
    assert len(load_miniimagenet(parts=["test"], size=2)["test"]) == 20
    printed = capsys.readouterr().out
    assert f"miniImageNet (test: 360 pictures of 20 classes), from {folder.parent / 'data' / name}" in printed
    assert "100 classes in" in printed
    assert "do not have the 600 pictures of miniImageNet's" in printed


def test_what_is_hidden_is_left_out(folder: Path) -> None:
    for place in (folder, folder / "train", folder / "train" / class_names("train")[0]):
        (place / ".DS_Store").touch()
        (place / "Thumbs.db").touch()
    assert len(load_miniimagenet(folder, ["train"], size=2, quiet=True)["train"]) == 64


def test_only_the_parts_that_are_asked_for_are_read_but_all_are_checked(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []
    monkeypatch.setattr(
        miniimagenet, "read_picture", lambda file, **_: read.append(file) or torch.zeros(3, 2, 2, dtype=torch.uint8)
    )
    assert list(load_miniimagenet(folder, ["val"], size=2, quiet=True)) == ["val"]
    assert len(read) == 16 * EXAMPLES
    assert {file.parent.parent.name for file in read} == {"val"}
    shutil.rmtree(folder / "test" / class_names("test")[0])
    with pytest.raises(ValueError, match=r"test in .* has 19 classes instead of 20"):
        load_miniimagenet(folder, ["val"], size=2, quiet=True)
    assert len(read) == 16 * EXAMPLES


def remove_class(folder: Path) -> None:
    shutil.rmtree(folder / "train" / class_names("train")[5])


def add_class(folder: Path) -> None:
    shutil.copytree(folder / "val" / class_names("val")[0], folder / "val" / "n99")


def share_class(folder: Path) -> None:
    shutil.rmtree(folder / "test" / class_names("test")[0])
    shutil.copytree(folder / "val" / class_names("val")[0], folder / "test" / class_names("val")[0])


def lose_pictures(folder: Path) -> None:
    for file in sorted((folder / "test" / class_names("test")[2]).iterdir())[10:]:
        file.unlink()


def damage_picture(folder: Path) -> None:
    file = min((folder / "train" / class_names("train")[2]).iterdir())
    content = file.read_bytes()
    file.unlink()
    file.write_bytes(content[:300])


def add_text(folder: Path) -> None:
    (folder / "val" / class_names("val")[2] / "notes.txt").touch()


def loose_picture(folder: Path) -> None:
    shutil.copy(min((folder / "val" / class_names("val")[2]).iterdir()), folder / "val" / "loose.jpg")


def lose_part(folder: Path) -> None:
    shutil.rmtree(folder / "val")


def lose_listed_picture(folder: Path) -> None:
    as_published(folder)
    for file in sorted((folder / "images").glob(f"{class_names('test')[4]}*"))[3:5]:
        file.unlink()


def list_twice(folder: Path) -> None:
    as_published(folder)
    name = class_names("val")[1]
    with open(folder / "val.csv", "a") as stream:
        stream.write(f"{name}00000001.jpg,{name}\n")


def other_columns(folder: Path) -> None:
    as_published(folder)
    content = (folder / "train.csv").read_text()
    (folder / "train.csv").write_text(content.replace("filename,label", "image,class"))


def outside(folder: Path) -> None:
    as_published(folder)
    with open(folder / "val.csv", "a") as stream:
        stream.write("../../secret.jpg,n99\n")


def empty_list(folder: Path) -> None:
    as_published(folder)
    (folder / "test.csv").write_text("filename,label\n")


def no_text(folder: Path) -> None:
    as_published(folder)
    (folder / "test.csv").write_bytes(b"\xff\xfe\x00\x80")


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (remove_class, ValueError, "train in .* has 63 classes instead of 64; the usual split"),
        (add_class, ValueError, "val in .* has 17 classes instead of 16; the usual split"),
        (
            share_class,
            ValueError,
            r"the class n20000000 is in val and in test of .*; a class may be in one part alone",
        ),
        (lose_pictures, ValueError, "the class n30000014 of test in .* has 10 pictures, and 16 are needed; "),
        (damage_picture, ValueError, r"n1000001400000000.jpg is damaged or not whole .*; copy it again"),
        (add_text, ValueError, "notes.txt is no PNG or JPEG; convert it, or move it out"),
        (loose_picture, ValueError, "loose.jpg lies beside the folders of the classes"),
        (
            lose_part,
            FileNotFoundError,
            "miniImageNet is not in .*; the folder must hold train/, val/ and test/, .*org",
        ),
        (lose_listed_picture, FileNotFoundError, "n3000002800000003.jpg is missing, .* of which 2 are missing; copy"),
        (list_twice, ValueError, "val.csv lists a picture of the class n20000007 twice"),
        (other_columns, ValueError, "line 2 of .*train.csv names no picture and class; its columns must be filename"),
        (outside, ValueError, r"line 290 of .*val.csv names no picture and class"),
        (empty_list, ValueError, "test.csv lists no picture"),
        (no_text, ValueError, "test.csv cannot be read as CSV .*; get the list again"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused_in_one_sentence(
    folder: Path, change: Callable[[Path], None], error: type[Exception], message: str
) -> None:
    change(folder)
    with pytest.raises(error, match=message) as caught:
        load_miniimagenet(folder, size=2, examples=16, quiet=True)
    assert "\n" not in str(caught.value)
    assert not re.search(r"\. [A-Z]", str(caught.value))


def test_without_a_folder_it_says_how_one_must_look_and_where_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("METASGD_DATA", raising=False)
    for root in (None, tmp_path / "none", tmp_path):
        with pytest.raises(FileNotFoundError, match=r"train/, val/ and test/.*train.csv.*image-net.org"):
            load_miniimagenet(root)
    (tmp_path / "all.zip").touch()
    with pytest.raises(
        NotADirectoryError, match=r"all.zip is a file; unpack it, and name the folder, which must hold"
    ):
        load_miniimagenet(tmp_path / "all.zip")
    with pytest.raises(ValueError, match=r"parts is .* some of train, val, test"):
        load_miniimagenet(tmp_path, ["base"])
    with pytest.raises(ValueError, match="size is 0"):
        load_miniimagenet(tmp_path, size=0)
