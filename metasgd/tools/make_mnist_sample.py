"""Remake the embedded MNIST sample from the official files: ``python -m metasgd.tools.make_mnist_sample FOLDER``."""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from metasgd._core.files import PACKAGE
from metasgd.data import load_mnist, pixels_sha256

TRAIN_EXAMPLES, TEST_EXAMPLES = 800, 200
OFFICIAL_TEST_COUNTS = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)


def make_sample(root: str | Path) -> Tensor:
    """Return the sample, uint8 of shape (10, 1000, 28, 28), from a folder in torchvision's layout."""
    classes = load_mnist(root, quiet=True)  # every class: the training split, then the test split
    return torch.stack(
        [
            torch.cat([images[:TRAIN_EXAMPLES], images[-test_count:][:TEST_EXAMPLES]])
            for images, test_count in zip(classes, OFFICIAL_TEST_COUNTS, strict=True)
        ]
    )


def main() -> None:
    """Write ``metasgd/assets/mnist_sample.npz`` and print the checksum of its pixels."""
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    sample = make_sample(sys.argv[1])
    target = PACKAGE / "assets" / "mnist_sample.npz"
    np.savez_compressed(target, images=sample.numpy())
    print(f"{target}: {target.stat().st_size:,} bytes, pixels' SHA-256 {pixels_sha256(list(sample))}")


if __name__ == "__main__":
    main()
