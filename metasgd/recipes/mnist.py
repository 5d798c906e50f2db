"""Few-shot MNIST, ready to run: what chapter 8 and the command line share."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from metasgd.baselines import from_scratch, nearest_class_mean
from metasgd.evaluation import Method, evaluate
from metasgd.meta_sgd import MetaSGD
from metasgd.models import convnet
from metasgd.tasks import Augment, EpisodeSampler, composites, fold_digits, orientations
from metasgd.training import Checkpoint, read_checkpoint, restore, train

if TYPE_CHECKING:  # which imports this module
    from metasgd.recipes.omniglot import OmniglotConfig

QUERIES = 15  # of each class in a test task, in all of the literature
METHODS = ("meta-sgd", "first-order", "maml")
SGD, ADAM = "from scratch, SGD", "from scratch, Adam"
# By shots: optimiser, learning rate, steps. The best of book/results/mnist-scratch.json, which a test checks.
SCRATCH = {
    1: {SGD: (torch.optim.SGD, 0.1, 10), ADAM: (torch.optim.Adam, 0.01, 10)},
    5: {SGD: (torch.optim.SGD, 0.1, 10), ADAM: (torch.optim.Adam, 0.01, 10)},
}


@dataclass(frozen=True)
class MnistConfig:
    """Everything that decides a run on one fold of MNIST, except where its files are and on which device it runs.

    ``method`` is ``"meta-sgd"``, ``"first-order"`` (Meta-SGD without second derivatives) or ``"maml"`` (alpha held at
    ``task_lr``). ``validation_digits`` are meta-training digits that are left out of training, and whose tasks choose
    the best iterate. ``train_queries`` are the query examples of a class while meta-training.
    """

    fold: int = 0
    ways: int = 5
    shots: int = 1
    method: str = "meta-sgd"
    width: int = 32
    inner_steps: int = 1
    iterations: int = 700
    meta_batch: int = 4
    train_queries: int = 5
    meta_lr: float = 2e-3
    alpha_lr: float = 2e-3
    task_lr: float = 0.1
    use_orientations: bool = True
    num_composites: int = 100
    augment: bool = True
    validation_digits: tuple[int, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        training_digits, _ = fold_digits(self.fold)
        if self.method not in METHODS:
            raise ValueError(f"method {self.method!r} does not exist; choose one of {', '.join(METHODS)}")
        if stray := set(self.validation_digits) - set(training_digits):
            raise ValueError(
                f"validation digits {sorted(stray)} are not meta-training digits of fold {self.fold}; choose among "
                f"{training_digits}"
            )


def make_learner(
    config: MnistConfig,
    device: torch.device | str = "cpu",
    *,
    compile: bool = False,
    precision: str = "float32",
) -> MetaSGD:
    """Return the untrained learner of a run; ``compile`` and ``precision`` as in ``MetaSGD``."""
    return MetaSGD(
        make_network(config),
        meta_lr=config.meta_lr,
        alpha_lr=config.alpha_lr,
        task_lr=config.task_lr,
        inner_steps=config.inner_steps,
        first_order=config.method == "first-order",
        learn_alpha=config.method != "maml",
        compile=compile,
        precision=precision,
    ).to(device)


def training_classes(images: Sequence[Tensor], config: MnistConfig) -> list[Tensor]:
    """Return the classes of meta-training: the fold's digits, their quarter turns, and composites of these."""
    digits = [digit for digit in fold_digits(config.fold)[0] if digit not in config.validation_digits]
    classes = orientations(images, digits) if config.use_orientations else [images[digit] for digit in digits]
    return classes + composites(classes, config.num_composites, seed=config.seed)


def training_sampler(
    images: Sequence[Tensor], config: MnistConfig, device: torch.device | str = "cpu"
) -> EpisodeSampler:
    """Return the meta-training tasks of a run."""
    return EpisodeSampler(
        training_classes(images, config),
        config.ways,
        config.shots,
        config.train_queries,
        device=device,
        augment=Augment() if config.augment else None,
    )


def validation_sampler(
    images: Sequence[Tensor], config: MnistConfig, device: torch.device | str = "cpu"
) -> EpisodeSampler:
    """Return tasks of the validation digits in their orientations, as they are (not augmented)."""
    classes = orientations(images, config.validation_digits)
    return EpisodeSampler(classes, config.ways, config.shots, QUERIES, device=device)


def held_out_sampler(
    images: Sequence[Tensor], config: MnistConfig, device: torch.device | str = "cpu"
) -> EpisodeSampler:
    """Return the test tasks of a run: held-out digits, upright, as they are."""
    classes = [images[digit] for digit in fold_digits(config.fold)[1]]
    return EpisodeSampler(classes, config.ways, config.shots, QUERIES, device=device)


def own_digits_sampler(
    images: Sequence[Tensor], config: MnistConfig, device: torch.device | str = "cpu"
) -> EpisodeSampler:
    """Return tasks of the digits that a run was trained on, upright, as they are: how well it knows its own."""
    classes = [images[digit] for digit in fold_digits(config.fold)[0]]
    return EpisodeSampler(classes, config.ways, config.shots, QUERIES, device=device)


def support_only_methods(
    config: "MnistConfig | OmniglotConfig", device: torch.device | str = "cpu"
) -> dict[str, Method]:
    """Return the methods that learn from a support set alone: the pixels' class means, and training from scratch.

    The learning rate and the number of steps of training from scratch were tuned on tasks of fold 0's digits 5 to 9
    (``python -m metasgd experiment mnist-scratch``).
    """
    methods: dict[str, Method] = {"nearest class mean": nearest_class_mean}
    for name, (optimizer, lr, steps) in SCRATCH[config.shots if config.shots in SCRATCH else 1].items():
        methods[name] = from_scratch(make_network(config).to(device), optimizer, lr=lr, steps=steps)
    return methods


def make_network(config: "MnistConfig | OmniglotConfig") -> nn.Sequential:
    """Return the convnet of a run at its random start; the same seed gives the same start on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        return convnet(config.ways, width=config.width)


def run_config(config: MnistConfig, images: Sequence[Tensor]) -> dict[str, Any]:
    """Return what the checkpoint of a run stores: its settings, and how many images it was given."""
    return {"data": "mnist", "images": sum(map(len, images)), **asdict(config)}


def train_mnist(
    config: MnistConfig,
    images: Sequence[Tensor],
    *,
    device: torch.device | str = "cpu",
    out: str | Path | None = None,
    resume: bool = False,
    checkpoint_every: int = 100,
    validate_every: int = 100,
    progress: bool = True,
    compile: bool = False,
    precision: str = "float32",
) -> tuple[MetaSGD, list[dict[str, float]]]:
    """Meta-train on one fold and return (learner, history).

    ``compile`` and ``precision`` are those of ``MetaSGD``, the rest those of ``train``.

    Raises:
        ValueError: settings that the images cannot serve, found before any work.
    """
    held_out_sampler(images, config, device)  # a run that cannot be tested is refused before it starts
    sampler = training_sampler(images, config, device)
    validate = None
    if config.validation_digits:
        validation = validation_sampler(images, config, device)

        def validate(learner: MetaSGD) -> float:
            return evaluate(learner, validation, 200, seed=1).mean

    learner = make_learner(config, device, compile=compile, precision=precision)
    history = train(
        learner,
        sampler,
        config.iterations,
        meta_batch=config.meta_batch,
        seed=config.seed,
        validate=validate,
        validate_every=validate_every,
        out=out,
        resume=resume,
        checkpoint_every=checkpoint_every,
        config=run_config(config, images),
        progress=progress,
    )
    return learner, history


def load_run(path: str | Path, device: torch.device | str = "cpu") -> tuple[MetaSGD, MnistConfig, Checkpoint]:
    """Return (learner, config, checkpoint) of a run folder, the learner at its best validated iterate, if any."""
    checkpoint = read_checkpoint(path)
    names = {field.name for field in fields(MnistConfig)}
    settings = {key: value for key, value in checkpoint.config.items() if key in names}
    config = MnistConfig(**settings | {"validation_digits": tuple(settings["validation_digits"])})
    learner = make_learner(config, device)
    state = checkpoint.state if checkpoint.best is None else checkpoint.state | checkpoint.best["state"]
    restore(learner, state, path)
    return learner, config, checkpoint
