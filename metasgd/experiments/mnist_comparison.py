"""The experiment ``mnist-comparison``: several methods on the same glyphs at the same budget (chapter 8).

Each method sees as many tasks of random glyphs, from the same network at the same start. Its inner and its outer rate
are chosen on tasks of other glyphs, so that no choice has seen a digit. Three runs of each method are then tested on
the five digits of every fold.
"""

from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor

from metasgd.evaluation import Sampler, evaluate
from metasgd.experiments.experiment import VALIDATION_SEED, Cell, Cells, Experiment, Setup
from metasgd.experiments.mnist import by_run, scores_in_folds
from metasgd.experiments.results import Results, score_record
from metasgd.experiments.reuse import meta_train_cell
from metasgd.meta_sgd import MetaSGD
from metasgd.recipes import Contestant, meta_train
from metasgd.recipes.contestants import GRADIENT_METHODS
from metasgd.recipes.glyphs import GlyphsRecipe

COMPARED_SEEDS = 3  # runs of each method
OTHER_GLYPHS = 1000  # the seed of the glyphs on which settings are chosen
BUDGET: dict[str, Any] = {"iterations": 750}
TUNING_BUDGET: dict[str, Any] = {"iterations": 200}
LADDER = (1e-3, 3e-3, 0.01, 0.03, 0.1, 0.3, 1.0)  # of rates
INNER, OUTER = (0.03, 0.3), (1e-3, 1e-2)  # the rates that are tried at least: those between the two
FIRST_OUTER = 3e-3  # the outer rate with which inner rates are tried
# The inner and the outer rate that each method takes: the best on other glyphs, as a test checks.
RATES: dict[str, tuple[float | None, float]] = {
    "meta-sgd": (0.1, 3e-3),
    "layer-rates": (0.03, 3e-3),
    "first-order": (0.03, 3e-3),
    "maml": (0.1, 3e-3),
    "first-order-maml": (0.1, 3e-3),
    "anil": (0.3, 3e-3),
    "protonet": (None, 0.01),  # which takes no inner step
}


def make_cells(*, seed: int = 0, **changes: Any) -> Cells:
    """Return the short runs by which the rates are chosen, and three runs of every method with its rates.

    Args:
        seed: of the first run of each method.
        changes: settings that differ from the book's in every run.
    """
    cells: dict[str, Cell] = {}
    for method, (inner, outer) in RATES.items():
        tried: list[tuple[float | None, float]] = []
        if inner is not None:
            tried += [(rate, FIRST_OUTER) for rate in around(inner, INNER)]
        tried += [(inner, rate) for rate in around(outer, OUTER)]
        for rates in tried:
            recipe = recipe_of(*rates, **TUNING_BUDGET | changes)
            with_inner = "" if rates[0] is None else f"-inner{rates[0]:g}"
            name = f"tuning-{method}{with_inner}-outer{rates[1]:g}"
            cells[name] = Cell("tuning", recipe, partial(run_tuning, method, recipe), {"method": method})
        for start in range(seed, seed + COMPARED_SEEDS):
            recipe = recipe_of(inner, outer, **BUDGET | {"seed": start} | changes)
            run = partial(run_compared, method, recipe)
            cells[f"{method}-seed{start}"] = Cell("comparison", recipe, run, {"method": method})
    return cells


def recipe_of(inner: float | None, outer: float, **settings: Any) -> GlyphsRecipe:
    """Return the settings of a run with an inner rate, if the method has one, and an outer rate."""
    rates = {"meta_lr": outer, "alpha_lr": outer} | ({} if inner is None else {"task_lr": inner})
    return GlyphsRecipe(**rates | settings)


def around(chosen: float, ends: tuple[float, float]) -> list[float]:
    """Return the rates that are tried: all between two ends, and beyond these up to the neighbours of the chosen."""
    place = LADDER.index(chosen)
    low, high = LADDER[max(0, place - 1)], LADDER[min(len(LADDER) - 1, place + 1)]
    return [rate for rate in LADDER if min(low, ends[0]) <= rate <= max(high, ends[1])]


def run_tuning(method: str, recipe: GlyphsRecipe, setup: Setup, folder: Path) -> dict[str, Any]:
    """Train a method for a short time, going on from its checkpoint if there is one, and test it on other glyphs."""
    learner = meta_learned(method, recipe, setup, folder)
    found = evaluate(learner, other_glyphs(recipe, setup), 2 * setup.tasks, seed=VALIDATION_SEED)
    said: dict[str, Any] = {"data": "other glyphs", "ways": recipe.ways, "shots": recipe.shots}
    return {"scores": [score_record(found, method=method, **said)]}


def run_compared(method: str, recipe: GlyphsRecipe, setup: Setup, folder: Path) -> dict[str, Any]:
    """Train a method, going on from its checkpoint if there is one, and test it on the digits of every fold."""
    learner = meta_learned(method, recipe, setup, folder)
    tests = [(method, None, learner)]
    return {"scores": scores_in_folds(tests, recipe, setup.tasks, images=setup.mnist, device=setup.device)}


def meta_learned(method: str, recipe: GlyphsRecipe, setup: Setup, folder: Path) -> MetaSGD:
    """Return a meta-trained learner; methods whose meta-gradient can be compiled are, if the setup says so."""
    contestant = Contestant(method, recipe)
    if method in GRADIENT_METHODS:
        return meta_train_cell(contestant, (), (method, recipe.width), setup, folder)[0]
    return meta_train(contestant, (), device=setup.device, out=folder, resume=True)[0]


def other_glyphs(recipe: GlyphsRecipe, setup: Setup) -> Sampler:
    """Return tasks of glyphs that no run has met, by which settings are chosen."""
    made = GlyphsRecipe(ways=recipe.ways, shots=recipe.shots, deslant=recipe.deslant, seed=OTHER_GLYPHS)
    return made.training_tasks(None, setup.device)


def compared(results: Results, shots: int) -> dict[str, Tensor]:
    """Return the accuracies of every method, each float64 of shape (runs, folds), the runs in the order of seeds.

    Args:
        results: those of ``mnist-comparison``.
        shots: of the test tasks.
    """
    return {method: by_run(results, "comparison", shots, method=method) for method in RATES}


MNIST_COMPARISON = Experiment(
    name="mnist-comparison",
    description="Several methods at the same budget on random glyphs, tested on the digits of every fold",
    cells=make_cells,
    recipe=GlyphsRecipe,
    data="mnist",
    tasks=100,
    compiled=True,
)
