"""Few-shot CIFAR-100: 64 classes train and 20 others test, in colour, 32 x 32 pixels (chapter 12)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metasgd.data import load_cifar_fs
from metasgd.data.parts import Parts
from metasgd.recipes.colour import ColourRecipe


@dataclass(frozen=True)
class CifarFsRecipe(ColourRecipe):
    """A run on CIFAR-FS, the classes of CIFAR-100 divided as by Bertinetto et al. 2019 (chapter 12).

    The data are not in the package; torchvision fetches them, 169 MB, if it is asked to. Li et al. 2017 are older than
    CIFAR-FS; Bertinetto et al. report 58.9 and 71.5% for MAML with 1 and 5 shots, 5-way
    (``metasgd.experiments.published.CIFAR_FS``). The settings are those of ``ColourRecipe``, which were made for
    miniImageNet.
    """

    name = "cifar-fs"
    about = "few-shot CIFAR-100 (CIFAR-FS): 64 classes train, 20 test, in colour (chapter 12)"
    example = "--ways 5 --shots 1 --data-root data --download"
    data_folder = "cifar-100-python/"
    size = 32

    def load_parts(self, parts: Sequence[str], root: str | Path | None = None, *, download: bool = False) -> Parts:
        """Return some parts of CIFAR-FS; see ``load_cifar_fs``."""
        return load_cifar_fs(root, parts, download=download)
