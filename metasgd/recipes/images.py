"""What the recipes of few-shot image classification share: the network, and the comparison of methods."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch
from torch import nn

from metasgd.baselines import from_scratch, nearest_class_mean
from metasgd.evaluation import Evaluation, Method, evaluate
from metasgd.meta_sgd import MetaSGD
from metasgd.models import convnet
from metasgd.recipes.recipe import Recipe, seeded, setting
from metasgd.strategies.query_statistics import QUERIES as TOGETHER
from metasgd.strategies.query_statistics import QUERY_STATISTICS

READING = "query_statistics"  # the name of the setting
QUERIES = 15  # query pictures of each class in a test task, as everywhere in the literature
SGD, ADAM = "from scratch, SGD", "from scratch, Adam"
# By shots: optimiser, learning rate, steps. The best of book/results/mnist-scratch.json, which a test checks.
SCRATCH = {
    1: {SGD: (torch.optim.SGD, 0.1, 10), ADAM: (torch.optim.Adam, 0.01, 10)},
    5: {SGD: (torch.optim.SGD, 0.1, 10), ADAM: (torch.optim.Adam, 0.01, 10)},
}


def method_or_first_order() -> str:
    """Return the field ``method`` of a recipe that also trains without second derivatives."""
    return setting(
        "meta-sgd",
        "what is trained: first-order is Meta-SGD without second derivatives, maml holds alpha at task_lr",
        choices=("meta-sgd", "first-order", "maml"),
    )


def reading_of_queries() -> str:
    """Return the field ``query_statistics`` of a recipe."""
    return setting(
        TOGETHER,
        "by what batch norm normalises queries, in meta-training, validation and test: all queries of a task, its "
        "support set, or this and the one query (slow, and not compiled)",
        choices=QUERY_STATISTICS,
    )


class ImageRecipe(Recipe):
    """A recipe whose tasks are N-way K-shot episodes of pictures, and whose network is the convnet of chapter 8.

    Attributes:
        size: the height and width of the pictures in pixels.
        colour: whether they have three channels, red, green and blue; else one grey one.
        ink: whether they are drawings that ``metasgd.data.ink_like_mnist`` has made like MNIST's digits.
        like_mnist: whether they are bright ink on black.
        test_shots: with how many shots a learner is tested (empty: with as many as it was trained with).
    """

    test_shots: ClassVar[tuple[int, ...]] = ()
    size: int = 28
    colour: bool = False
    ink: bool = False
    like_mnist: bool = True
    ways: int
    shots: int
    width: int
    inner_steps: int
    train_queries: int
    meta_lr: float
    alpha_lr: float
    task_lr: float
    query_statistics: str

    def build_network(self) -> nn.Sequential:
        """Return the convnet, drawing its start from the global random state."""
        return convnet(self.ways, width=self.width, channels=3 if self.colour else 1, size=self.size)

    def make_network(self) -> nn.Sequential:
        """Return the convnet at its random start: the same seed gives the same start, on every device."""
        return seeded(self.seed, self.build_network)

    def learner_options(self, network: nn.Module, device: torch.device) -> dict[str, Any]:
        """Return the arguments of ``MetaSGD``, by the settings that all recipes of pictures have."""
        return {
            "meta_lr": self.meta_lr,
            "alpha_lr": self.alpha_lr,
            "task_lr": self.task_lr,
            "inner_steps": self.inner_steps,
            "first_order": self.method == "first-order",
            "learn_alpha": self.method != "maml",
            "query_statistics": self.query_statistics,
        }

    def settings(self) -> dict[str, Any]:
        """Return the settings by name, without ``query_statistics`` where queries are read together.

        So a checkpoint or a results file that says nothing of it is of a run whose queries were read together.
        """
        left_out = READING if self.query_statistics == TOGETHER else None
        return {name: value for name, value in super().settings().items() if name != left_out}

    def for_pictures(self, learner: MetaSGD) -> MetaSGD:
        """Return a trained learner that takes pictures as they are: this one, unless tasks show them otherwise."""
        return learner

    def compare(
        self,
        methods: Mapping[str, Method],
        data: Any,
        num_tasks: int | None = None,
        *,
        seed: int = 0,
        device: torch.device | str = "cpu",
        progress: bool = False,
    ) -> dict[str, Evaluation]:
        """Return the accuracy of several methods, by name, on the same test tasks.

        With several ``test_shots``, there is a score for each of them, named as in ``"maml, 5-shot"``.

        Args:
            methods: what is compared, by name.
            data: what ``load_test_data`` returns.
            num_tasks: how many tasks (None: ``num_test_tasks``).
            seed: of the tasks.
            device: where tasks are drawn.
            progress: show a bar for each method on standard error.
        """
        scores, count = {}, self.num_test_tasks if num_tasks is None else num_tasks
        for shots in self.test_shots or (self.shots,):
            tasks, of_shots = replace(self, shots=shots).test_tasks(data, device), f", {shots}-shot"
            for name, method in methods.items():
                found = evaluate(method, tasks, count, seed=seed, progress=progress)
                scores[name + of_shots if self.test_shots else name] = found
        return scores

    def test(
        self, learner: MetaSGD, data: Any, num_tasks: int | None = None, *, seed: int = 0, progress: bool = False
    ) -> dict[str, Evaluation]:
        """Return the accuracy of a trained learner; see ``Recipe.test`` for the arguments."""
        device = next(learner.parameters()).device
        return self.compare({self.method: learner}, data, num_tasks, seed=seed, device=device, progress=progress)


def support_only_methods(
    recipe: ImageRecipe, device: torch.device | str = "cpu", *, query_statistics: str | None = None
) -> dict[str, Method]:
    """Return the methods that learn from a support set alone: the pixels' class means, and training from scratch.

    The learning rate and the number of steps of training from scratch were tuned on tasks of fold 0's digits 5 to 9
    (``python -m metasgd experiment mnist-scratch``).

    Args:
        recipe: settings of the network and of the tasks.
        device: where the network lives.
        query_statistics: how training from scratch reads queries, as in ``MetaSGD`` (None: as the recipe says).
    """
    reads_by = recipe.query_statistics if query_statistics is None else query_statistics
    methods: dict[str, Method] = {"nearest class mean": nearest_class_mean}
    for name, (optimizer, lr, steps) in SCRATCH[recipe.shots if recipe.shots in SCRATCH else 1].items():
        network = recipe.make_network().to(device)
        methods[name] = from_scratch(network, optimizer, lr=lr, steps=steps, query_statistics=reads_by)
    return methods
