"""Images by class: MNIST from torchvision's files or from the sample in the package, and Omniglot.

Chapter 7 introduces MNIST's images by class, chapter 12 Omniglot.
"""

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from importlib.resources import as_file, files
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metasgd._core.messages import logger
from metasgd.tasks.strokes import distance_fields

# The MD5 of each of the four uncompressed files. The tests check them against a full copy.
MNIST_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
SAMPLE = files("metasgd") / "assets" / "mnist_sample.npz"
# The SHA-256 of the sample's pixels, class by class, and not of the file, as different compressors write other files.
SAMPLE_SHA256 = "7a3281cf81b0a786f4aef0f587d2e4193906f5516e0527bdda765dea51499c29"

# The number of characters in each of Omniglot's two parts, in the order in which they are returned.
OMNIGLOT_PARTS = {"images_background": 964, "images_evaluation": 659}
DRAWINGS = 20  # drawings of each character, by 20 people
# The SHA-256 of the pixels of all characters, as ``load_omniglot`` returns them.
OMNIGLOT_SHA256 = "8167dffec9d3ee72541f00f4f120b260f19aebf40a2a4c142dfc5a700a187882"


def load_mnist(root: str | Path | None = None, *, download: bool = False, quiet: bool = False) -> list[Tensor]:
    """Load MNIST as one uint8 tensor of shape (examples, 28, 28) for each digit 0 to 9 (chapter 7).

    If no folder is named, neither by ``root`` nor by the environment variable ``METASGD_DATA``, these are the images
    of the embedded sample: for each digit the first 800 of the official training split, then the first 200 of the test
    split. If a folder is named, these are all 70,000 images, for each digit those of the training split first.

    Args:
        root: the folder that contains ``MNIST/raw/``, which is the layout of ``torchvision.datasets.MNIST``.
        download: let torchvision download the files into the folder first, if they are not there.
        quiet: do not say which source was used; else it is a message, see ``metasgd.show_messages``.

    Raises:
        FileNotFoundError: one of the four files is not in the folder.
        ValueError: a file is corrupt, or ``download`` is set but no folder is named.

    >>> digits = load_mnist(quiet=True)
    >>> len(digits), digits[3].shape[1:], digits[3].dtype
    (10, torch.Size([28, 28]), torch.uint8)
    """
    folder = root or os.environ.get("METASGD_DATA")
    if not folder:
        if download:
            raise ValueError("download=True needs a folder to download into; pass root='data'")
        source, classes = "the embedded sample", load_mnist_sample()
    else:
        source, classes = f"the files in {folder}", _load_mnist_folder(Path(folder).expanduser(), download)
    if not quiet:
        total = sum(map(len, classes))
        logger.info(f"MNIST: {total:,} images of {len(classes)} digits, from {source}")
    return classes


def pixels_sha256(classes: list[Tensor]) -> str:
    """Return the SHA-256, in hexadecimal, of the pixels of all images, class by class."""
    return hashlib.sha256(b"".join(images.numpy().tobytes() for images in classes)).hexdigest()


def load_mnist_sample() -> list[Tensor]:
    """Return the embedded sample of MNIST whatever folder is named, so that all readers have the same (chapter 12).

    Returns:
        One uint8 tensor of shape (1000, 28, 28) for each digit 0 to 9.
    """
    with as_file(SAMPLE) as path, np.load(path, allow_pickle=False) as archive:
        images = torch.from_numpy(archive["images"])
    return list(images)


def _load_mnist_folder(root: Path, download: bool) -> list[Tensor]:
    """Return all images of MNIST by digit from a folder, after a check of its files; see ``load_mnist``."""
    from torchvision.datasets import MNIST  # slow to import, and not needed for the embedded sample

    if download:
        MNIST(root, train=True, download=True)
    raw = root / "MNIST" / "raw"
    for name, expected in MNIST_FILES.items():
        if not (raw / name).is_file():
            raise FileNotFoundError(
                f"{raw / name} is missing; pass download=True to fetch MNIST into {root}, name a folder that "
                "holds MNIST/raw/, or name no folder to use the embedded sample"
            )
        if (found := hashlib.md5((raw / name).read_bytes(), usedforsecurity=False).hexdigest()) != expected:
            raise ValueError(
                f"{raw / name} is corrupt: its MD5 is {found} instead of {expected}; delete it and download it again"
            )
    splits = [MNIST(root, train=train) for train in (True, False)]
    images = torch.cat([split.data for split in splits])
    labels = torch.cat([split.targets for split in splits])
    return [images[labels == digit] for digit in range(10)]


def load_omniglot(root: str | Path | None = None, *, download: bool = False, quiet: bool = False) -> Tensor:
    """Load Omniglot: 20 drawings of each of 1,623 characters, in bright ink on black as in MNIST (chapter 12).

    The drawings have 105 x 105 pixels, and are shrunk to 28 x 28 by averaging areas. This takes some seconds, so the
    result is kept in the user's cache folder (``$XDG_CACHE_HOME/metasgd``, or ``~/.cache/metasgd``).

    Args:
        root: the folder that contains ``omniglot-py/`` (torchvision's layout) or ``omniglot/``, in which
            ``images_background`` and ``images_evaluation`` are, as folders or as zip files (None: the folder that the
            environment variable ``METASGD_DATA`` names).
        download: let torchvision download Omniglot into the folder first, if it is not there.
        quiet: do not say which source was used; else it is a message, see ``metasgd.show_messages``.

    Returns:
        uint8 of shape (1623, 20, 28, 28): the background set, then the evaluation set, each sorted by name.

    Raises:
        FileNotFoundError: no folder is named, or one of the two parts is not in it.
        ValueError: a part is damaged or not complete.
    """
    return _omniglot(root, download, quiet, "pictures", _shrink)


def load_omniglot_strokes(root: str | Path | None = None, *, download: bool = False, quiet: bool = False) -> Tensor:
    """Load Omniglot as distance fields, which ``metasgd.tasks.Ink`` draws with any pen (chapter 12).

    This takes about a minute the first time; the result is kept in the user's cache folder.

    Args:
        root: see ``load_omniglot``.
        download: see ``load_omniglot``.
        quiet: see ``load_omniglot``.

    Returns:
        uint8 of shape (1623, 20, 28, 28), in the order of ``load_omniglot``, with the values that
        ``metasgd.tasks.distance_fields`` returns.

    Raises:
        FileNotFoundError: see ``load_omniglot``.
        ValueError: see ``load_omniglot``.
    """
    return _omniglot(root, download, quiet, "strokes", distance_fields)


class _Part(NamedTuple):
    """One of Omniglot's two parts: a folder or a zip file, and the sorted paths of the drawings in it."""

    source: Path
    names: list[str]


def _omniglot(
    root: str | Path | None, download: bool, quiet: bool, kind: str, convert: Callable[[Tensor], Tensor]
) -> Tensor:
    """Return Omniglot in one form, from the cache if it is there, and say which source was used.

    Args:
        root: see ``load_omniglot``.
        download: see ``load_omniglot``.
        quiet: see ``load_omniglot``.
        kind: the name of the form, part of the file's name in the cache.
        convert: turns the drawings of a character, see ``_drawings``, into uint8 of shape (20, 28, 28).
    """
    root = root or os.environ.get("METASGD_DATA")
    if not root:
        raise FileNotFoundError(
            "Omniglot is not part of the package, and no folder was named; pass root='data', or set METASGD_DATA, and "
            "with download=True torchvision fetches it there"
        )
    root = Path(root).expanduser()
    if download:
        from torchvision.datasets import Omniglot  # slow to import

        for background in (True, False):
            Omniglot(root, background=background, download=True)
    parts = [_find_part(root, part, characters) for part, characters in OMNIGLOT_PARTS.items()]
    characters = sum(OMNIGLOT_PARTS.values())
    listing = "\n".join(f"{part.source.resolve()} {part.source.stat().st_mtime_ns}" for part in parts)
    cache = _cache_folder() / f"omniglot-{kind}-{hashlib.sha256(listing.encode()).hexdigest()[:16]}.npz"
    images = _read_cache(cache, (characters, DRAWINGS, 28, 28))
    if images is None:
        images = torch.stack([convert(drawings) for part in parts for drawings in _drawings(part)])
        _write_cache(cache, images)
    if not quiet:
        logger.info(f"Omniglot: {DRAWINGS * characters:,} drawings of {characters:,} characters, from {root}")
    return images


def _find_part(root: Path, part: str, characters: int) -> _Part:
    """Return a part of Omniglot from the first place where it is, after a check that it is complete."""
    for folder in (root / "omniglot-py", root / "omniglot", root):
        source, names = folder / part, []
        if source.is_dir():
            names = sorted(path.relative_to(folder).as_posix() for path in source.rglob("*.png"))
        elif (source := folder / f"{part}.zip").is_file():
            try:
                with zipfile.ZipFile(source) as archive:
                    names = sorted(name for name in archive.namelist() if name.endswith(".png"))
            except zipfile.BadZipFile as error:
                raise ValueError(f"{source} is damaged ({error}); delete it and download it again") from error
        else:
            continue
        # The end of each path is alphabet/character/drawing.
        if len(names) != characters * DRAWINGS or len({name.rsplit("/", 1)[0] for name in names}) != characters:
            raise ValueError(
                f"{source} has {len(names)} drawings instead of {characters * DRAWINGS}, {DRAWINGS} of each of "
                f"{characters} characters; delete it and download it again"
            )
        return _Part(source, names)
    raise FileNotFoundError(
        f"{root} holds neither omniglot-py/{part} nor omniglot/{part}, as a folder or as a zip file; pass "
        f"download=True to fetch Omniglot into {root}, or name a folder that has it"
    )


def _drawings(part: _Part) -> Iterator[Tensor]:
    """Yield the drawings of one character after the other: uint8 of shape (20, 105, 105), 1 where there is ink."""
    from PIL import Image

    archive = None if part.source.is_dir() else zipfile.ZipFile(part.source)
    for start in range(0, len(part.names), DRAWINGS):
        pictures = []
        for name in part.names[start : start + DRAWINGS]:
            content = archive.read(name) if archive else (part.source.parent / name).read_bytes()
            with Image.open(io.BytesIO(content)) as picture:
                pictures.append(np.asarray(picture.convert("1")) == 0)  # black ink on white paper
        yield torch.from_numpy(np.stack(pictures).astype(np.uint8))
    if archive:
        archive.close()


def _shrink(drawings: Tensor) -> Tensor:
    """Shrink drawings to 28 x 28 pixels by averaging areas, in integers.

    A new pixel covers side / 28 old pixels in each direction. If a side is divided into 28 * side pieces, an old pixel
    consists of 28 of them and a new one of ``side``. So all weights are integers, and every machine rounds alike.

    Args:
        drawings: (pictures, side, side), 1 where there is ink, else 0.

    Returns:
        uint8 of shape (pictures, 28, 28): 255 times the fraction of the area that is ink.
    """
    side = drawings.shape[-1]
    pieces = torch.arange(28 * side)
    weights = torch.zeros(28, side, dtype=torch.int64).index_put_(
        (pieces // side, pieces // 28), torch.ones_like(pieces), accumulate=True
    )
    area = side * side
    return ((255 * (weights @ drawings.long() @ weights.T) + area // 2) // area).to(torch.uint8)


def _cache_folder() -> Path:
    """Return the user's cache folder of this package."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "metasgd"


def _read_cache(file: Path, shape: tuple[int, ...]) -> Tensor | None:
    """Return the images of a file in the cache (None: it does not exist, is damaged, or has another shape)."""
    try:
        with np.load(file, allow_pickle=False) as archive:
            images = torch.from_numpy(archive["images"])
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None
    return images if images.shape == shape and images.dtype == torch.uint8 else None


def _write_cache(file: Path, images: Tensor) -> None:
    """Write images to a file in the cache in one atomic step; if that fails, say so and go on."""
    partial = file.with_suffix(f".{os.getpid()}.partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as stream:
            np.savez_compressed(stream, images=images.numpy())
        os.replace(partial, file)
    except OSError as error:
        logger.warning(f"Omniglot cannot be kept in {file.parent} ({error.strerror}), and is prepared again next time")
