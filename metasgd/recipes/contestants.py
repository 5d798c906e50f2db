"""The methods that chapters 8, 11 and 12 compare, on the same tasks, from the same network, at the same budget."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from metasgd.baselines import from_scratch
from metasgd.evaluation import Evaluation, Method, Sampler
from metasgd.meta_sgd import MetaSGD
from metasgd.methods import PrototypicalNetwork, Reptile
from metasgd.rates import SharedRates, head_of
from metasgd.recipes.glyphs import GlyphsRecipe
from metasgd.recipes.images import ImageRecipe
from metasgd.recipes.mnist import MnistRecipe
from metasgd.recipes.omniglot import OmniglotRecipe
from metasgd.recipes.pretraining import by_features, pretrain, with_new_head
from metasgd.recipes.recipe import UNCLIPPED, Recipe, device_of

# By name: options of SharedRates.
GRADIENT_METHODS: dict[str, dict[str, Any]] = {
    "meta-sgd": {},
    "layer-rates": {"shared": "layer"},
    "tensor-rates": {"shared": "tensor"},
    "one-rate": {"shared": "all"},
    "nonnegative": {"nonnegative": True},
    "maml": {"learn_alpha": False},
    "first-order": {"first_order": True},
    "first-order-maml": {"learn_alpha": False, "first_order": True},
    "three-steps": {},  # the problem's settings say how many
    "maml-three-steps": {"learn_alpha": False},
    "head-only": {"adapts": "head"},
    "body-only": {"adapts": "body"},
    "anil": {"learn_alpha": False, "adapts": "head"},
}
META_LEARNERS = (*GRADIENT_METHODS, "reptile", "protonet")  # which learn from tasks
Problem = MnistRecipe | OmniglotRecipe | GlyphsRecipe
PROBLEMS: dict[str, type[Problem]] = {"mnist": MnistRecipe, "omniglot": OmniglotRecipe, "glyphs": GlyphsRecipe}

R = TypeVar("R", bound="Contestant")


@dataclass(frozen=True)
class Contestant(Recipe):
    """One of the compared methods on a problem, whose tasks, network and budget it takes.

    It uses every setting of the problem but ``method``. No iterate is chosen by validation: the last one is kept.

    Args:
        method: one of ``META_LEARNERS``.
        problem: the settings that all methods share.

    Raises:
        ValueError: a method that does not exist, or that does not learn from tasks.
    """

    name = "contestant"

    method: str
    problem: Problem

    def __post_init__(self) -> None:
        if self.method not in META_LEARNERS:
            raise ValueError(
                f"method {self.method!r} does not learn from tasks; choose one of {', '.join(META_LEARNERS)}"
            )

    @property
    def iterations(self) -> int:  # type: ignore[override]
        """Meta-updates in all."""
        return self.problem.iterations

    @property
    def meta_batch(self) -> int:  # type: ignore[override]
        """Tasks in a meta-update."""
        return self.problem.meta_batch

    @property
    def seed(self) -> int:  # type: ignore[override]
        """Of the network's start and of the training tasks."""
        return self.problem.seed

    def make_network(self) -> nn.Sequential:
        """Return the problem's network at its random start; a prototypical network has no last layer."""
        network = self.problem.make_network()
        return network[:-1] if self.method == "protonet" else network

    def make_learner(
        self, device: torch.device | str = "cpu", *, compile: bool = False, precision: str = "float32"
    ) -> MetaSGD:
        """Return the untrained learner: a ``SharedRates``, a ``Reptile`` or a ``PrototypicalNetwork``.

        A ``PrototypicalNetwork`` is not a ``MetaSGD``, but has everything that training and evaluation need.

        Raises:
            ValueError: ``compile`` or ``precision`` for a prototypical network, which has no such choice.
        """
        network, problem = self.make_network(), self.problem
        if self.method == "protonet":
            if compile or precision != "float32":
                raise ValueError("a prototypical network is neither compiled nor computed in another precision")
            made = PrototypicalNetwork(network, meta_lr=problem.meta_lr, query_statistics=problem.query_statistics)
            return cast(MetaSGD, made.to(device))
        options: dict[str, Any] = {
            "meta_lr": problem.meta_lr,
            "task_lr": problem.task_lr,
            "inner_steps": problem.inner_steps,
            "query_statistics": problem.query_statistics,
            **UNCLIPPED,
            "compile": compile,
            "precision": precision,
        }
        if self.method == "reptile":
            return Reptile(network, **options).to(device)
        options |= {"alpha_lr": problem.alpha_lr} | GRADIENT_METHODS[self.method]
        if "adapts" in options:
            is_head = head_of(network)
            options["adapts"] = is_head if options["adapts"] == "head" else lambda parameter: not is_head(parameter)
        return SharedRates(network, **options).to(device)

    def load_data(self, root: str | Path | None = None, *, download: bool = False) -> Any:
        """Return the problem's data."""
        return self.problem.load_data(root, download=download)

    def load_test_data(self, root: str | Path | None = None) -> Any:
        """Return the problem's data for its test."""
        return self.problem.load_test_data(root)

    def training_tasks(
        self, data: Any, device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> Sampler:
        """Return the problem's tasks of meta-training."""
        return self.problem.training_tasks(data, device)

    def test_tasks(self, data: Any, device: torch.device | str = "cpu", *, learner: MetaSGD | None = None) -> Sampler:
        """Return the problem's tasks of the test."""
        return self.problem.test_tasks(data, device)

    def test(
        self, learner: MetaSGD, data: Any, num_tasks: int | None = None, *, seed: int = 0, progress: bool = False
    ) -> dict[str, Evaluation]:
        """Return the accuracy of a trained learner on the problem's test; see ``Recipe.test``."""
        device = device_of(learner)
        return self.problem.compare(
            {self.method: learner}, data, num_tasks, seed=seed, device=device, progress=progress
        )

    def config(self, data: Any = None) -> dict[str, Any]:
        """Return what a checkpoint stores: the problem's name and settings, and the method."""
        return {"recipe": self.name, "problem": self.problem.name, **self.problem.settings(), "method": self.method}

    def settings(self) -> dict[str, Any]:
        """Return the method, and the problem's settings."""
        return {"method": self.method, "problem": self.problem.settings()}

    @classmethod
    def from_config(cls: type[R], config: Mapping[str, Any]) -> R:
        """Return the contestant of a checkpoint."""
        settings = {key: value for key, value in config.items() if key != "method"}
        return cls(config["method"], PROBLEMS[config["problem"]].from_config(settings))


def pretrained(
    recipe: ImageRecipe,
    classes: Sequence[Tensor],
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Return a classifier of all meta-training classes, trained on as many pictures as the meta-learners see.

    Args:
        recipe: the settings of the meta-learners.
        classes: one uint8 tensor of shape (examples, 28, 28) for each class of meta-training.
        augment: the random change of every picture in meta-training, if any.
        device: where to train.
    """
    return pretrain(
        replace(recipe, ways=len(classes)).make_network().to(device),
        classes,
        recipe.iterations,
        batch=recipe.meta_batch * recipe.ways * (recipe.shots + recipe.train_queries),
        lr=recipe.meta_lr,
        augment=augment,
        seed=recipe.seed,
    )


def fine_tuned(network: nn.Module, recipe: ImageRecipe, *, lr: float, steps: int, part: str) -> Method:
    """Return the method that gives a trained network a new head, and trains it on the support set by plain SGD.

    Args:
        network: a classifier of other classes.
        recipe: says how many classes a task has.
        lr: learning rate.
        steps: full-batch steps.
        part: ``"all"`` parameters are trained, or the ``"head"`` alone.
    """
    network = with_new_head(network, recipe)
    if part == "head":  # the features stay as they are, so they are computed once
        learner = from_scratch(network[-1], torch.optim.SGD, lr=lr, steps=steps)
        return by_features(network, learner, query_statistics=recipe.query_statistics)
    return from_scratch(network, torch.optim.SGD, lr=lr, steps=steps, query_statistics=recipe.query_statistics)
