"""Pictures of one's own: a folder for each class, or a folder of pictures without classes."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor
from tqdm import tqdm

from metasgd._core.checks import check_counts
from metasgd.data.ink import ink_like_mnist
from metasgd.data.pictures import SUFFIXES, is_ignored, picture_files, read_picture

__all__ = ["Pictures", "PicturesByClass", "load_folder", "load_pictures"]

LAYOUT = "it must hold a folder for each class, with the class's pictures in it"


class PicturesByClass(NamedTuple):
    """Pictures by class, and what they are called.

    Attributes:
        classes: for each class uint8 of shape (examples, height, width), or (examples, 3, height, width) in colour:
            what ``metasgd.tasks.EpisodeSampler`` takes.
        names: of the classes: those of their folders.
        files: of each class, the file of every picture.
    """

    classes: list[Tensor]
    names: list[str]
    files: list[list[Path]]


class Pictures(NamedTuple):
    """Pictures without classes.

    Attributes:
        pictures: uint8 of shape (pictures, height, width), or (pictures, 3, height, width) in colour.
        files: the file of every picture.
    """

    pictures: Tensor
    files: list[Path]


def load_folder(
    path: str | Path,
    size: int = 28,
    *,
    colour: bool = False,
    ink: bool = False,
    examples: int = 1,
    least_classes: int = 2,
    progress: bool = False,
) -> PicturesByClass:
    """Load a folder that holds a folder of pictures for each class, PNG or JPEG, of any size.

    The classes are sorted by name, and so are the pictures of a class. Each picture is read as ``read_picture`` says,
    which makes it square by cutting off what is too long. Hidden files and folders are left out, and so are
    ``Thumbs.db`` and the like, and beside the folders of the classes all that is no picture.

    Args:
        path: the folder, e.g. with ``cat/1.jpg``, ``cat/2.jpg`` and ``dog/1.png`` in it.
        size: the height and width of the results in pixels.
        colour: three channels, red, green and blue; else one grey one.
        ink: the pictures are drawings, which are made like MNIST's digits, see ``ink_like_mnist``.
        examples: how many pictures each class must have at least.
        least_classes: how many classes there must be at least.
        progress: show a bar on standard error where it takes more than a few seconds.

    Raises:
        FileNotFoundError: there is no such folder.
        NotADirectoryError: it is a file.
        ValueError: too few classes, or too few pictures of a class; a picture beside the folders; a file that is no
            PNG or JPEG, or cannot be read; ``ink`` in colour or of another size than 28; a drawing without ink.
    """
    check_counts(size=size, examples=examples, least_classes=least_classes)
    read = _reader(size, colour, ink)
    folder = _existing_folder(path)
    folders = class_folders(folder)
    if not folders:
        raise ValueError(f"{folder} has no class; {LAYOUT}")
    if len(folders) < least_classes:
        alone = f"only the class {folders[0].name!r}" if len(folders) == 1 else f"only {len(folders)} classes"
        raise ValueError(f"{folder} has {alone}, and at least {least_classes} are needed; {LAYOUT}")
    files = [picture_files(one) for one in folders]
    for one, own in zip(folders, files, strict=True):
        if not own:
            raise ValueError(f"{one} holds no picture; put some PNG or JPEG files into it, or remove it")
        if len(own) < examples:
            raise ValueError(
                f"the class {one.name!r} in {folder} has {len(own)} {'picture' if len(own) == 1 else 'pictures'}, and "
                f"{examples} are needed; add {examples - len(own)}, or ask for fewer"
            )
    with tqdm(total=sum(map(len, files)), disable=not progress, delay=3, unit="picture", desc="reading") as bar:
        classes = []
        for own in files:
            classes.append(torch.stack([read(file) for file in own]))
            bar.update(len(own))
    return PicturesByClass(classes, [one.name for one in folders], files)


def load_pictures(path: str | Path, size: int = 28, *, colour: bool = False, ink: bool = False) -> Pictures:
    """Load a folder that holds pictures, PNG or JPEG, of any size, without classes; sorted by name.

    Args:
        path: the folder.
        size: see ``load_folder``, and so are the others.
        colour: see there.
        ink: see there.

    Raises:
        FileNotFoundError: there is no such folder.
        NotADirectoryError: it is a file.
        ValueError: there is no picture in it; else as by ``load_folder``.
    """
    check_counts(size=size)
    read = _reader(size, colour, ink)
    folder = _existing_folder(path)
    files = picture_files(folder)
    if not files:
        raise ValueError(f"{folder} holds no picture; put some PNG or JPEG files into it")
    return Pictures(torch.stack([read(file) for file in files]), files)


def class_folders(folder: Path) -> list[Path]:
    """Return the folders of the classes in a folder, sorted by name.

    Raises:
        ValueError: there are pictures beside them.
    """
    inside = sorted(path for path in folder.iterdir() if not is_ignored(path))
    for path in inside:
        if path.is_file() and path.suffix.lower() in SUFFIXES:
            raise ValueError(f"{path} lies beside the folders of the classes; move it into the folder of its class")
    return [path for path in inside if path.is_dir()]


def _existing_folder(path: str | Path) -> Path:
    """Return a folder, if it is one."""
    folder = Path(path).expanduser()
    if not folder.exists():
        raise FileNotFoundError(f"the folder {folder} does not exist; {LAYOUT}")
    if not folder.is_dir():
        unpack = "unpack it, and name the folder" if folder.suffix.lower() == ".zip" else "name a folder"
        raise NotADirectoryError(f"{folder} is a file; {unpack}")
    return folder


def _reader(size: int, colour: bool, ink: bool) -> Callable[[Path], Tensor]:
    """Return the function that reads a picture."""
    if not ink:
        return lambda file: read_picture(file, colour=colour, size=size)
    if colour or size != 28:
        raise ValueError(
            f"ink=True makes grey pictures of 28 x 28 pixels, not "
            f"{'coloured ones' if colour else f'{size} x {size}'}; leave it out, or leave out the others"
        )

    def read(file: Path) -> Tensor:
        try:
            return ink_like_mnist(read_picture(file))
        except ValueError as error:
            raise ValueError(str(error) if str(file) in str(error) else f"{file}: {error}") from error

    return read
