"""The experiment ``omniglot-comparison``: methods at the same budget on Omniglot, and from it to MNIST (chapter 12).

Settings are chosen on a hundred characters of the meta-training set, which these runs leave out. Some methods are then
meta-trained on all characters, each drawn with a hand and a pen of its own, and tested on MNIST.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from metasgd.evaluation import Sampler
from metasgd.experiments.character_scores import Test, scores_of_test
from metasgd.experiments.comparison import COMPARED_SEEDS, Choice, Comparison
from metasgd.experiments.experiment import Cells, Experiment, Setup
from metasgd.experiments.omniglot_mnist import ALL_CHARACTERS
from metasgd.experiments.results import Results
from metasgd.recipes.omniglot import TRAINING, VALIDATION, OmniglotRecipe

CHOICES: dict[str, Choice] = {
    "meta-sgd": Choice(0.1, 3e-3),
    "layer-rates": Choice(0.03, 3e-3),
    "one-rate": Choice(0.1, 3e-3),
    "maml": Choice(0.1, 3e-3),
    "protonet": Choice(None, 3e-3),
}
TO_MNIST = ("meta-sgd", "layer-rates", "maml", "protonet")  # which are meta-trained for MNIST, too


def validation_characters(recipe: OmniglotRecipe, setup: Setup) -> Sampler:
    """Return tasks of the characters on which settings are chosen."""
    drawings = recipe.load_data(setup.root)
    return recipe.character_tasks(drawings, recipe.split_characters()[1], setup.device)


def of_the_test(tests: Sequence[Test], recipe: OmniglotRecipe, setup: Setup) -> list[dict[str, Any]]:
    """Return the scores of methods on the characters that the recipe leaves out, or on MNIST if it leaves none."""
    return scores_of_test(tests, recipe, setup.tasks, root=setup.root, device=setup.device)


def some_characters(recipe: OmniglotRecipe, setup: Setup, count: int) -> tuple[Sequence[Tensor], Any]:
    """Return classes of meta-training, which are not changed."""
    return recipe.training_classes(recipe.load_data(setup.root))[:count], None


CHARACTERS = Comparison(
    recipe=OmniglotRecipe,
    choices=CHOICES,
    chosen_on="validation characters",
    validation=validation_characters,
    scores=of_the_test,
    data=lambda recipe, setup: recipe.load_data(setup.root),
    classes=some_characters,
    tuning={"characters": TRAINING - VALIDATION},
)


def make_cells(*, seed: int = 0, **changes: Any) -> Cells:
    """Return the runs on Omniglot, and those that are tested on MNIST; see ``Comparison.make_cells``."""
    cells = dict(CHARACTERS.make_cells(seed=seed, **changes))
    for method in TO_MNIST:
        for start in range(seed, seed + COMPARED_SEEDS):
            cells |= to_mnist_cell(method, CHOICES[method], {"seed": start} | changes)
    return cells


def to_mnist_cell(method: str, choice: Choice, changes: dict[str, Any]) -> Cells:
    """Return one run of a method on all characters, redrawn, which is tested on MNIST."""
    return CHARACTERS.compared_cell(method, choice, ALL_CHARACTERS | changes, part="to MNIST", prefix="mnist-")


def compared(results: Results, shots: int, part: str = "comparison") -> dict[str, Tensor]:
    """Return the accuracies of every method, each float64 of shape (runs,), in the order of seeds.

    Args:
        results: those of ``omniglot-comparison``.
        shots: of the test tasks.
        part: ``"comparison"``, tested on other characters, or ``"to MNIST"``.
    """
    found: dict[str, dict[int, float]] = {}
    for cell in results.select(part=part):
        found.setdefault(cell["method"], {})[cell.config["seed"]] = cell.score(shots=shots).mean
    return {
        method: torch.tensor([runs[seed] for seed in sorted(runs)], dtype=torch.float64)
        for method, runs in found.items()
    }


OMNIGLOT_COMPARISON = Experiment(
    name="omniglot-comparison",
    description="Several methods at the same budget on Omniglot, and some of them from Omniglot to MNIST",
    cells=make_cells,
    recipe=OmniglotRecipe,
    data="omniglot",
    tasks=300,
    compiled=True,
)
