"""What the recipes of colour pictures share: their settings, and the parts into which the classes are divided."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from metasgd.data.parts import PARTS, Parts
from metasgd.meta_sgd import MetaSGD
from metasgd.recipes.images import QUERIES, ImageRecipe, method_or_first_order, reading_of_queries
from metasgd.recipes.recipe import setting
from metasgd.tasks import EpisodeSampler


@dataclass(frozen=True)
class ColourRecipe(ImageRecipe):
    """A run on a data set of colour pictures whose classes are divided into parts to train, validate and test.

    The settings are those of MAML's published program for miniImageNet (github.com/cbfinn/maml, of Finn, Abbeel and
    Levine 2017): 60,000 meta-updates of 4 tasks with 15 queries of each class, an outer rate of 0.001, 32 filters, and
    rates of 0.01 to start from. Differently from there, a task has one inner step instead of five, and the outer rate
    goes down along a cosine, as in all recipes. Nothing was tuned.

    The data are what ``load_parts`` returns: by part and by the name of a class, uint8 of shape (examples, 3, size,
    size).

    Raises:
        ValueError: a method that does not exist, more ways than there are classes in the test, or with
            ``use_validation`` in the validation.
    """

    colour = True
    like_mnist = False
    checkpoint_every = 500
    validate_every = 1000

    ways: int = setting(5, "classes in a task", least=1)
    shots: int = setting(1, "support examples of a class", least=1)
    method: str = method_or_first_order()
    width: int = setting(32, "filters of each convolution", least=1)
    inner_steps: int = setting(1, "gradient steps on a support set", least=1)
    iterations: int = setting(60_000, "meta-updates in all", least=1)
    meta_batch: int = setting(4, "tasks in a meta-update", least=1)
    train_queries: int = setting(15, "query examples of a class in meta-training", least=1)
    meta_lr: float = setting(1e-3, "beta, Adam's rate for theta", least=0)
    alpha_lr: float = setting(1e-3, "gamma, Adam's rate for alpha", least=0)
    task_lr: float = setting(0.01, "alpha at the start", least=0)
    use_validation: bool = setting(
        True, "choose the best iterate by tasks of the 16 classes for validation; must be off with more than 16 ways"
    )
    query_statistics: str = reading_of_queries()
    seed: int = setting(0, "of the network's start and of the training tasks", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ways > PARTS["test"]:
            raise ValueError(f"ways is {self.ways}; {self.name} has {PARTS['test']} classes in the test")
        if self.use_validation and self.ways > PARTS["val"]:
            raise ValueError(
                f"ways is {self.ways}, and {self.name} has {PARTS['val']} classes for validation; turn use_validation "
                "off (--no-use-validation), and the last iterate is kept"
            )

    # The tasks

    def load_parts(self, parts: Sequence[str], root: str | Path | None = None, *, download: bool = False) -> Parts:
        """Return some of the three parts of the data."""
        raise NotImplementedError

    def load_data(self, root: str | Path | None = None, *, download: bool = False) -> Parts:
        """Return what meta-training needs: the part to train, and that to validate if it is used."""
        return self.load_parts(["train", "val"] if self.use_validation else ["train"], root, download=download)

    def load_test_data(self, root: str | Path | None = None) -> Parts:
        """Return the part for the test alone."""
        return self.load_parts(["test"], root)

    def check_data(self, data: Parts, device: torch.device | str = "cpu") -> None:
        """Raise ``ValueError`` if a class has too few pictures for a task of the validation or the test."""
        for part, classes in data.items():
            for name, pictures in classes.items():
                if len(pictures) < self.shots + QUERIES:
                    raise ValueError(
                        f"{self.shots} shots and {QUERIES} queries need {self.shots + QUERIES} pictures of a class, "
                        f"but {name} of {part} has {len(pictures)}; lower shots"
                    )

    def training_tasks(
        self, data: Parts, device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> EpisodeSampler:
        """Return the tasks of meta-training."""
        return self._tasks(data, "train", self.train_queries, device)

    def validation_tasks(
        self, data: Parts, device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> EpisodeSampler | None:
        """Return tasks of the classes for validation (None: ``use_validation`` is off)."""
        return self._tasks(data, "val", QUERIES, device) if self.use_validation else None

    def test_tasks(
        self, data: Parts, device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> EpisodeSampler:
        """Return tasks of the classes for the test."""
        return self._tasks(data, "test", QUERIES, device)

    def _tasks(self, data: Parts, part: str, queries: int, device: torch.device | str) -> EpisodeSampler:
        """Return tasks of a part.

        Raises:
            ValueError: the data lack the part.
        """
        if part not in data:
            raise ValueError(
                f"the data have {', '.join(data) or 'no part'}, and {part} is needed; load_data returns what "
                "meta-training needs, and load_test_data what the test needs"
            )
        return EpisodeSampler(list(data[part].values()), self.ways, self.shots, queries, device=device)

    def describe_data(self, data: Parts | None) -> dict[str, Any]:
        """Return how many pictures meta-training was given."""
        return {} if data is None else {"images": sum(map(len, data["train"].values()))}
