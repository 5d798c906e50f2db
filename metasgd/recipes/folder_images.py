"""Few-shot classification of pictures of one's own: a folder for each class."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metasgd.data import PicturesByClass, load_folder
from metasgd.meta_sgd import MetaSGD
from metasgd.recipes.images import QUERIES, ImageRecipe, reading_of_queries
from metasgd.recipes.recipe import METHODS, setting
from metasgd.tasks import Augment, EpisodeSampler

PARTS = ("training", "validation", "test")


class Split(NamedTuple):
    """Which classes serve for what: their names, sorted."""

    training: list[str]
    validation: list[str]
    test: list[str]


@dataclass(frozen=True)
class FolderRecipe(ImageRecipe):
    """A run on pictures of one's own, of which some classes meta-train, and others are left out for the test.

    The data are ``PicturesByClass``, as ``metasgd.data.load_folder`` returns them. Which class serves for what depends
    on the names of all classes, on ``split_seed`` and on nothing else. A checkpoint holds the names, and a folder that
    would be split otherwise, since a class was added, say, is neither trained on further nor tested on.

    Raises:
        ValueError: a method that does not exist; fewer classes for validation or test than a task has; ``ink`` in
            colour or of another size than 28.
    """

    name = "images"
    about = "few-shot classification of your own pictures, a folder for each class"
    example = "--data pictures --ways 5 --shots 1"
    data_folder = "a folder of pictures for each class, PNG or JPEG"
    own_data = True
    like_mnist = False

    size: int = setting(28, "height and width to which pictures are scaled, in pixels", least=16)
    colour: bool = setting(False, "pictures have three channels; else one grey one")
    ink: bool = setting(False, "pictures are drawings on paper or a board, and are made like MNIST's digits")
    ways: int = setting(5, "classes in a task", least=2)
    shots: int = setting(1, "support examples of a class", least=1)
    method: str = setting("meta-sgd", "what is trained: maml holds alpha at task_lr", choices=METHODS)
    width: int = setting(32, "filters of each convolution", least=1)
    inner_steps: int = setting(1, "gradient steps on a support set", least=1)
    iterations: int = setting(3000, "meta-updates in all", least=1)
    meta_batch: int = setting(4, "tasks in a meta-update", least=1)
    train_queries: int = setting(5, "query examples of a class in meta-training", least=1)
    queries: int = setting(QUERIES, "query examples of a class in validation and test", least=1)
    meta_lr: float = setting(2e-3, "beta, Adam's rate for theta", least=0)
    alpha_lr: float = setting(2e-3, "gamma, Adam's rate for alpha", least=0)
    task_lr: float = setting(0.1, "alpha at the start", least=0)
    test_classes: int | None = setting(
        None, "classes that are left out for the test (none: a fifth of them, and at least as many as ways)", least=0
    )
    validation_classes: int = setting(
        0, "classes that are left out of training, and whose tasks choose the best iterate", least=0
    )
    split_seed: int = setting(0, "of the choice of the classes for training, validation and test", least=0)
    quarter_turns: bool = setting(False, "turn classes of meta-training by quarter turns into new classes")
    augment: bool = setting(True, "change every picture of meta-training at random")
    query_statistics: str = reading_of_queries()
    seed: int = setting(0, "of the network's start and of the training tasks", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, allowed in (("test_classes", (None,)), ("validation_classes", (0,))):
            value = getattr(self, name)
            if value not in allowed and value < self.ways:
                raise ValueError(
                    f"{name} is {value}, and a task has {self.ways} classes; make it {self.ways} or more, or "
                    f"{str(allowed[0]).lower()}"
                )
        if self.ink and (self.colour or self.size != 28):
            raise ValueError(
                f"ink makes grey pictures of 28 x 28 pixels, and "
                f"{'colour is on' if self.colour else f'size is {self.size}'}; leave one of the two out"
            )

    # The tasks

    def load_data(self, root: str | Path | None = None, *, download: bool = False) -> PicturesByClass:
        """Load the folder; see ``metasgd.data.load_folder``, also for what is refused.

        Raises:
            ValueError: no folder is named, or ``download``, as nothing can be downloaded.
        """
        super().load_data(download=download)
        if root is None:
            raise ValueError(
                f"the recipe {self.name} is for pictures of your own; name their folder by --data FOLDER, or, in "
                "Python, by load_data(folder)"
            )
        return load_folder(
            root, self.size, colour=self.colour, ink=self.ink, least_classes=2 * self.ways, progress=True
        )

    def split_classes(self, names: Sequence[str]) -> Split:
        """Return which classes serve for what: the same for the same names, in whatever order they come.

        >>> recipe = FolderRecipe(ways=2)
        >>> recipe.split_classes(["cat", "dog", "emu", "fox", "gnu", "hen"]).test
        ['dog', 'gnu']

        Raises:
            ValueError: too few classes for tasks of ``ways`` classes.
        """
        ordered = sorted(names)
        test = max(self.ways, len(ordered) // 5) if self.test_classes is None else self.test_classes
        training = len(ordered) - test - self.validation_classes
        if training < self.ways:
            raise ValueError(
                f"of {len(ordered)} classes, {test} are left out for the test and {self.validation_classes} for "
                f"validation, and {max(training, 0)} remain for meta-training, whose tasks have {self.ways}; add "
                "classes, or lower ways, test_classes or validation_classes"
            )
        generator = torch.Generator().manual_seed(self.split_seed)
        order = [ordered[place] for place in torch.randperm(len(ordered), generator=generator, device="cpu").tolist()]
        parts = order[:training], order[training : training + self.validation_classes], order[len(ordered) - test :]
        return Split(*map(sorted, parts))

    def tasks_of(
        self, data: PicturesByClass, part: str, queries: int, device: torch.device | str = "cpu"
    ) -> EpisodeSampler:
        """Return tasks of the classes of one part; ``"training"`` has them turned and augmented, if settings say so.

        Args:
            data: the pictures.
            part: one of ``PARTS``.
            queries: query examples of each class.
            device: where tasks are drawn.

        Raises:
            ValueError: a class with too few pictures.
        """
        names = getattr(self.split_classes(data.names), part)
        by_name = dict(zip(data.names, data.classes, strict=True))
        for name in names:
            if len(by_name[name]) < self.shots + queries:
                setting_of_queries = "train_queries" if part == "training" else "queries"
                raise ValueError(
                    f"the class {name!r}, of the {part} classes, has {len(by_name[name])} pictures, and {self.shots} "
                    f"shots and {queries} queries need {self.shots + queries}; add some, or lower shots or "
                    f"{setting_of_queries}"
                )
        classes: list[Tensor] = [by_name[name] for name in names]
        augment = None
        if part == "training":
            turns = range(4 if self.quarter_turns else 1)
            classes = [torch.rot90(pictures, turn, dims=(-2, -1)) for turn in turns for pictures in classes]
            if self.augment:
                augment = Augment(thickness=0) if self.colour else Augment()
        return EpisodeSampler(classes, self.ways, self.shots, queries, device=device, augment=augment)

    def check_data(self, data: PicturesByClass, device: torch.device | str = "cpu") -> None:
        """Raise ``ValueError`` if there are too few classes, or too few pictures of one, for any of the parts."""
        self.test_tasks(data, device)
        self.validation_tasks(data, device)

    def training_tasks(
        self, data: PicturesByClass, device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> EpisodeSampler:
        """Return the tasks of meta-training."""
        return self.tasks_of(data, "training", self.train_queries, device)

    def validation_tasks(
        self, data: PicturesByClass, device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> EpisodeSampler | None:
        """Return tasks of the validation classes, as they are (None: there are none)."""
        return self.tasks_of(data, "validation", self.queries, device) if self.validation_classes else None

    def test_tasks(
        self, data: PicturesByClass, device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> EpisodeSampler:
        """Return tasks of the classes that are left out for the test, as they are."""
        return self.tasks_of(data, "test", self.queries, device)

    # What a checkpoint stores

    def describe_data(self, data: PicturesByClass | None) -> dict[str, Any]:
        """Return the names of the classes of each part, and the number of pictures."""
        if data is None:
            return {}
        return {"classes": self.split_classes(data.names)._asdict(), "images": sum(map(len, data.classes))}

    def check_same_data(self, data: PicturesByClass, config: Mapping[str, Any]) -> None:
        """Refuse a folder whose classes are not those of a run: a test might be on classes of its meta-training.

        Raises:
            ValueError: a class was added, is missing or has another name.
        """
        stored = config.get("classes", {})
        then = {plain(name) for part in PARTS for name in stored.get(part, [])}
        now = {plain(name) for name in data.names}
        changes = [
            f"{some_of(names)} {what}"
            for names, what in ((now - then, "new"), (then - now, "missing"))
            if names
        ]  # fmt: skip
        if changes:
            raise ValueError(
                f"the classes of the folder are not those of the run: {' and '.join(changes)}, by which other classes "
                "would be tested, such as were trained on; name the folder as it was"
            )


def plain(name: str) -> str:
    """Return a name as all systems write it: macOS stores an accent apart from its letter."""
    return unicodedata.normalize("NFC", name)


def some_of(names: set[str]) -> str:
    """Name at most three of some classes, e.g. "'cat' is" or "'cat', 'dog', 'emu' and 2 more are"."""
    first = ", ".join(map(repr, sorted(names)[:3]))
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{first}{more} {'is' if len(names) == 1 else 'are'}"
