"""Few-shot Omniglot, and from Omniglot to MNIST (chapter 12)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metasgd.data import DRAWINGS, load_mnist_sample, load_omniglot, load_omniglot_strokes
from metasgd.evaluation import Sampler
from metasgd.meta_sgd import MetaSGD
from metasgd.recipes.images import QUERIES, ImageRecipe, reading_of_queries
from metasgd.recipes.recipe import METHODS, setting
from metasgd.recipes.weight_files import read_weights
from metasgd.tasks import Augment, EpisodeSampler, Ink, Mixture, composites
from metasgd.tasks.glyphs import glyph_classes

CHARACTERS = 1623
TRAINING = 1200  # characters of meta-training; the other 423 are for the test
VALIDATION = 100  # the last of those 1,200, on which settings are chosen
PARTS = 500  # classes from which composites are made
TEST_SHOTS = (1, 5)  # a learner is tested with both, whatever it was trained with
LOOKS = ("pictures", "unsteady", "augmented", "redrawn", "varied", "measured", "glyphs", "mixed")
# Handwriting as it varies: without the shifts and sizes that MNIST's own scaling and centring take away.
HAND = Augment(rotation=15, scale=0.25, shear=0.3, shift=0, warp=0.04, thickness=0, blur=0, contrast=0)
UNSTEADY_HAND = Augment(rotation=8, scale=0.12, shear=0.15, shift=0, warp=0.02, thickness=0, blur=0, contrast=0)
AUGMENTS = {"unsteady": UNSTEADY_HAND, "augmented": Augment()}  # of pictures, while meta-training
PENS_BY_EYE = Ink(HAND)
# Strokes as wide as MNIST's, by the measurements of the experiment "pictures".
PENS_MEASURED = Ink(HAND, pen=(0.2, 1.2), softness=(0.8, 1.4))
AS_TESTED = {
    "pictures": None,
    "unsteady": None,
    "augmented": None,
    "redrawn": Ink(pen=(1.0, 1.0), softness=(1.5, 1.5)),
    "varied": PENS_BY_EYE,
    "measured": PENS_MEASURED,
    "glyphs": None,
    "mixed": PENS_BY_EYE,
}


@dataclass(frozen=True)
class OmniglotRecipe(ImageRecipe):
    """A run on Omniglot, tested on characters that it has left out, or else on MNIST's ten digits (chapter 12).

    The data are drawings, uint8 of shape (characters, 20, 28, 28), as ``load_drawings`` returns them for the look:

    - ``"pictures"``: the drawings as they are;
    - ``"unsteady"``: as drawn by an unsteady hand while meta-training; ``"augmented"``: changed more strongly;
    - ``"redrawn"``: with one pen, like MNIST's digits;
    - ``"varied"``: each with a hand and a pen of its own; ``"measured"``: the same, with pens measured on MNIST;
    - ``"glyphs"``: as many random glyphs in place of Omniglot;
    - ``"mixed"``: half of the tasks varied, half of glyphs.

    Raises:
        ValueError: a method or a look that does not exist, or a number of characters that Omniglot does not have.
    """

    name = "omniglot"
    about = "few-shot Omniglot: 1,200 characters train, 423 test (chapter 12)"
    example = "--ways 5 --data-root data"
    test_shots = TEST_SHOTS
    data_folder = "omniglot-py/ or omniglot/"

    ways: int = setting(5, "classes in a task", least=1)
    shots: int = setting(1, "support examples of a class in meta-training; the test has 1 and 5", least=1)
    method: str = setting("meta-sgd", "what is trained: maml holds alpha at task_lr", choices=METHODS)
    width: int = setting(32, "filters of each convolution", least=1)
    inner_steps: int = setting(1, "gradient steps on a support set", least=1)
    iterations: int = setting(3000, "meta-updates in all", least=1)
    meta_batch: int = setting(4, "tasks in a meta-update", least=1)
    train_queries: int = setting(5, "query examples of a class in meta-training", least=1)
    meta_lr: float = setting(3e-3, "beta, Adam's rate for theta", least=0)
    alpha_lr: float = setting(3e-3, "gamma, Adam's rate for alpha", least=0)
    task_lr: float = setting(0.1, "alpha at the start", least=0)
    head_lr: float | None = setting(
        None,
        "alpha of the last layer at the start, where this layer starts at zero (none: as the other layers)",
        least=0,
    )
    characters: int = setting(
        TRAINING, "characters of meta-training: 1100 leave 100 for validation, 1623 none for the test, which is MNIST"
    )
    look: str = setting("pictures", "how the network sees a drawing", choices=LOOKS)
    quarter_turns: bool = setting(True, "turn characters by quarter turns into new classes")
    mirrored: bool = setting(False, "mirror characters into new classes")
    num_composites: int = setting(0, "new classes, each made of the halves of two others", least=0)
    start: str | None = setting(
        None, "a learner in the package with as many ways or more, where theta and alpha start (none: at random)"
    )
    query_statistics: str = reading_of_queries()
    seed: int = setting(0, "of the network's start and of the training tasks", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.characters <= CHARACTERS:
            raise ValueError(f"characters is {self.characters}; Omniglot has 1 to {CHARACTERS}")

    # The learner

    def learner_options(self, network: nn.Module, device: torch.device) -> dict[str, Any]:
        """Return the arguments of ``MetaSGD``; with ``head_lr``, the network's last layer is set to zero."""
        return super().learner_options(network, device) | {
            "task_lr": starting_rates(network, self.task_lr, self.head_lr)
        }

    def warm_start(self, learner: MetaSGD) -> None:
        """Give a learner the theta and alpha of the learner that the settings name as ``start``, if they name one.

        Raises:
            ValueError: that learner has another network or fewer ways, or has seen characters that are left out here.
        """
        if self.start is None:
            return
        theta, alpha, record = read_weights(self.start)
        seen = OmniglotRecipe.from_config(record["config"]).split_characters()[0]
        if not set(seen) <= set(self.split_characters()[0]):
            raise ValueError(
                f"{self.start} was meta-trained on {len(seen)} characters, among them some of those that a run with "
                f"{self.characters} leaves out; start from another learner, or raise characters"
            )
        start_from(learner, theta, alpha)

    # The tasks

    def load_data(self, root: str | Path | None = None, *, download: bool = False) -> Tensor:
        """Return the drawings that the look starts from, see ``load_drawings``."""
        if download:
            load_omniglot(root, download=True, quiet=True)
        return load_drawings(self.look, root)

    def load_test_data(self, root: str | Path | None = None) -> Tensor | None:
        """Return the drawings if characters are left for the test; tested on MNIST's digits, a run needs none."""
        return self.load_data(root) if self.split_characters()[2] else None

    def split_characters(self) -> tuple[list[int], list[int], list[int]]:
        """Return which characters meta-train, validate and test: the same order of characters for every run.

        A set that is not disjoint from meta-training is returned empty.

        >>> [len(part) for part in OmniglotRecipe(characters=1100).split_characters()]
        [1100, 100, 423]
        >>> [len(part) for part in OmniglotRecipe(characters=1623).split_characters()]
        [1623, 0, 0]
        """
        order = torch.randperm(CHARACTERS, generator=torch.Generator().manual_seed(0), device="cpu").tolist()
        validation, test = order[TRAINING - VALIDATION : TRAINING], order[TRAINING:]
        training = order[: self.characters]
        return (
            training,
            validation if self.characters <= TRAINING - VALIDATION else [],
            test if self.characters <= TRAINING else [],
        )

    def training_classes(self, drawings: Tensor) -> list[Tensor]:
        """Return the classes of meta-training: characters, their turns, all of these mirrored, and composites."""
        characters = drawings[self.split_characters()[0]]
        sides = [characters, characters.flip(3)] if self.mirrored else [characters]
        turns = range(4 if self.quarter_turns else 1)
        classes = [drawn for side in sides for turn in turns for drawn in torch.rot90(side, turn, dims=(2, 3))]
        parts = classes[:PARTS]  # characters come in random order; all pairs of all classes would be millions
        return classes + composites(parts, self.num_composites, examples=drawings.shape[1], seed=self.seed)

    def training_tasks(
        self, data: Tensor, device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> Sampler:
        """Return the tasks of meta-training."""
        if self.look == "mixed":
            parts = {"varied": data, "glyphs": load_drawings("glyphs")}
            return Mixture([replace(self, look=look).training_tasks(part, device) for look, part in parts.items()])
        augment = AUGMENTS.get(self.look) or AS_TESTED[self.look]
        classes = self.training_classes(data)
        return EpisodeSampler(classes, self.ways, self.shots, self.train_queries, device=device, augment=augment)

    def character_tasks(
        self, drawings: Tensor, characters: Sequence[int], device: torch.device | str = "cpu"
    ) -> EpisodeSampler:
        """Return tasks of upright characters, for validation or test, in the look of the run.

        Pictures are not changed here. Distance fields are drawn with a pen, as in meta-training.

        Raises:
            ValueError: no characters, as meta-training has seen all.
        """
        if not characters:
            raise ValueError(
                f"{self.characters} characters of meta-training leave none of these out; lower characters to "
                f"{TRAINING} for a test and to {TRAINING - VALIDATION} for a validation"
            )
        augment = AS_TESTED[self.look]
        return EpisodeSampler(
            drawings[list(characters)], self.ways, self.shots, QUERIES, device=device, augment=augment
        )

    def test_tasks(
        self, data: Tensor | None, device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> EpisodeSampler:
        """Return tasks of the characters that are left out, or if there are none, of all ten digits of MNIST."""
        characters = self.split_characters()[2]
        if not characters:
            return digit_sampler(load_mnist_sample(), self.ways, self.shots, device)
        if data is None:
            raise ValueError("the test is on Omniglot's characters; give the drawings that load_test_data returns")
        return self.character_tasks(data, characters, device)


@cache
def load_drawings(look: str, root: str | Path | None = None) -> Tensor:
    """Return what a look starts from, uint8 of shape (characters, 20, 28, 28): pictures, or distance fields."""
    if look == "glyphs":
        return glyph_classes(CHARACTERS, DRAWINGS)
    return (load_omniglot if look in ("pictures", *AUGMENTS) else load_omniglot_strokes)(root)


def digit_sampler(
    digits: Sequence[Tensor], ways: int, shots: int, device: torch.device | str = "cpu"
) -> EpisodeSampler:
    """Return tasks of all ten digits of MNIST, as they are."""
    return EpisodeSampler(digits, ways, shots, QUERIES, device=device)


def starting_rates(network: nn.Module, task_lr: float, head_lr: float | None) -> dict[str, Tensor]:
    """Return alpha at the start: ``task_lr`` everywhere, but ``head_lr`` in the last layer if it is given.

    With ``head_lr``, the parameters of the last layer are set to zero. Then all classes look the same before the step:
    the "zeroing trick" of Kao, Chiu and Chen 2022.
    """
    rates = {name: torch.full_like(value, task_lr) for name, value in network.named_parameters()}
    if head_lr is not None:
        name, head = list(network.named_children())[-1]
        for parameter, value in head.named_parameters():
            nn.init.zeros_(value)
            rates[f"{name}.{parameter}"].fill_(head_lr)
    return rates


def start_from(learner: MetaSGD, theta: Mapping[str, Tensor], alpha: Mapping[str, Tensor]) -> None:
    """Give a learner the theta and alpha of another one; of the last layer, as many rows as it has classes.

    Raises:
        ValueError: the other learner has another network or fewer ways.
    """
    last_layer = list(learner.theta)[-1].rpartition(".")[0] + "."
    for own, given in ((learner.theta, theta), (learner.alpha, alpha)):
        for name, value in own.items():
            rows = given[name][: len(value)] if name.startswith(last_layer) else given[name]
            if rows.shape != value.shape:
                raise ValueError(
                    f"{name} has shape {tuple(value.shape)}, and that of the learner to start from "
                    f"{tuple(given[name].shape)}; give both the same width, and the other as many ways or more"
                )
            value.data.copy_(rows)
