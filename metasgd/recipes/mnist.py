"""Few-shot MNIST: five digits train and the other five test (chapter 8)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metasgd.data import load_mnist
from metasgd.meta_sgd import MetaSGD
from metasgd.recipes.images import QUERIES, ImageRecipe, method_or_first_order, reading_of_queries
from metasgd.recipes.recipe import setting
from metasgd.tasks import Augment, EpisodeSampler, composites, fold_digits, orientations


@dataclass(frozen=True)
class MnistRecipe(ImageRecipe):
    """A run on one fold of MNIST: its digits are meta-trained on, the others are held out for the test (chapter 8).

    The data are ten uint8 tensors of shape (examples, 28, 28), one for each digit, as ``load_mnist`` returns them.

    Raises:
        ValueError: a fold or a method that does not exist, or validation digits that the fold holds out.
    """

    name = "mnist"
    about = "few-shot MNIST: five digits train, the other five test (chapter 8)"
    example = "--fold 1 --shots 1"
    data_folder = "MNIST/raw/; without a folder, the sample in the package is used"

    fold: int = setting(0, "fold k holds out the digits 2k, ..., 2k + 4, modulo 10, for the test")
    ways: int = setting(5, "classes in a task", least=1)
    shots: int = setting(1, "support examples of a class", least=1)
    method: str = method_or_first_order()
    width: int = setting(32, "filters of each convolution", least=1)
    inner_steps: int = setting(1, "gradient steps on a support set", least=1)
    iterations: int = setting(700, "meta-updates in all", least=1)
    meta_batch: int = setting(4, "tasks in a meta-update", least=1)
    train_queries: int = setting(5, "query examples of a class in meta-training", least=1)
    meta_lr: float = setting(2e-3, "beta, Adam's rate for theta", least=0)
    alpha_lr: float = setting(2e-3, "gamma, Adam's rate for alpha", least=0)
    task_lr: float = setting(0.1, "alpha at the start", least=0)
    use_orientations: bool = setting(True, "turn digits by quarter turns into new classes")
    num_composites: int = setting(100, "new classes, each made of the halves of two others", least=0)
    augment: bool = setting(True, "change every picture of meta-training at random")
    validation_digits: tuple[int, ...] = setting(
        (), "meta-training digits that are left out of training, and whose tasks choose the best iterate"
    )
    query_statistics: str = reading_of_queries()
    seed: int = setting(0, "of the network's start and of the training tasks", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if stray := set(self.validation_digits) - set(self.training_digits):
            raise ValueError(
                f"validation digits {sorted(stray)} are not meta-training digits of fold {self.fold}; choose among "
                f"{self.training_digits}"
            )

    @property
    def training_digits(self) -> tuple[int, ...]:
        """The five digits of meta-training, validation digits included."""
        return fold_digits(self.fold)[0]

    def load_data(self, root: str | Path | None = None, *, download: bool = False) -> list[Tensor]:
        """Return MNIST by class, as ``load_mnist`` does; without a folder, the sample in the package."""
        return load_mnist(root, download=download)

    def check_data(self, data: Sequence[Tensor], device: torch.device | str = "cpu") -> None:
        """Raise ``ValueError`` if test tasks cannot be drawn."""
        self.test_tasks(data, device)

    def training_classes(self, images: Sequence[Tensor]) -> list[Tensor]:
        """Return the classes of meta-training: the fold's digits, their quarter turns, and composites of these."""
        digits = [digit for digit in self.training_digits if digit not in self.validation_digits]
        classes = orientations(images, digits) if self.use_orientations else [images[digit] for digit in digits]
        return classes + composites(classes, self.num_composites, seed=self.seed)

    def training_tasks(
        self, data: Sequence[Tensor], device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> EpisodeSampler:
        """Return the tasks of meta-training."""
        return EpisodeSampler(
            self.training_classes(data),
            self.ways,
            self.shots,
            self.train_queries,
            device=device,
            augment=Augment() if self.augment else None,
        )

    def validation_tasks(
        self, data: Sequence[Tensor], device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> EpisodeSampler | None:
        """Return tasks of the validation digits in their orientations, not augmented (None: there are none)."""
        if not self.validation_digits:
            return None
        return self._tasks(orientations(data, self.validation_digits), device)

    def test_tasks(
        self, data: Sequence[Tensor], device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> EpisodeSampler:
        """Return tasks of the held-out digits, upright and not augmented."""
        return self._tasks([data[digit] for digit in fold_digits(self.fold)[1]], device)

    def own_digits_tasks(self, images: Sequence[Tensor], device: torch.device | str = "cpu") -> EpisodeSampler:
        """Return tasks of the digits of meta-training, upright and not augmented: how well a run knows its own."""
        return self._tasks([images[digit] for digit in self.training_digits], device)

    def _tasks(self, classes: Sequence[Tensor], device: torch.device | str) -> EpisodeSampler:
        return EpisodeSampler(classes, self.ways, self.shots, QUERIES, device=device)

    def describe_data(self, data: Sequence[Tensor] | None) -> dict[str, Any]:
        """Return how many images the run was given."""
        return {} if data is None else {"images": sum(map(len, data))}
