"""MNIST by digit, from torchvision's files or from the sample in the package (chapter 7)."""

import hashlib
import os
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from metasgd._core.messages import logger

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
