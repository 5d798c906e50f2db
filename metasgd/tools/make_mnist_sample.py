"""Make the sample of MNIST that the package contains, from the official files (chapter 7).

The sample has 1,000 images of each digit: the first 800 of the training split, and the first 200 of the test split.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from metasgd._core.files import PACKAGE
from metasgd.data import load_mnist, pixels_sha256

TRAIN_EXAMPLES, TEST_EXAMPLES = 800, 200  # of each digit
# The number of images of each digit in the test split.
OFFICIAL_TEST_COUNTS = (980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009)


def make_sample(root: str | Path) -> Tensor:
    """Return the sample, uint8 of shape (10, 1000, 28, 28).

    Args:
        root: the folder with the official files, see ``metasgd.data.load_mnist``.

    Raises:
        FileNotFoundError, ValueError: see ``metasgd.data.load_mnist``.
    """
    classes = load_mnist(root, quiet=True)  # of each digit: the images of the training split, then of the test split
    return torch.stack(
        [
            torch.cat([images[:TRAIN_EXAMPLES], images[-test_count:][:TEST_EXAMPLES]])
            for images, test_count in zip(classes, OFFICIAL_TEST_COUNTS, strict=True)
        ]
    )


def main(argv: Sequence[str] | None = None) -> None:
    """Write the sample to a file, and print the file's size and the checksum of the pixels."""
    parser = argparse.ArgumentParser(prog="python -m metasgd.tools.make_mnist_sample", description=__doc__)
    parser.add_argument("root", type=Path, metavar="FOLDER", help="the folder that contains MNIST/raw/")
    parser.add_argument(
        "--out", type=Path, default=PACKAGE / "assets" / "mnist_sample.npz", metavar="FILE",
        help="the file to write (default: that of the package)",
    )  # fmt: skip
    arguments = parser.parse_args(argv)
    sample = make_sample(arguments.root)
    np.savez_compressed(arguments.out, images=sample.numpy())
    size = arguments.out.stat().st_size
    print(f"{arguments.out}: {size:,} bytes, SHA-256 of the pixels {pixels_sha256(list(sample))}")


if __name__ == "__main__":
    main()
