"""Few-shot MNIST from random glyphs, with five digits or with none (chapter 8)."""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metasgd.data import DRAWINGS, load_mnist
from metasgd.evaluation import Sampler
from metasgd.meta_sgd import MetaSGD
from metasgd.models import Deslant
from metasgd.recipes.images import QUERIES, ImageRecipe, reading_of_queries
from metasgd.recipes.mnist import MnistRecipe
from metasgd.recipes.omniglot import CHARACTERS, TEST_SHOTS, start_from
from metasgd.recipes.recipe import METHODS, UNCLIPPED, device_of, setting
from metasgd.recipes.weight_files import read_weights, weights_names
from metasgd.tasks import Augment, Deslanted, EpisodeSampler, Mixture, fold_digits
from metasgd.tasks.glyphs import glyph_classes
from metasgd.tasks.handwriting import FAMILY, UNSTEADY, FamilySampler, families, handwritten_classes, mirrored

KINDS = ("handwriting", "plain", "none")
CLASSES = 2000  # of each kind of handwriting, before they are mirrored

Change = Callable[[Tensor, torch.Generator], Tensor]


@dataclass(frozen=True)
class GlyphsRecipe(ImageRecipe):
    """A run on random glyphs, with the five meta-training digits of a fold or without, tested on MNIST (chapter 8).

    The data are MNIST's pictures, ten uint8 tensors of shape (examples, 28, 28), as ``load_mnist`` returns them, or
    None: glyphs alone need no picture. The glyphs are

    - ``"handwriting"``: half of the tasks with classes that may have a second way of writing, and half with families
      that look alike (``metasgd.tasks.handwriting``);
    - ``"plain"``: ``metasgd.tasks.glyph_classes``, turned by quarter turns;
    - ``"none"``: there are only a fold's five digits, as in ``MnistRecipe``.

    With a fold, a third of the parts of the tasks are the fold's digits, in a meta-batch of four one task.

    Raises:
        ValueError: a fold, a kind of glyphs or a method that does not exist, or neither a fold nor glyphs.
    """

    name = "glyphs"
    about = "few-shot MNIST from random glyphs: with five digits or none, tested on new ones (chapter 8)"
    example = "--compile"
    test_shots = TEST_SHOTS
    data_folder = "MNIST/raw/; without a folder, the sample in the package is used"

    fold: int | None = setting(
        None, "the fold whose digits are meta-trained on, too, and held out for the test (none: tested on all ten)"
    )
    ways: int = setting(5, "classes in a task", least=1)
    shots: int = setting(1, "support examples of a class in meta-training; the test has 1 and 5", least=1)
    method: str = setting("meta-sgd", "what is trained: maml holds alpha at task_lr", choices=METHODS)
    glyphs: str = setting("handwriting", "the kind of glyphs", choices=KINDS)
    deslant: bool = setting(True, "take the slant out of every picture")
    start: str | None = setting(
        None, "a learner in the package, or the folder of a run, where theta and alpha start (none: at random)"
    )
    width: int = setting(32, "filters of each convolution", least=1)
    inner_steps: int = setting(1, "gradient steps on a support set", least=1)
    iterations: int = setting(2000, "meta-updates in all", least=1)
    meta_batch: int = setting(4, "tasks in a meta-update", least=1)
    train_queries: int = setting(5, "query examples of a class in meta-training", least=1)
    meta_lr: float = setting(3e-3, "beta, Adam's rate for theta", least=0)
    alpha_lr: float = setting(3e-3, "gamma, Adam's rate for alpha", least=0)
    task_lr: float = setting(0.1, "alpha at the start", least=0)
    query_statistics: str = reading_of_queries()
    seed: int = setting(0, "of the network's start, the glyphs and the training tasks", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.fold is not None:
            fold_digits(self.fold)
        elif self.glyphs == "none":
            raise ValueError("glyphs is 'none', and there is no fold; choose a fold, whose digits train, or glyphs")

    # The learner

    def warm_start(self, learner: MetaSGD) -> None:
        """Give a learner the theta and alpha of the learner that the settings name as ``start``, if they name one.

        Raises:
            ValueError: that learner has another network, fewer ways, or has met digits that are held out here.
            FileNotFoundError: there is neither a learner nor a run of this name.
        """
        if self.start is None:
            return
        theta, alpha, config = read_start(self.start)
        met = config.get("fold")
        if config.get("recipe") == "mnist" or (met is not None and met != self.fold):
            raise ValueError(
                f"{self.start} was meta-trained on digits of fold {met}, some of which are held out here; start from "
                "glyphs, or from a run of the same fold"
            )
        start_from(learner, theta, alpha)

    def for_pictures(self, learner: MetaSGD) -> MetaSGD:
        """Return a learner with the same theta and alpha that takes pictures as they are.

        With ``deslant``, tasks have no slant any more when a learner meets them. The returned one has a layer that
        takes it out, ``metasgd.models.Deslant``, before all others.
        """
        if not self.deslant:
            return learner
        network = nn.Sequential(Deslant(), *copy.deepcopy(learner.model).children())
        device = device_of(learner)
        made = MetaSGD(network, **UNCLIPPED, **self.learner_options(network, device)).to(device)
        made.query_statistics = learner.query_statistics
        for own, theirs in ((made.theta, learner.theta), (made.alpha, learner.alpha)):
            for value, given in zip(own.values(), theirs.values(), strict=True):
                value.data.copy_(given.data)
        return made

    # The tasks

    def load_data(self, root: str | Path | None = None, *, download: bool = False) -> list[Tensor] | None:
        """Return MNIST by class, or None for glyphs alone."""
        return load_mnist(root, download=download) if self.fold is not None or download else None

    def load_test_data(self, root: str | Path | None = None) -> list[Tensor]:
        """Return MNIST by class."""
        return load_mnist(root)

    def seen(self, changed: Change | None = None) -> Change | None:
        """Return how a run sees a picture: changed, and then without its slant."""
        return Deslanted(changed) if self.deslant else changed

    def training_tasks(
        self, data: Sequence[Tensor] | None, device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> Sampler:
        """Return the tasks of meta-training."""
        sizes, parts = (self.ways, self.shots, self.train_queries), list[Sampler]()
        glyphs: dict[str, Any] = {"device": device, "augment": self.seen(UNSTEADY)}
        if self.glyphs == "handwriting":
            parts.append(EpisodeSampler(mirrored(written(self.seed)), *sizes, **glyphs))
            parts.append(FamilySampler(mirrored(alike(self.seed)), *sizes, **glyphs))
        elif self.glyphs == "plain":
            plain = glyph_classes(CHARACTERS, DRAWINGS, seed=self.seed)
            turned = torch.cat([torch.rot90(plain, turns, dims=(2, 3)) for turns in range(4)])
            parts.append(EpisodeSampler(turned, *sizes, **glyphs))
        if self.fold is not None:
            if data is None:
                raise ValueError("a fold's digits train, too; give the pictures that load_data returns")
            classes = MnistRecipe(fold=self.fold, seed=self.seed).training_classes(data)
            parts.append(EpisodeSampler(classes, *sizes, device=device, augment=self.seen(Augment())))
        return Mixture(parts)

    def digit_tasks(
        self, data: Sequence[Tensor], digits: Sequence[int], device: torch.device | str = "cpu"
    ) -> EpisodeSampler:
        """Return tasks of some digits, upright and changed by nothing but ``deslant``."""
        classes = [data[digit] for digit in digits]
        return EpisodeSampler(classes, self.ways, self.shots, QUERIES, device=device, augment=self.seen())

    def test_tasks(
        self, data: Sequence[Tensor], device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> EpisodeSampler:
        """Return tasks of the digits that the fold holds out, or without a fold, of all ten."""
        return self.digit_tasks(data, range(10) if self.fold is None else fold_digits(self.fold)[1], device)


def read_start(start: str) -> tuple[Mapping[str, Tensor], Mapping[str, Tensor], Mapping[str, Any]]:
    """Return theta, alpha and the settings of a learner in the package, or of the run in a folder."""
    if start in weights_names():
        theta, alpha, record = read_weights(start)
        return theta, alpha, record["config"]
    from metasgd.recipes.runs import load_run  # which imports all recipes

    run = load_run(start)
    theta, alpha = (
        {name: value.detach() for name, value in own.items()} for own in (run.learner.theta, run.learner.alpha)
    )
    return theta, alpha, run.checkpoint.config


@cache
def written(seed: int) -> Tensor:
    """Return the classes of which some have a second way of writing, uint8 of shape (CLASSES, 20, 28, 28)."""
    return handwritten_classes(CLASSES, DRAWINGS, seed=seed)


@cache
def alike(seed: int) -> Tensor:
    """Return the classes in families, uint8 of shape (CLASSES, 20, 28, 28)."""
    return families(CLASSES // FAMILY, DRAWINGS, seed=seed)
