"""Omniglot, from torchvision's files: as pictures, and as strokes (chapter 12)."""

import hashlib
import io
import os
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from metasgd._core.messages import logger
from metasgd.tasks.strokes import distance_fields

# The number of characters in each of Omniglot's two parts, in the order in which they are returned.
OMNIGLOT_PARTS = {"images_background": 964, "images_evaluation": 659}
DRAWINGS = 20  # drawings of each character, by 20 people
# The SHA-256 of the pixels of all characters, as ``load_omniglot`` returns them.
OMNIGLOT_SHA256 = "8167dffec9d3ee72541f00f4f120b260f19aebf40a2a4c142dfc5a700a187882"


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
