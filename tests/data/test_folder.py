"""A folder of one's own pictures: classes in order, and every foreseeable mistake named with its remedy."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from metasgd.data import ink_like_mnist, load_folder, load_pictures, read_picture
from metasgd.tasks import EpisodeSampler

COUNTS = {"circle": 2, "arrow": 3, "star": 2}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three classes of pictures of different sizes, each of one colour of its own."""
    for place, (name, count) in enumerate(COUNTS.items()):
        (tmp_path / name).mkdir()
        for index in range(count):
            colour = (100 * place, 50 * index, 255 - 100 * place)
            suffix = "png" if index else "jpg"
            Image.new("RGB", (20 + 10 * index, 40), colour).save(tmp_path / name / f"{index}.{suffix}")
    return tmp_path


def test_classes_and_files_are_sorted_by_name(folder: Path) -> None:
    loaded = load_folder(folder)
    assert loaded.names == ["arrow", "circle", "star"]
    assert [[file.relative_to(folder).as_posix() for file in files] for files in loaded.files] == [
        ["arrow/0.jpg", "arrow/1.png", "arrow/2.png"], ["circle/0.jpg", "circle/1.png"], ["star/0.jpg", "star/1.png"]
    ]  # fmt: skip
    assert [(images.shape, images.dtype) for images in loaded.classes] == [
        ((count, 28, 28), torch.uint8) for count in (3, 2, 2)
    ]
    for images, files in zip(loaded.classes, loaded.files, strict=True):
        assert torch.equal(images, torch.stack([read_picture(file, size=28) for file in files]))


def test_colour_and_size_are_chosen_and_tasks_drawn(folder: Path) -> None:
    loaded = load_folder(str(folder), 32, colour=True)
    assert loaded.classes[0].shape == (3, 3, 32, 32)
    assert loaded.classes[1][1, :, 0, 0].tolist() == [0, 50, 255]
    task = EpisodeSampler(loaded.classes, 3, 1, 1).sample(2)
    assert task.support_x.shape == (2, 3, 3, 32, 32)


def test_drawings_are_made_like_mnist(folder: Path) -> None:
    for number, file in enumerate(sorted(folder.rglob("*.*"))):
        sheet = Image.new("L", (90, 70), 230)
        sheet.paste(10, (20, 20, 60 + number, 30))
        sheet.save(file)
    loaded = load_folder(folder, ink=True)
    assert torch.equal(loaded.classes[2][1], ink_like_mnist(read_picture(folder / "star" / "1.png")))
    assert torch.equal(load_pictures(folder / "star", ink=True).pictures, loaded.classes[2])


def test_a_drawing_without_ink_is_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"arrow/0.jpg: no ink is found"):
        load_folder(folder, ink=True)


def test_what_systems_leave_and_what_is_no_picture_beside_the_classes_is_ignored(folder: Path) -> None:
    for name in (".DS_Store", "README.txt", "circle/.DS_Store", "circle/Thumbs.db", "star/._0.jpg"):
        (folder / name).touch()
    for name in (".git", "__MACOSX", "arrow/.ipynb_checkpoints"):
        (folder / name).mkdir()
    assert [len(images) for images in load_folder(folder).classes] == [3, 2, 2]


def test_pictures_without_classes_are_loaded(folder: Path) -> None:
    loaded = load_pictures(folder / "arrow", 20, colour=True)
    assert loaded.pictures.shape == (3, 3, 20, 20)
    assert [file.name for file in loaded.files] == ["0.jpg", "1.png", "2.png"]


def test_a_missing_folder_and_a_file_are_named(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere does not exist; it must hold a folder for each class"):
        load_folder(folder / "nowhere")
    with pytest.raises(NotADirectoryError, match=r"0.jpg is a file; name a folder"):
        load_folder(folder / "star" / "0.jpg")
    (folder / "all.zip").touch()
    with pytest.raises(NotADirectoryError, match=r"all.zip is a file; unpack it, and name the folder"):
        load_folder(folder / "all.zip")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: [(folder / name).rename(folder / f".{name}") for name in COUNTS],
            "has no class; it must hold",
        ),
        (
            lambda folder: [(folder / name).rename(folder / f".{name}") for name in ("star", "arrow")],
            "has only the class 'circle', and at least 2 are needed; it must hold a folder for each class",
        ),
        (lambda folder: (folder / "tree").mkdir(), "tree holds no picture; put some PNG or JPEG files into it"),
        (lambda folder: (folder / "star" / "a.gif").touch(), r"star/a.gif is no PNG or JPEG; convert it, or move it"),
        (lambda folder: (folder / "star" / "a.HEIC").touch(), r"a.HEIC is no PNG or JPEG.* iPhone"),
        (lambda folder: (folder / "star" / "old").mkdir(), "star/old is a folder where pictures are expected; name"),
        (lambda folder: (folder / "a.png").touch(), r"a.png lies beside the folders of the classes; move it into"),
        (lambda folder: (folder / "star" / "a.png").write_bytes(b"no"), r"star/a.png is no PNG or JPEG, or its"),
        (lambda folder: (folder / "star" / "a.jpg").symlink_to("nothing"), r"star/a.jpg is missing"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said_in_one_sentence(folder: Path, change, message: str) -> None:
    change(folder)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        load_folder(folder)


def test_too_few_pictures_of_a_class_are_named(folder: Path) -> None:
    with pytest.raises(ValueError, match=r"class 'arrow' in .* has 3 pictures, and 5 are needed; add 2, or ask for"):
        load_folder(folder, examples=5)


def test_one_class_is_enough_for_who_says_so(folder: Path) -> None:
    for name in ("star", "arrow"):
        (folder / name).rename(folder / f".{name}")
    assert load_folder(folder, least_classes=1).names == ["circle"]


def test_an_empty_folder_of_pictures_is_named(folder: Path) -> None:
    (folder / "tree").mkdir()
    with pytest.raises(ValueError, match="tree holds no picture; put some PNG or JPEG files into it"):
        load_pictures(folder / "tree")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 0}, "size is 0; it must be at least 1"),
        ({"size": 28.5}, r"size is 28.5; it must be a whole number"),
        ({"examples": 0}, "examples is 0; it must be at least 1"),
        ({"ink": True, "size": 32}, "ink=True makes grey pictures of 28 x 28 pixels, not 32 x 32"),
        ({"ink": True, "colour": True}, "ink=True makes grey pictures of 28 x 28 pixels, not coloured ones"),
    ],
)
def test_wrong_arguments_are_named(folder: Path, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_folder(folder, **options)
