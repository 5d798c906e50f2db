"""The experiment ``mnist-comparison``: several methods on the same glyphs at the same budget (chapter 8).

Each method sees as many tasks of random glyphs, from the same network at the same start. Its settings are chosen on
tasks of other glyphs, so that no choice has seen a digit. Three runs of each method are then tested on the five digits
of every fold.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from metasgd.evaluation import Sampler
from metasgd.experiments.character_scores import Test
from metasgd.experiments.comparison import Choice, Comparison
from metasgd.experiments.experiment import Experiment, Setup
from metasgd.experiments.mnist import by_run, scores_in_folds
from metasgd.experiments.mnist_tuning import FEATURE_MEANS, FINE_TUNING
from metasgd.experiments.results import Results
from metasgd.recipes.glyphs import GlyphsRecipe, alike, written
from metasgd.tasks.handwriting import UNSTEADY

OTHER_GLYPHS = 1000  # the seed of the glyphs on which settings are chosen
CHOICES: dict[str, Choice] = {
    "meta-sgd": Choice(0.1, 3e-3),
    "layer-rates": Choice(0.03, 3e-3),
    "three-steps": Choice(0.1, 0.01),
    "first-order": Choice(0.03, 3e-3),
    "maml": Choice(0.1, 3e-3),
    "maml-three-steps": Choice(0.1, 3e-3),
    "first-order-maml": Choice(0.1, 3e-3),
    "anil": Choice(0.3, 3e-3),
    "protonet": Choice(None, 0.01),
    "reptile": Choice(0.1, 0.3),
    FINE_TUNING: Choice(outer=3e-3, classes=100, descent={"lr": 0.1, "steps": 320, "part": "head"}),
    FEATURE_MEANS: Choice(outer=0.01, classes=100),
}


def other_glyphs(recipe: GlyphsRecipe, setup: Setup) -> Sampler:
    """Return tasks of glyphs that no run has met, by which settings are chosen."""
    made = GlyphsRecipe(ways=recipe.ways, shots=recipe.shots, deslant=recipe.deslant, seed=OTHER_GLYPHS)
    return made.training_tasks(None, setup.device)


def in_folds(tests: Sequence[Test], recipe: GlyphsRecipe, setup: Setup) -> list[dict[str, Any]]:
    """Return the scores of methods on the held-out digits of every fold."""
    return scores_in_folds(tests, recipe, setup.tasks, images=setup.mnist, device=setup.device)


def some_glyphs(recipe: GlyphsRecipe, setup: Setup, count: int) -> tuple[Sequence[Tensor], Any]:
    """Return glyphs of both kinds, half and half, and how a hand changes them."""
    both = torch.cat([written(recipe.seed)[: count // 2], alike(recipe.seed)[: count - count // 2]])
    return list(both), recipe.seen(UNSTEADY)


GLYPHS = Comparison(
    recipe=GlyphsRecipe,
    choices=CHOICES,
    chosen_on="other glyphs",
    validation=other_glyphs,
    scores=in_folds,
    data=lambda recipe, setup: (),  # glyphs need none
    classes=some_glyphs,
)


def compared(results: Results, shots: int) -> dict[str, Tensor]:
    """Return the accuracies of every method, each float64 of shape (runs, folds), the runs in the order of seeds.

    Args:
        results: those of ``mnist-comparison``.
        shots: of the test tasks.
    """
    return {method: by_run(results, "comparison", shots, method=method) for method in CHOICES}


MNIST_COMPARISON = Experiment(
    name="mnist-comparison",
    description="Several methods at the same budget on random glyphs, tested on the digits of every fold",
    cells=GLYPHS.make_cells,
    recipe=GlyphsRecipe,
    data="mnist",
    tasks=100,
    compiled=True,
)
