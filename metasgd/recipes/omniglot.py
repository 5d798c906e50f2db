"""Few-shot Omniglot, and from Omniglot to MNIST, ready to run: what chapter 12 and the command line share."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn

from metasgd._core.task import Task
from metasgd.data import DRAWINGS, load_omniglot, load_omniglot_strokes
from metasgd.evaluation import Method, Sampler
from metasgd.meta_sgd import MetaSGD
from metasgd.recipes import mnist
from metasgd.recipes.mnist import QUERIES
from metasgd.tasks import Augment, EpisodeSampler, Ink, composites
from metasgd.tasks.glyphs import glyph_classes
from metasgd.training import train

CHARACTERS = 1623
TRAINING = 1200  # characters of meta-training; the other 423 are for the test
VALIDATION = 100  # of those 1,200, the last ones, where settings are chosen
PARTS = 500  # classes of which composites are made
METHODS = ("meta-sgd", "maml")
LOOKS = ("pictures", "unsteady", "augmented", "redrawn", "varied", "measured", "glyphs", "mixed")
# Handwriting as it varies: without the shifts and sizes that MNIST's own scaling and centring take away.
HAND = Augment(rotation=15, scale=0.25, shear=0.3, shift=0, warp=0.04, thickness=0, blur=0, contrast=0)
COPIES = 4  # of each support picture, where a learner adapts to copies as well
COPYIST = Augment(rotation=8, scale=0.12, shear=0.15, shift=0, warp=0.02, thickness=0, blur=0, contrast=0)
AUGMENTS = {"unsteady": COPYIST, "augmented": Augment()}  # of pictures, while meta-training
PENS_BY_EYE = Ink(HAND)
PENS_MEASURED = Ink(
    HAND, pen=(0.2, 1.2), softness=(0.8, 1.4)
)  # strokes as wide as MNIST's, see metasgd.experiments.across
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
class OmniglotConfig:
    """Everything that decides a run on Omniglot, except where its files are and on which device it runs (chapter 12).

    ``method`` is ``"meta-sgd"`` or ``"maml"`` (alpha held at ``task_lr``). With ``head_lr``, the last layer starts at
    zero, and its alpha at that number. ``look`` is what the network sees: the drawings as ``"pictures"``, these as by
    an ``"unsteady"`` hand while meta-training, or ``"augmented"`` more strongly; or the drawings ``"redrawn"`` like
    MNIST's digits, with one pen, or ``"varied"``, each with a hand and a pen of its own, or the same with pens that
    were ``"measured"`` on MNIST; or, instead of Omniglot, as many random ``"glyphs"``; or both by half, ``"mixed"``.
    ``characters`` are those of meta-training: 1,200, or 1,100 where the next 100 validate, or all 1,623, for tests on
    other data. ``quarter_turns``, ``mirrored`` and ``num_composites`` make new classes of them. ``train_queries`` are
    the query examples of a class while meta-training. ``start`` names a learner that ships with the package and
    has as many ways or more; theta and alpha start as its, and not at random.
    """

    ways: int = 5
    shots: int = 1
    method: str = "meta-sgd"
    width: int = 32
    inner_steps: int = 1
    iterations: int = 3000
    meta_batch: int = 4
    train_queries: int = 5
    meta_lr: float = 3e-3
    alpha_lr: float = 3e-3
    task_lr: float = 0.1
    head_lr: float | None = None
    characters: int = TRAINING
    look: str = "pictures"
    quarter_turns: bool = True
    mirrored: bool = False
    num_composites: int = 0
    start: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in (("method", METHODS), ("look", LOOKS)):
            if (value := getattr(self, name)) not in choices:
                raise ValueError(f"{name} {value!r} does not exist; choose one of {', '.join(choices)}")
        if not 1 <= self.characters <= CHARACTERS:
            raise ValueError(f"characters is {self.characters}; Omniglot has 1 to {CHARACTERS}")


def split_characters(config: OmniglotConfig) -> tuple[list[int], list[int], list[int]]:
    """Return which characters meta-train, validate and test: the same order of characters for every run.

    A set that is not disjoint from meta-training is returned empty.

    >>> [len(part) for part in split_characters(OmniglotConfig(characters=1100))]
    [1100, 100, 423]
    >>> [len(part) for part in split_characters(OmniglotConfig(characters=1623))]
    [1623, 0, 0]
    """
    order = torch.randperm(CHARACTERS, generator=torch.Generator().manual_seed(0), device="cpu").tolist()
    validation, test = order[TRAINING - VALIDATION : TRAINING], order[TRAINING:]
    training = order[: config.characters]
    return (
        training,
        validation if config.characters <= TRAINING - VALIDATION else [],
        test if config.characters <= TRAINING else [],
    )


@cache
def load_drawings(look: str, root: str | Path | None = None) -> Tensor:
    """Return what a look starts from, uint8 of shape (characters, 20, 28, 28): pictures, or distance fields."""
    if look == "glyphs":
        return glyph_classes(CHARACTERS, DRAWINGS)
    return (load_omniglot if look in ("pictures", *AUGMENTS) else load_omniglot_strokes)(root)


def training_classes(drawings: Tensor, config: OmniglotConfig) -> list[Tensor]:
    """Return the classes of meta-training: characters, their turns, all of these mirrored, and composites."""
    characters = drawings[split_characters(config)[0]]
    sides = [characters, characters.flip(3)] if config.mirrored else [characters]
    turns = range(4 if config.quarter_turns else 1)
    classes = [drawn for side in sides for turn in turns for drawn in torch.rot90(side, turn, dims=(2, 3))]
    parts = classes[:PARTS]  # characters come in random order; all pairs of all classes would be millions
    return classes + composites(parts, config.num_composites, examples=drawings.shape[1], seed=config.seed)


def training_sampler(drawings: Tensor, config: OmniglotConfig, device: torch.device | str = "cpu") -> Sampler:
    """Return the meta-training tasks of a run."""
    if config.look == "mixed":
        parts = {"varied": drawings, "glyphs": load_drawings("glyphs")}
        return Mixture([training_sampler(part, replace(config, look=look), device) for look, part in parts.items()])
    augment = AUGMENTS.get(config.look) or AS_TESTED[config.look]
    classes = training_classes(drawings, config)
    return EpisodeSampler(classes, config.ways, config.shots, config.train_queries, device=device, augment=augment)


class Mixture:
    """Draw tasks from several samplers, of each as many, or one more from the first ones."""

    def __init__(self, samplers: Sequence[Sampler]) -> None:
        self.samplers, self.device = samplers, samplers[0].device

    def sample(self, num_tasks: int, generator: torch.Generator | None = None) -> Task:
        """Draw a batch of tasks, those of the first sampler first."""
        shares = [len(range(start, num_tasks, len(self.samplers))) for start in range(len(self.samplers))]
        parts = [
            sampler.sample(share, generator) for sampler, share in zip(self.samplers, shares, strict=True) if share
        ]
        return Task(*(torch.cat(field) for field in zip(*parts, strict=True)))


def character_sampler(
    drawings: Tensor,
    characters: Sequence[int],
    config: OmniglotConfig,
    device: torch.device | str = "cpu",
) -> EpisodeSampler:
    """Return tasks of upright characters, for validation or test, in the look of the run.

    Pictures are left as they are. Where a run is made for other data, its validation is drawn as its training is.

    Raises:
        ValueError: characters that meta-training may have seen.
    """
    if not characters:
        raise ValueError(
            f"{config.characters} characters of meta-training leave none of these out; lower characters to "
            f"{TRAINING} for a test and to {TRAINING - VALIDATION} for a validation"
        )
    return EpisodeSampler(
        drawings[list(characters)],
        config.ways,
        config.shots,
        QUERIES,
        device=device,
        augment=AS_TESTED[config.look],
    )


def digit_sampler(
    digits: Sequence[Tensor], ways: int, shots: int, device: torch.device | str = "cpu"
) -> EpisodeSampler:
    """Return tasks of all ten digits of MNIST, as they are."""
    return EpisodeSampler(digits, ways, shots, QUERIES, device=device)


def starting_rates(network: nn.Sequential, task_lr: float, head_lr: float | None) -> dict[str, Tensor]:
    """Return alpha at the start: ``task_lr``; with a ``head_lr``, this in the last layer, which is set to zero.

    Then all classes look the same before the step: the "zeroing trick" of Kao, Chiu and Chen 2022.
    """
    rates = {name: torch.full_like(value, task_lr) for name, value in network.named_parameters()}
    if head_lr is not None:
        for name, parameter in network[-1].named_parameters():
            nn.init.zeros_(parameter)
            rates[f"{len(network) - 1}.{name}"].fill_(head_lr)
    return rates


def make_learner(
    config: OmniglotConfig,
    device: torch.device | str = "cpu",
    *,
    compile: bool = False,
    precision: str = "float32",
) -> MetaSGD:
    """Return the untrained learner of a run; ``compile`` and ``precision`` as in ``MetaSGD``."""
    network = mnist.make_network(config)
    return MetaSGD(
        network,
        meta_lr=config.meta_lr,
        alpha_lr=config.alpha_lr,
        task_lr=starting_rates(network, config.task_lr, config.head_lr),
        inner_steps=config.inner_steps,
        learn_alpha=config.method == "meta-sgd",
        compile=compile,
        precision=precision,
    ).to(device)


def with_fewer_ways(learner: MetaSGD, config: OmniglotConfig, ways: int) -> MetaSGD:
    """Return a learner for tasks of fewer classes: the first rows of its last layer, theta and alpha (chapter 12).

    Raises:
        ValueError: more ways than the learner has.
    """
    if ways > config.ways:
        raise ValueError(f"ways is {ways}; a learner of {config.ways} ways has no more rows than these")
    fewer = make_learner(replace(config, ways=ways), next(learner.parameters()).device)
    start_from(fewer, learner)
    return fewer


def start_from(learner: MetaSGD, other: MetaSGD) -> None:
    """Give a learner the theta and alpha of another, of its last layer as many rows as fit.

    Raises:
        ValueError: another network, or one of fewer ways.
    """
    last_layer = list(learner.theta)[-1].rpartition(".")[0] + "."
    for kept, given in ((learner.theta, other.theta), (learner.alpha, other.alpha)):
        for name, value in kept.items():
            rows = given[name][: len(value)] if name.startswith(last_layer) else given[name]
            if rows.shape != value.shape:
                raise ValueError(
                    f"{name} has shape {tuple(value.shape)}, and that of the learner to start from "
                    f"{tuple(given[name].shape)}; give both the same width, and the other as many ways or more"
                )
            value.data.copy_(rows)


def with_copies(learner: Method, copies: int = COPIES) -> Method:
    """Return the method that adapts to each support picture and to copies of it by an unsteady hand (chapter 12).

    The step is still a single one; its support set is ``copies + 1`` times as large. The same pictures give the same
    copies.
    """

    def method(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        return learner(with_redrawn(support_x, copies, seed=0), support_y.repeat(copies + 1), query_x)

    return method


def with_copied_queries(learner: MetaSGD, support_copies: int = COPIES, query_copies: int = COPIES) -> Method:
    """Return the method that reads each query and copies of it, and says the mean of what it reads (chapter 12).

    The learner adapts once, to ``support_copies`` as well as in ``with_copies``. Each copy of the query set is a batch
    of its own, so that batch normalisation has the company that it has without copies. The output is the mean of the
    log-probabilities, shape (queries, ways).
    """

    def method(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        support_x, support_y = with_redrawn(support_x, support_copies, seed=0), support_y.repeat(support_copies + 1)
        adapted = learner.inner_update(support_x, support_y)
        readings = with_redrawn(query_x, query_copies, seed=1).split(len(query_x))
        return torch.stack([learner.predict(reading, adapted).log_softmax(-1) for reading in readings]).mean(0)

    return method


def with_redrawn(pictures: Tensor, copies: int, *, seed: int) -> Tensor:
    """Return pictures and, after them, ``copies`` sets of copies by an unsteady hand."""
    generator = torch.Generator(pictures.device).manual_seed(seed)
    return torch.cat([pictures, *(COPYIST(pictures, generator) for _ in range(copies))])


def train_omniglot(
    config: OmniglotConfig,
    drawings: Tensor,
    *,
    start: MetaSGD | None = None,
    device: torch.device | str = "cpu",
    out: str | Path | None = None,
    resume: bool = False,
    checkpoint_every: int = 100,
    progress: bool = True,
    compile: bool = False,
    precision: str = "float32",
) -> tuple[MetaSGD, list[dict[str, float]]]:
    """Meta-train on Omniglot and return (learner, history).

    ``start`` is the learner that the config names; ``compile`` and ``precision`` are those of ``MetaSGD``, the rest
    those of ``train``.
    """
    learner = make_learner(config, device, compile=compile, precision=precision)
    if start is not None:
        start_from(learner, start)
    history = train(
        learner,
        training_sampler(drawings, config, device),
        config.iterations,
        meta_batch=config.meta_batch,
        seed=config.seed,
        out=out,
        resume=resume,
        checkpoint_every=checkpoint_every,
        config={"data": "omniglot", **asdict(config)},
        progress=progress,
    )
    return learner, history
