"""Images by class: MNIST from torchvision's files or from the sample in the package, Omniglot, and your own folders.

Chapter 7 introduces MNIST's images by class, chapter 12 Omniglot.
"""

from metasgd.data.folder import Pictures, PicturesByClass, load_folder, load_pictures
from metasgd.data.ink import ink_like_mnist
from metasgd.data.mnist import (
    MNIST_FILES,
    SAMPLE,
    SAMPLE_SHA256,
    load_mnist,
    load_mnist_sample,
    pixels_sha256,
)
from metasgd.data.omniglot import (
    DRAWINGS,
    OMNIGLOT_PARTS,
    OMNIGLOT_SHA256,
    load_omniglot,
    load_omniglot_strokes,
)
from metasgd.data.pictures import read_picture

__all__ = [
    "DRAWINGS",
    "MNIST_FILES",
    "OMNIGLOT_PARTS",
    "OMNIGLOT_SHA256",
    "SAMPLE",
    "SAMPLE_SHA256",
    "Pictures",
    "PicturesByClass",
    "ink_like_mnist",
    "load_folder",
    "load_mnist",
    "load_mnist_sample",
    "load_omniglot",
    "load_omniglot_strokes",
    "load_pictures",
    "pixels_sha256",
    "read_picture",
]
