"""Images by class: MNIST from torchvision's files or from the sample in the package, Omniglot, and your own folders.

Chapter 7 introduces MNIST's images by class, chapter 12 Omniglot, miniImageNet and CIFAR-FS.
"""

from metasgd.data.cifar_fs import CIFAR_FS_CLASSES, load_cifar_fs
from metasgd.data.folder import Pictures, PicturesByClass, load_folder, load_pictures
from metasgd.data.ink import ink_like_mnist
from metasgd.data.miniimagenet import load_miniimagenet
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
from metasgd.data.parts import PARTS
from metasgd.data.pictures import read_picture

__all__ = [
    "CIFAR_FS_CLASSES",
    "DRAWINGS",
    "MNIST_FILES",
    "OMNIGLOT_PARTS",
    "OMNIGLOT_SHA256",
    "PARTS",
    "SAMPLE",
    "SAMPLE_SHA256",
    "Pictures",
    "PicturesByClass",
    "ink_like_mnist",
    "load_cifar_fs",
    "load_folder",
    "load_miniimagenet",
    "load_mnist",
    "load_mnist_sample",
    "load_omniglot",
    "load_omniglot_strokes",
    "load_pictures",
    "pixels_sha256",
    "read_picture",
]
