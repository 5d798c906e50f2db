"""The experiment ``navigation``: the paper's table of reinforcement learning (chapter 13)."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from metasgd.evaluation import Evaluation
from metasgd.experiments.experiment import TEST_SEED, VALIDATION_SEED, Cell, Cells, Experiment, Setup, loss_curve
from metasgd.experiments.results import MEAN_RETURN, score_record
from metasgd.meta_sgd import MetaSGD
from metasgd.recipes import meta_train
from metasgd.recipes.navigation import NavigationRecipe, returns_on_new_goals
from metasgd.recipes.recipe import METHODS

NAVIGATION_SEEDS = 5
NAVIGATION_SETTINGS: dict[str, dict[str, Any]] = {  # the best of NAVIGATION_TUNING
    "meta-sgd": {},  # the defaults of the recipe are the best
    "maml": {"meta_lr": 3e-3, "task_lr": 0.02},
}
# Settings that were tried with random starts, and with a seed that the table does not have.
NAVIGATION_TUNING: dict[str, list[dict[str, Any]]] = {
    "meta-sgd": [
        {"meta_lr": meta_lr, "alpha_lr": alpha_lr}
        for meta_lr, alpha_lr in ((3e-3, 3e-3), (3e-3, 1e-2), (2e-3, 5e-3), (2e-3, 1e-2), (1e-3, 1e-2))
    ],
    "maml": [
        {"meta_lr": meta_lr, "task_lr": task_lr}
        for meta_lr, task_lr in ((3e-3, 0.01), (3e-3, 0.02), (3e-3, 0.03), (2e-3, 0.02))
    ],
}
NAVIGATION_TUNING_SEED = 11
NAVIGATION_STARTS: dict[str, dict[str, Any]] = {
    "fixed": {},
    "random": {"random_start": True, "iterations": 200},  # after 80, no run is near its best
}


def make_cells(*, seed: int = 0, **changes: Any) -> Cells:
    """Return the runs that tuned both methods, those of the paper's table, and those with the naive meta-gradient.

    The tuning has random starts and a seed of its own, and is tested on goals of its own.
    """
    seeds = range(seed, seed + NAVIGATION_SEEDS)
    cells = {}
    for method in METHODS:
        for rates in NAVIGATION_TUNING[method]:
            run = {"method": method, "seed": NAVIGATION_TUNING_SEED} | NAVIGATION_STARTS["random"] | rates
            cells[tuning_name(method, rates)] = navigation_cell("tuning", run | changes)
    for start, settings in NAVIGATION_STARTS.items():
        for method in METHODS:
            for number in seeds:
                run = {"method": method, "seed": number} | NAVIGATION_SETTINGS[method] | settings
                cells[f"{method}-{start}-seed{number}"] = navigation_cell("table", run | changes)
    for number in seeds:
        run = {"estimator": "naive", "seed": number}
        cells[f"naive-fixed-seed{number}"] = navigation_cell("naive", run | changes)
    return cells


def tuning_name(what: str, rates: Mapping[str, float]) -> str:
    """Return the name of the run that tries some rates."""
    return "-".join(["tuning", what, *(f"{key}={value}" for key, value in rates.items())])


def navigation_cell(part: str, settings: Mapping[str, Any], **fields: Any) -> Cell:
    """Return a cell, which is tested on the goals of its part, and what sets it apart beside its settings."""
    recipe, task_seed = NavigationRecipe(**settings), VALIDATION_SEED if part == "tuning" else TEST_SEED
    return Cell(part, recipe, partial(run_navigation, recipe, task_seed), fields | {"task_seed": task_seed})


def run_navigation(recipe: NavigationRecipe, task_seed: int, setup: Setup, folder: Path) -> dict[str, Any]:
    """Train one run, going on from its checkpoint if there is one, and return its returns on new goals.

    The variants of a score are the policy ``"before"`` and ``"after"`` its step, and the ``"oracle"``, which knows the
    goal.
    """
    learner, history = meta_train(recipe, device=setup.device, out=folder, resume=True)
    returns = returns_on_new_goals(learner, recipe, num_tasks=setup.tasks, seed=task_seed)
    return records_of_run(recipe, learner, history, {"goals": returns})


def records_of_run(
    recipe: NavigationRecipe,
    learner: MetaSGD,
    history: list[dict[str, float]],
    returns: Mapping[str, Mapping[str, Evaluation]],
) -> dict[str, Any]:
    """Return what a results file keeps of a trained run.

    Args:
        recipe: settings of the run.
        learner: the trained learner.
        history: of its meta-training.
        returns: by the ``data`` of a score and its variant.
    """
    return {
        "scores": [
            score_record(score, MEAN_RETURN, method=recipe.method, data=data, variant=variant)
            for data, scores in returns.items()
            for variant, score in scores.items()
        ],
        "deviation": learner.theta["log_std"].exp().tolist(),
        "loss_curve": loss_curve(history),
    }


NAVIGATION = Experiment(
    name="navigation",
    description="The paper's table of 2-D navigation by Meta-SGD and MAML, and what tuned both",
    cells=make_cells,
    recipe=NavigationRecipe,
    tasks=NavigationRecipe.num_test_tasks,
)
