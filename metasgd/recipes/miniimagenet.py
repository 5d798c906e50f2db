"""Few-shot miniImageNet: 64 classes train and 20 others test, in colour, 84 x 84 pixels (chapter 12)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from metasgd.data import load_miniimagenet
from metasgd.data.parts import Parts
from metasgd.recipes.colour import ColourRecipe
from metasgd.recipes.images import QUERIES


@dataclass(frozen=True)
class MiniImageNetRecipe(ColourRecipe):
    """A run on miniImageNet, whose 100 classes of ImageNet are divided as by Ravi and Larochelle 2017 (chapter 12).

    The data are not in the package, and ImageNet's terms do not allow it to fetch them: ``load_miniimagenet`` says how
    the folder must look. Li et al. 2017 report 50.47 and 64.03% with 1 and 5 shots, 5-way, and 17.56 and 28.92%,
    20-way (``metasgd.experiments.published.MINIIMAGENET``). Of 20-way tasks there is no validation, so their run is
    ``--ways 20 --no-use-validation``. The other settings, and where they come from, are those of ``ColourRecipe``.
    """

    name = "miniimagenet"
    about = "few-shot miniImageNet: 64 classes train, 20 test, in colour (chapter 12)"
    example = "--ways 5 --shots 1 --data-root data"
    data_folder = "miniimagenet/, in which train/, val/ and test/ have a folder for each class"
    can_download = False
    size = 84

    def load_parts(self, parts: Sequence[str], root: str | Path | None = None, *, download: bool = False) -> Parts:
        """Return some parts of miniImageNet, after a check of all of them; see ``load_miniimagenet``.

        Raises:
            ValueError: ``download``, see above, or a part that does not fit; and so for other errors.
        """
        if download:
            raise ValueError(
                "miniImageNet cannot be downloaded by this program, as ImageNet's terms are to be accepted by you, at "
                "image-net.org; get the pictures, name their folder, and leave download out"
            )
        return load_miniimagenet(root, parts, size=self.size, examples=self.shots + max(self.train_queries, QUERIES))
