"""Images by class: MNIST from torchvision's files, or the sample that ships with the package (chapter 7)."""

import hashlib
import os
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

# MD5 of the four uncompressed files, as published with MNIST and checked by the tests against a full copy.
MNIST_FILES = {
    "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
    "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
    "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
    "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
}
SAMPLE = files("metasgd.assets") / "mnist_sample.npz"
# SHA-256 of the sample's pixels, class by class (not of the file: compressors differ).
SAMPLE_SHA256 = "7a3281cf81b0a786f4aef0f587d2e4193906f5516e0527bdda765dea51499c29"


def load_mnist(root: str | Path | None = None, *, download: bool = False, quiet: bool = False) -> list[Tensor]:
    """Load MNIST as one uint8 tensor of shape (examples, 28, 28) for each digit 0 to 9 (chapter 7).

    Without a folder (neither ``root`` nor the environment variable ``METASGD_DATA``) the embedded sample is used:
    1,000 images a digit, the first 800 of the official training split, then the first 200 of the test split. With a
    folder in ``torchvision.datasets.MNIST``'s layout, all 70,000 images are used, training split first.

    Args:
        root: the folder that holds ``MNIST/raw/``.
        download: let torchvision download the files into the folder first, if they are not there.
        quiet: do not print which source was used.

    Raises:
        FileNotFoundError: the folder lacks one of the four files.
        ValueError: a file is corrupt, or ``download`` without a folder.

    >>> digits = load_mnist(quiet=True)
    >>> len(digits), digits[3].shape[1:], digits[3].dtype
    (10, torch.Size([28, 28]), torch.uint8)
    """
    folder = root or os.environ.get("METASGD_DATA")
    if not folder:
        if download:
            raise ValueError("download=True needs a folder to download into; pass root='data'")
        source, classes = f"the embedded sample of {SAMPLE.name}", _load_sample()
    else:
        source, classes = f"the files in {folder}", _load_folder(Path(folder).expanduser(), download)
    if not quiet:
        total = sum(map(len, classes))
        print(f"MNIST: {total:,} images of {len(classes)} digits, from {source}")
    return classes


def pixels_sha256(classes: list[Tensor]) -> str:
    """Return the SHA-256 of all pixels, class by class."""
    return hashlib.sha256(b"".join(images.numpy().tobytes() for images in classes)).hexdigest()


def _load_sample() -> list[Tensor]:
    with as_file(SAMPLE) as path, np.load(path, allow_pickle=False) as archive:
        images = torch.from_numpy(archive["images"])
    return list(images)


def _load_folder(root: Path, download: bool) -> list[Tensor]:
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
