"""The experiment ``mnist-scratch``: the settings of training from scratch (chapter 8)."""

from functools import partial
from pathlib import Path
from typing import Any

import torch

from metasgd.baselines import from_scratch
from metasgd.evaluation import evaluate
from metasgd.experiments.experiment import TEST_SEED, Cell, Cells, Experiment, Setup
from metasgd.experiments.results import score_record
from metasgd.recipes.images import ADAM, SGD
from metasgd.recipes.mnist import MnistRecipe

SCRATCH_RATES = {SGD: (0.01, 0.03, 0.1, 0.3), ADAM: (0.001, 0.003, 0.01, 0.03)}
SCRATCH_STEPS = (5, 10)
OPTIMIZERS = {SGD: torch.optim.SGD, ADAM: torch.optim.Adam}


def make_cells(**changes: Any) -> Cells:
    """Return the grid that tunes training from scratch, on tasks of fold 0's meta-training digits.

    Other folds hold some of these digits out, so there the tuning favours training from scratch.
    """
    cells = {}
    for shots in (1, 5):
        recipe = MnistRecipe(**{"shots": shots} | changes)
        for method, rates in SCRATCH_RATES.items():
            for lr in rates:
                run = partial(try_rate, recipe, method, lr)
                cells[f"{shots}shot-{method}-{lr}"] = Cell("tuning", recipe, run, {"method": method, "lr": lr})
    return cells


def try_rate(recipe: MnistRecipe, method: str, lr: float, setup: Setup, folder: Path) -> dict[str, Any]:
    """Return the accuracy of training from scratch at one learning rate, for several numbers of steps."""
    sampler, network = recipe.own_digits_tasks(setup.mnist, setup.device), recipe.make_network().to(setup.device)
    scores = []
    for steps in SCRATCH_STEPS:
        learner = from_scratch(network, OPTIMIZERS[method], lr=lr, steps=steps)
        found = evaluate(learner, sampler, setup.tasks // 10, seed=TEST_SEED)
        tested: dict[str, Any] = {"method": method, "data": "own digits", "settings": {"steps": steps}}
        scores.append(score_record(found, ways=recipe.ways, shots=recipe.shots, **tested))
    return {"scores": scores}


MNIST_SCRATCH = Experiment(
    name="mnist-scratch",
    description="The learning rate and the number of steps of training from scratch",
    cells=make_cells,
    recipe=MnistRecipe,
    data="mnist",
)
