"""The experiment ``mnist-tuning``: the settings of every compared method, chosen on validation digits (chapter 11)."""

from functools import partial
from pathlib import Path
from typing import Any

from metasgd.baselines import nearest_class_mean
from metasgd.evaluation import Method, evaluate
from metasgd.experiments.experiment import TEST_SEED, VALIDATION_SEED, Cell, Cells, Experiment, Setup, loss_curve
from metasgd.experiments.mnist_folds import CURVE_EVERY
from metasgd.experiments.results import score_record
from metasgd.meta_sgd import MetaSGD
from metasgd.rates import changes_of_rates, rate_statistics, with_rates
from metasgd.recipes import Contestant, meta_train
from metasgd.recipes.contestants import fine_tuned, pretrained
from metasgd.recipes.images import QUERIES
from metasgd.recipes.mnist import MnistRecipe
from metasgd.recipes.pretraining import by_features
from metasgd.tasks import Augment

FINE_TUNING, FEATURE_MEANS = "fine-tuning", "class means of features"
TUNING_RUN: dict[str, Any] = {"fold": 1, "iterations": 150, "validation_digits": (7, 9), "num_composites": 30}
TUNING_GRID: dict[str, list[dict[str, Any]]] = {
    **{
        name: [{"task_lr": lr} for lr in (0.1, 0.3)]
        for name in ("meta-sgd", "layer-rates", "one-rate", "body-only", "nonnegative")
    },
    **{name: [{"task_lr": lr} for lr in (0.1, 0.3, 1.0)] for name in ("head-only", "anil")},
    **{name: [{"task_lr": lr} for lr in (0.03, 0.1, 0.3)] for name in ("maml", "first-order", "first-order-maml")},
    "three-steps": [{"task_lr": lr, "inner_steps": 3} for lr in (0.03, 0.1)],
    "reptile": [{"task_lr": lr, "inner_steps": 5, "meta_lr": 1.0} for lr in (0.03, 0.1, 0.3)],
    "protonet": [{"meta_lr": lr} for lr in (2e-3, 5e-3)],
    FINE_TUNING: [{}],
}
FINE_TUNING_GRID: list[dict[str, Any]] = [
    {"lr": lr, "steps": steps, "part": part}
    for part in ("all", "head")
    for lr in (0.01, 0.03, 0.1, 0.3, 1.0)
    for steps in (5, 20)
]
# The settings that each method takes from its grid: the best of book/results/mnist-tuning.json, which a test checks.
METHOD_SETTINGS: dict[str, dict[str, Any]] = {
    **{key: {"task_lr": 0.1} for key in ("meta-sgd", "layer-rates", "one-rate", "nonnegative")},
    **{key: {"task_lr": 0.1} for key in ("maml", "first-order", "first-order-maml")},
    "three-steps": {"task_lr": 0.1, "inner_steps": 3},
    "head-only": {"task_lr": 0.3},
    "body-only": {"task_lr": 0.1},
    "anil": {"task_lr": 0.3},
    "reptile": {"task_lr": 0.1, "inner_steps": 5, "meta_lr": 1.0},
    "protonet": {"meta_lr": 5e-3},
    FINE_TUNING: {},
}
METHOD_FINE_TUNING: dict[str, Any] = {"lr": 0.1, "steps": 20, "part": "all"}


def make_cells(**changes: Any) -> Cells:
    """Return short runs of every method with each setting of its grid, tested on validation digits of fold 1."""
    return {
        "-".join([method, *map(str, settings.values())]): method_cell(
            "tuning", method, MnistRecipe(**TUNING_RUN | settings | changes)
        )
        for method, grid in TUNING_GRID.items()
        for settings in grid
    }


def method_cell(part: str, method: str, recipe: MnistRecipe) -> Cell:
    """Return the cell of one method, tested on validation digits if the recipe has some, else on held-out digits."""
    task_seed = VALIDATION_SEED if recipe.validation_digits else TEST_SEED
    return Cell(part, recipe, partial(run_method, method, recipe), {"method": method, "task_seed": task_seed})


def run_method(method: str, recipe: MnistRecipe, setup: Setup, folder: Path) -> dict[str, Any]:
    """Train one method, going on from its checkpoint if there is one, and test it.

    In a test on held-out digits, the number of right answers in every task is kept, so that methods can be compared
    task by task.
    """
    kept: dict[str, Any] = {}
    if method == FINE_TUNING:
        tests = fine_tuning_tests(recipe, setup)
    else:
        tests, kept = meta_learner_tests(method, recipe, setup, folder)
    validation = recipe.validation_tasks(setup.mnist, setup.device)
    if validation:
        sampler, tasks, seed = validation, setup.tasks // 6, VALIDATION_SEED
        tested: dict[str, Any] = {"data": "validation digits"}
    else:
        sampler, tasks, seed = recipe.test_tasks(setup.mnist, setup.device), setup.tasks, TEST_SEED
        tested = {"data": "held-out digits", "answers": recipe.ways * QUERIES}
    tested |= {"ways": recipe.ways, "shots": recipe.shots}
    scores = [
        score_record(evaluate(learner, sampler, tasks, seed=seed), **tested, **identity) for learner, identity in tests
    ]
    return {"scores": scores, **kept}


def fine_tuning_tests(recipe: MnistRecipe, setup: Setup) -> list[tuple[Method, dict[str, Any]]]:
    """Train a classifier of all meta-training classes, and return what is tested, each with what its record says.

    With validation digits, fine-tuning is tested with every entry of ``FINE_TUNING_GRID``.
    """
    augment = Augment() if recipe.augment else None
    network = pretrained(recipe, recipe.training_classes(setup.mnist), augment, setup.device)
    tests: list[tuple[Method, dict[str, Any]]] = []
    if recipe.validation_digits:
        for settings in FINE_TUNING_GRID:
            tests.append((fine_tuned(network, recipe, **settings), {"method": FINE_TUNING, "settings": settings}))
    else:
        tests.append((fine_tuned(network, recipe, **METHOD_FINE_TUNING), {"method": FINE_TUNING}))
    means = by_features(network, nearest_class_mean, query_statistics=recipe.query_statistics)
    return [*tests, (means, {"method": FEATURE_MEANS})]


def meta_learner_tests(
    method: str, recipe: MnistRecipe, setup: Setup, folder: Path
) -> tuple[list[tuple[Method, dict[str, Any]]], dict[str, Any]]:
    """Meta-train a method; return what is tested, each with what its record says, and what else is kept of the run.

    A summary of the learned rates is kept, and Meta-SGD is tested again with changes to them.
    """
    contestant = Contestant(method, recipe)
    learner, history = meta_train(contestant, setup.mnist, device=setup.device, out=folder, resume=True)
    tests: list[tuple[Method, dict[str, Any]]] = [(learner, {"method": method})]
    kept: dict[str, Any] = {"loss_curve": loss_curve(history, CURVE_EVERY)}
    if isinstance(learner, MetaSGD) and learner.learns_alpha:
        kept["rates"] = rate_statistics(learner)
        if method == "meta-sgd" and not recipe.validation_digits:
            for variant, change in changes_of_rates(learner).items():
                tests.append((with_rates(learner, change), {"method": method, "variant": variant}))
    return tests, kept


MNIST_TUNING = Experiment(
    name="mnist-tuning",
    description="The settings of every compared method, on validation digits",
    cells=make_cells,
    recipe=MnistRecipe,
    data="mnist",
)
