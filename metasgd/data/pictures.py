"""Single picture files, PNG or JPEG, as tensors: turned upright, on white, grey or coloured, of any size."""

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from metasgd._core.checks import check_counts

__all__ = ["read_picture"]

SUFFIXES = (".png", ".jpg", ".jpeg")
FORMATS = ("PNG", "JPEG")  # to which belongs MPO, a JPEG with further pictures behind the first, of many telephones
# What an operating system leaves in folders, besides what begins with a dot.
LEFT_BY_SYSTEMS = frozenset({"thumbs.db", "desktop.ini", "__macosx"})
HEIC = (
    "; on an iPhone, Settings > Camera > Formats > Most Compatible makes the camera write JPEG, and sharing a picture "
    "by e-mail turns it into one"
)
# What Pillow raises for files that are not what their first bytes promise, besides OSError.
DAMAGE = (OSError, SyntaxError, ValueError, EOFError, IndexError, KeyError, TypeError, struct.error, zlib.error)


def read_picture(file: str | Path | BinaryIO, *, colour: bool = False, size: int | None = None) -> Tensor:
    """Read a picture, upright and on white.

    A photograph is turned as its camera says (EXIF). What is transparent becomes white. Of 16 bits a pixel, the upper
    8 are kept. Grey is the luminance, ``0.299 R + 0.587 G + 0.114 B``.

    Args:
        file: a PNG or JPEG: its path, or an open binary file, such as ``io.BytesIO(content)``.
        colour: three channels, red, green and blue, whatever the file has; else one grey one.
        size: the height and width of the result in pixels. The shorter side is scaled to it (bilinear, with
            antialiasing), and what the longer side has more is cut off on both ends, as torchvision's ``Resize(size)``
            and ``CenterCrop(size)`` do. None: as the file is.

    Returns:
        uint8 of shape (height, width), or (3, height, width) with ``colour``.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a file that is no PNG or JPEG, is damaged or not whole, or has more than 178 million pixels; a
            ``size`` below 1.
    """
    if size is not None:
        check_counts(size=size)
    name, content = _content(file)
    try:
        with warnings.catch_warnings():
            # Pillow warns of pictures with more than 89 million pixels, which cameras of telephones have.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
                opened.load()
                picture = _without_transparency(ImageOps.exif_transpose(opened), "RGB" if colour else "L")
    except UnidentifiedImageError as error:
        raise ValueError(
            f"{name} is no PNG or JPEG, or its beginning is damaged; convert it, or leave it out{_heic(content)}"
        ) from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name} has too many pixels ({error}); make it smaller") from error
    except DAMAGE as error:
        raise ValueError(f"{name} is damaged or not whole ({error}); copy it again, or leave it out") from error
    if size is not None:
        picture = _resized(picture, size)
    pixels = torch.from_numpy(np.array(picture))
    return pixels.movedim(2, 0).contiguous() if colour else pixels


def _content(file: str | Path | BinaryIO) -> tuple[str, bytes]:
    """Return the name of a file, for messages, and its content."""
    if isinstance(file, (str, Path)):
        path = Path(file).expanduser()
        if not path.is_file():
            raise FileNotFoundError(f"{path} is {'a folder' if path.is_dir() else 'missing'}; name a PNG or JPEG file")
        name, content = str(path), path.read_bytes()
    elif hasattr(file, "read"):
        name, content = str(getattr(file, "name", "the file")), file.read()
    else:
        raise ValueError(f"file is {file!r}; it must be a path, or a binary file that is open")
    if not isinstance(content, bytes):
        raise ValueError(f"{name} was opened as text; open it as binary, by open(path, 'rb')")
    if not content:
        raise ValueError(f"{name} is empty; copy it again, or leave it out")
    return name, content


def _heic(content: bytes) -> str:
    """Return what to do about HEIC or HEIF, the format of iPhones, if that is what it is."""
    return HEIC if content[4:8] == b"ftyp" else ""


def _without_transparency(picture: Image.Image, mode: str) -> Image.Image:
    """Return a picture in grey ("L") or colours ("RGB"), with white where it is transparent."""
    if picture.mode.startswith("I"):  # 16 bits, or in older versions of Pillow 32, with values up to 65535
        pixels = np.asarray(picture).astype(np.int64)
        clear = picture.info.get("transparency")  # the value that stands for transparent, if there is one
        grey = np.where(pixels == clear, 255, pixels >> 8) if isinstance(clear, int) else pixels >> 8
        picture = Image.fromarray(grey.clip(0, 255).astype(np.uint8))
    elif "transparency" in picture.info or picture.mode in ("LA", "PA", "RGBA"):
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB").convert(mode)


def _resized(picture: Image.Image, size: int) -> Image.Image:
    """Scale the shorter side to a size and cut out the middle, as torchvision does."""
    short = min(picture.size)
    width, height = (int(size * side / short) for side in picture.size)
    picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (round((side - size) / 2) for side in (width, height))
    return picture.crop((left, top, left + size, top + size))


def picture_files(folder: Path) -> list[Path]:
    """Return the pictures of a folder, sorted by name; hidden files, and what systems leave in folders, are none.

    Raises:
        ValueError: there is something else in the folder.
    """
    files = sorted(path for path in folder.iterdir() if not is_ignored(path))
    for path in files:
        if path.is_dir():
            raise ValueError(
                f"{path} is a folder where pictures are expected; name the folder whose folders hold the pictures "
                "themselves, or move it out"
            )
        if path.suffix.lower() not in SUFFIXES:
            heic = HEIC if path.suffix.lower() in (".heic", ".heif") else ""
            raise ValueError(f"{path} is no PNG or JPEG; convert it, or move it out of the folder{heic}")
    return files


def is_ignored(path: Path) -> bool:
    """Say whether a file or folder is hidden, or one that systems leave behind, such as ``.DS_Store``."""
    return path.name.startswith(".") or path.name.lower() in LEFT_BY_SYSTEMS
