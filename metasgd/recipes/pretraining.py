"""Transfer learning, the usual way to use other data: train a classifier on it, then fine-tune it (chapter 1)."""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd._core.task import Task
from metasgd.evaluation import Method, accuracy
from metasgd.models import convnet
from metasgd.recipes.images import ImageRecipe
from metasgd.recipes.mnist import MnistRecipe
from metasgd.recipes.recipe import seeded
from metasgd.strategies.query_statistics import check_query_statistics, output_for_queries
from metasgd.tasks import Augment
from metasgd.training import cosine_decay

CLASSES = ("digits", "symbols")
HEAD_SEED = 1000  # what is added to a seed for a new last layer


@dataclass(frozen=True)
class Pretraining:
    """Settings of a classifier that is pretrained for one fold of MNIST.

    ``classes`` are the five meta-training digits as they are (``"digits"``), or everything that a meta-learner is
    given by default: these digits turned, joined and augmented (``"symbols"``). By default, training sees at least as
    many pictures as the meta-training of ``MnistRecipe``, with one shot or with five.

    Raises:
        ValueError: classes that do not exist.
    """

    fold: int = 1
    classes: str = "digits"
    width: int = 32
    iterations: int = 2000
    batch: int = 70
    lr: float = 2e-3
    seed: int = 0

    def __post_init__(self) -> None:
        if self.classes not in CLASSES:
            raise ValueError(f"classes {self.classes!r} do not exist; choose one of {', '.join(CLASSES)}")


def pretrain_on(images: Sequence[Tensor], settings: Pretraining, device: torch.device | str = "cpu") -> nn.Module:
    """Return the convnet, trained as an ordinary classifier of the fold's meta-training digits or symbols.

    Args:
        images: one uint8 tensor of shape (examples, 28, 28) for each of the ten digits.
        settings: what to train on, and for how long.
        device: where to train.
    """
    recipe = MnistRecipe(fold=settings.fold, seed=settings.seed)
    if settings.classes == "digits":
        classes, augment = [images[digit] for digit in recipe.training_digits], None
    else:
        classes, augment = recipe.training_classes(images), Augment()
    return pretrain(
        seeded(settings.seed, lambda: convnet(len(classes), width=settings.width)).to(device),
        classes,
        settings.iterations,
        batch=settings.batch,
        lr=settings.lr,
        augment=augment,
        seed=settings.seed,
    )


def pretrain(
    network: nn.Module,
    classes: Sequence[Tensor],
    iterations: int,
    *,
    batch: int = 70,
    lr: float = 2e-3,
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    seed: int = 0,
) -> nn.Module:
    """Train a classifier in place by Adam, its rate going down along a cosine, and return it.

    Args:
        network: from pictures (batch, 1, height, width) in 0..1 to one output for each class.
        classes: one uint8 tensor of shape (examples, height, width) for each class; all classes are equally likely.
        iterations: steps.
        batch: pictures in one step.
        lr: the learning rate at the start.
        augment: a change of every picture, as for ``metasgd.tasks.EpisodeSampler``.
        seed: of the pictures that are drawn.
    """
    device = next(network.parameters()).device
    pictures = torch.cat(list(classes)).to(device)
    counts = torch.tensor([len(members) for members in classes], device=device)
    offsets = counts.cumsum(0) - counts
    generator = torch.Generator(device).manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=lr)
    for iteration in range(iterations):
        for group in optimizer.param_groups:
            group["lr"] = lr * cosine_decay(iteration / iterations)
        labels = torch.randint(len(counts), (batch,), generator=generator, device=device)
        fractions = torch.rand(batch, generator=generator, device=device, dtype=torch.float64)
        x = pictures[offsets[labels] + (fractions * counts[labels]).long()].unsqueeze(1) / 255
        x = x if augment is None else augment(x, generator)
        optimizer.zero_grad()
        F.cross_entropy(network(x), labels).backward()
        optimizer.step()
    return network


def with_new_head(network: nn.Module, recipe: ImageRecipe) -> nn.Sequential:
    """Return a copy of a pretrained convnet with a fresh last layer, for the classes of a task of ``recipe``.

    The old outputs stand for classes that a new task does not have. The fresh layer is drawn from a seed of its own.
    From the seed of the pretrained network, it would get the very rows with which the features were trained, and
    start with confident, wrong answers.
    """
    *body, _ = copy.deepcopy(network).children()
    *_, head = replace(recipe, seed=recipe.seed + HEAD_SEED).make_network().children()
    return nn.Sequential(*body, head.to(next(network.parameters()).device))


def by_features(network: nn.Module, method: Method, *, query_statistics: str = "queries") -> Method:
    """Return a method that gets a network's features, the inputs of its last layer, in place of pictures.

    Args:
        network: layers one after the other.
        method: takes features in the place of inputs.
        query_statistics: by what batch normalisation normalises queries, as in ``MetaSGD``.
    """
    check_query_statistics(query_statistics)
    *body, _ = network.children()
    features = nn.Sequential(*body)

    def on_features(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        with torch.no_grad():
            of_queries = output_for_queries(features, query_statistics, support_x, query_x)
            return method(features(support_x), support_y, of_queries)

    return on_features


def accuracy_by_step(
    network: nn.Module, optimizer: Callable[..., torch.optim.Optimizer], task: Task, *, lr: float, steps: int
) -> Tensor:
    """Train a copy of a network on the support set of one task, and measure it after every step (chapter 1).

    Args:
        network: where training starts; it stays as it is.
        optimizer: e.g. ``torch.optim.SGD``.
        task: one classification task.
        lr: the optimiser's learning rate.
        steps: full-batch steps.

    Returns:
        accuracies on the support and on the query set after 0, 1, ..., ``steps`` steps, shape (2, steps + 1).
    """
    network = copy.deepcopy(network)
    descent = optimizer(network.parameters(), lr=lr)
    measured = []
    for step in range(steps + 1):
        prediction = network(task.support_x)
        with torch.no_grad():
            query = accuracy(network(task.query_x), task.query_y)
        measured.append([accuracy(prediction, task.support_y), query])
        if step < steps:
            descent.zero_grad()
            F.cross_entropy(prediction, task.support_y).backward()
            descent.step()
    return torch.tensor(measured).T
