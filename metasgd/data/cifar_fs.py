"""CIFAR-FS: the 100 classes of CIFAR-100, from torchvision's files, in three disjoint parts (chapter 12)."""

import hashlib
import os
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from metasgd._core.messages import logger
from metasgd.data.parts import PARTS, check_parts, in_numbers

if TYPE_CHECKING:
    from torchvision.datasets import CIFAR100

# The split of Bertinetto, Henriques, Torr and Vedaldi, "Meta-learning with differentiable closed-form solvers", 2019,
# by CIFAR-100's own names.
CIFAR_FS_CLASSES: dict[str, tuple[str, ...]] = {
    "train": (
        "apple", "aquarium_fish", "bear", "bee", "bottle", "bowl", "boy", "bridge", "bus", "can", "castle",
        "caterpillar", "chair", "clock", "cloud", "cockroach", "couch", "cup", "dinosaur", "dolphin", "elephant",
        "forest", "girl", "hamster", "house", "kangaroo", "keyboard", "lawn_mower", "lion", "lizard", "lobster",
        "mountain", "mouse", "mushroom", "oak_tree", "orange", "orchid", "palm_tree", "pear", "pine_tree", "plate",
        "porcupine", "possum", "rabbit", "raccoon", "ray", "road", "seal", "shrew", "skunk", "skyscraper", "snake",
        "spider", "squirrel", "streetcar", "sunflower", "tank", "tiger", "train", "trout", "tulip", "turtle",
        "willow_tree", "wolf",
    ),
    "val": (
        "beaver", "beetle", "butterfly", "camel", "cattle", "crab", "crocodile", "flatfish", "lamp", "maple_tree",
        "motorcycle", "otter", "sea", "shark", "television", "tractor",
    ),
    "test": (
        "baby", "bed", "bicycle", "chimpanzee", "fox", "leopard", "man", "pickup_truck", "plain", "poppy", "rocket",
        "rose", "snail", "sweet_pepper", "table", "telephone", "wardrobe", "whale", "woman", "worm",
    ),
}  # fmt: skip


def load_cifar_fs(
    root: str | Path | None = None,
    parts: Collection[str] = tuple(PARTS),
    *,
    download: bool = False,
    quiet: bool = False,
) -> dict[str, dict[str, Tensor]]:
    """Load CIFAR-FS: 600 colour pictures of 32 x 32 pixels of each of CIFAR-100's 100 classes (chapter 12).

    The classes are divided as by Bertinetto et al. 2019: 64 to meta-train, 16 to validate and 20 to test. All 60,000
    pictures take 184 MB of memory.

    Args:
        root: the folder that contains ``cifar-100-python/``, which is the layout of ``torchvision.datasets.CIFAR100``
            (None: the folder that the environment variable ``METASGD_DATA`` names).
        parts: which parts are returned, some of ``"train"``, ``"val"`` and ``"test"``.
        download: let torchvision download CIFAR-100 into the folder first, if it is not there.
        quiet: do not say which source was used; else it is a message, see ``metasgd.show_messages``.

    Returns:
        by part and by the name of a class, uint8 of shape (600, 3, 32, 32): CIFAR-100's 500 pictures for training,
        then its 100 for testing.

    Raises:
        FileNotFoundError: no folder is named, or a file is not in it.
        ValueError: a file is corrupt or could not be downloaded, or a part does not exist.
    """
    check_parts(parts)
    folder = root or os.environ.get("METASGD_DATA")
    if not folder:
        raise FileNotFoundError(
            "CIFAR-100, of which CIFAR-FS consists, is not part of the package, and no folder was named; pass "
            "root='data' (--data-root data), or set METASGD_DATA, and with download=True (--download) torchvision "
            "fetches it there"
        )
    halves = _both_halves(Path(folder).expanduser(), download)
    pictures = [(torch.from_numpy(half.data), np.asarray(half.targets)) for half in halves]
    found = {
        part: {name: _pictures_of(halves[0].class_to_idx[name], pictures) for name in CIFAR_FS_CLASSES[part]}
        for part in parts
    }
    if not quiet:
        logger.info(f"CIFAR-FS ({in_numbers(found)}), from {folder}")
    return found


def _pictures_of(label: int, halves: list[tuple[Tensor, np.ndarray]]) -> Tensor:
    """Return the pictures of a class, channels first, from pairs of pictures, channels last, and labels."""
    chosen = [pictures[torch.from_numpy(labels == label)] for pictures, labels in halves]
    return torch.cat(chosen).permute(0, 3, 1, 2).contiguous()


def _both_halves(root: Path, download: bool) -> "list[CIFAR100]":
    """Return CIFAR-100's pictures for training and for testing from a folder, after a check of its files."""
    from torchvision.datasets import CIFAR100  # slow to import

    if root.name == CIFAR100.base_folder:
        root = root.parent
    if download:
        try:
            CIFAR100(root, download=True)
        except (RuntimeError, OSError) as error:  # an archive that is not what was expected; no network, or no place
            raise ValueError(
                f"CIFAR-100 could not be downloaded into {root} ({error}); delete {root / CIFAR100.filename} if it is "
                f"there and try again, or get it from {CIFAR100.url} and unpack it in {root}"
            ) from error
    inside = root / CIFAR100.base_folder
    checksums = [*CIFAR100.train_list, *CIFAR100.test_list, [CIFAR100.meta["filename"], CIFAR100.meta["md5"]]]
    for name, expected in checksums:
        if not (inside / name).is_file():
            raise FileNotFoundError(
                f"{inside / name} is missing; pass download=True (--download) to fetch CIFAR-100 into {root}, or name "
                f"a folder that holds {CIFAR100.base_folder}/ with the files train, test and meta"
            )
        if (found := hashlib.md5((inside / name).read_bytes(), usedforsecurity=False).hexdigest()) != expected:
            raise ValueError(
                f"{inside / name} is corrupt: its MD5 is {found} instead of {expected}; delete it and download "
                "CIFAR-100 again"
            )
    return [CIFAR100(root, train=train) for train in (True, False)]
