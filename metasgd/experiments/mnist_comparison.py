"""The experiment ``mnist-comparison``: every method on the same glyphs at the same budget (chapters 8 and 11).

Each method sees as many tasks of as many pictures of random glyphs, from the same network at the same start. Its inner
and its outer rate are chosen on tasks of other glyphs, so that no choice has seen a digit. Three runs of each method
are then tested on the five digits of every fold.
"""

from functools import partial
from pathlib import Path
from typing import Any

from metasgd.baselines import nearest_class_mean
from metasgd.evaluation import Method, Sampler, evaluate
from metasgd.experiments.character_scores import Test
from metasgd.experiments.experiment import VALIDATION_SEED, Cell, Cells, Experiment, Setup
from metasgd.experiments.mnist import scores_in_folds
from metasgd.experiments.results import score_record
from metasgd.meta_sgd import MetaSGD
from metasgd.recipes import Contestant, meta_train
from metasgd.recipes.contestants import GRADIENT_METHODS, fine_tuned, pretrained
from metasgd.recipes.glyphs import UNSTEADY, GlyphsRecipe, alike, written
from metasgd.recipes.images import support_only_methods
from metasgd.recipes.pretraining import by_features
from metasgd.tasks.handwriting import mirrored

FINE_TUNING, FEATURE_MEANS, FROM_SUPPORT = "fine-tuning", "class means of features", "support set alone"
COMPARED_SEEDS = 3  # runs of each method
OTHER_GLYPHS = 1000  # the seed of the glyphs on which settings are chosen
BUDGET: dict[str, Any] = {"iterations": 750}
TUNING_BUDGET: dict[str, Any] = {"iterations": 200}
INNER, OUTER = (0.03, 0.1, 0.3, 1.0), (1e-3, 3e-3, 1e-2)
# What sets a method apart, apart from its rates.
STEPS: dict[str, dict[str, Any]] = {
    "three-steps": {"inner_steps": 3},
    "maml-three-steps": {"inner_steps": 3},
    "reptile": {"inner_steps": 5},
}
FINE_TUNING_GRID: list[dict[str, Any]] = [
    {"lr": lr, "steps": steps, "part": part}
    for part in ("all", "head")
    for lr in (0.03, 0.1, 0.3, 1.0)
    for steps in (5, 20)
]

_learners: dict[Any, MetaSGD] = {}  # of this process, whose compiled steps serve all runs of a method


def recipe_of(method: str, inner: float | None, outer: float, **settings: Any) -> GlyphsRecipe:
    """Return the settings of a run.

    Args:
        method: its name.
        inner: alpha at the start (None: the method has no inner step that is meta-trained).
        outer: beta and gamma.
        settings: others.
    """
    rates = {"meta_lr": outer, "alpha_lr": outer} | ({} if inner is None else {"task_lr": inner})
    return GlyphsRecipe(**STEPS.get(method, {}) | rates | settings)


def tuning_cell(method: str, inner: float | None, outer: float, **changes: Any) -> tuple[str, Cell]:
    """Return the name and the cell of a short run, which is tested on other glyphs."""
    recipe = recipe_of(method, inner, outer, **TUNING_BUDGET | changes)
    name = f"tuning-{method}-{'' if inner is None else f'inner{inner:g}-'}outer{outer:g}"
    return name, Cell("tuning", recipe, partial(run_method, method, recipe, True), {"method": method})


def compared_cell(method: str, inner: float | None, outer: float, seed: int, **changes: Any) -> tuple[str, Cell]:
    """Return the name and the cell of a run, which is tested on the digits of every fold."""
    recipe = recipe_of(method, inner, outer, **BUDGET | {"seed": seed} | changes)
    return f"{method}-seed{seed}", Cell(
        "comparison", recipe, partial(run_method, method, recipe, False), {"method": method}
    )


def run_method(method: str, recipe: GlyphsRecipe, is_tuning: bool, setup: Setup, folder: Path) -> dict[str, Any]:
    """Train one method, going on from its checkpoint if there is one, and test it.

    Args:
        method: its name.
        recipe: the settings of the run.
        is_tuning: test it on tasks of other glyphs, else on the digits of every fold.
        setup: of all cells.
        folder: of the checkpoint.
    """
    if method == FROM_SUPPORT:
        return {"scores": [score for shots in (1, 5) for score in from_support(recipe, shots, setup)]}
    if method == FINE_TUNING:
        tests = fine_tuning_tests(recipe, is_tuning, setup)
    else:
        tests = [(method, {}, meta_learned(method, recipe, setup, folder))]
    if is_tuning:
        sampler, count = other_glyphs(recipe, setup), setup.tasks * 2
        return {
            "scores": [
                score_record(
                    evaluate(learner, sampler, count, seed=VALIDATION_SEED),
                    method=name,
                    data="other glyphs",
                    ways=recipe.ways,
                    shots=recipe.shots,
                    settings=settings,
                )
                for name, settings, learner in tests
            ]
        }
    named: list[Test] = [(name, None, learner) for name, _, learner in tests]
    return {"scores": scores_in_folds(named, recipe, setup.tasks, images=setup.mnist, device=setup.device)}


def meta_learned(method: str, recipe: GlyphsRecipe, setup: Setup, folder: Path) -> MetaSGD:
    """Return a meta-trained learner; methods whose meta-gradient can be compiled are, if the setup says so."""
    compiled = setup.compile and method in GRADIENT_METHODS
    key = (method, setup.device, compiled)
    learner, _ = meta_train(
        Contestant(method, recipe),
        device=setup.device,
        out=folder,
        resume=True,
        compile=compiled,
        learner=_learners.get(key) if compiled else None,
        data=(),
    )
    _learners[key] = learner
    return learner


def fine_tuning_tests(recipe: GlyphsRecipe, is_tuning: bool, setup: Setup) -> list[tuple[str, dict[str, Any], Method]]:
    """Train a classifier of all glyphs, and return what is tested: name, settings and method.

    In tuning, it is fine-tuned with every entry of ``FINE_TUNING_GRID``.
    """
    classes = [*mirrored(written(recipe.seed)), *mirrored(alike(recipe.seed))]
    network = pretrained(recipe, classes, recipe.seen(UNSTEADY), setup.device)
    grid = FINE_TUNING_GRID if is_tuning else [CHOSEN_FINE_TUNING]
    tests = [(FINE_TUNING, settings, fine_tuned(network, recipe, **settings)) for settings in grid]
    means = by_features(network, nearest_class_mean, query_statistics=recipe.query_statistics)
    return [*tests, (FEATURE_MEANS, {}, means)]


def other_glyphs(recipe: GlyphsRecipe, setup: Setup) -> Sampler:
    """Return tasks of glyphs that no run has met, by which settings are chosen."""
    made = GlyphsRecipe(ways=recipe.ways, shots=recipe.shots, deslant=recipe.deslant, seed=OTHER_GLYPHS)
    return made.training_tasks(None, setup.device)


def from_support(recipe: GlyphsRecipe, shots: int, setup: Setup) -> list[dict[str, Any]]:
    """Return the records of the methods that learn from a support set alone, with a number of shots."""
    trained = GlyphsRecipe(ways=recipe.ways, shots=shots, deslant=recipe.deslant, seed=recipe.seed)
    tests: list[Test] = [(name, None, method) for name, method in support_only_methods(trained, setup.device).items()]
    records = scores_in_folds(tests, recipe, setup.tasks, images=setup.mnist, device=setup.device)
    return [record for record in records if record["shots"] == shots]


# The inner and the outer rate that each method takes: the best on other glyphs, as a test checks.
RATES: dict[str, tuple[float | None, float]] = {
    **{name: (0.1, 3e-3) for name in GRADIENT_METHODS},
    "reptile": (0.1, 1.0),
    "protonet": (None, 3e-3),
    FINE_TUNING: (None, 3e-3),
}
CHOSEN_FINE_TUNING: dict[str, Any] = {"lr": 0.1, "steps": 20, "part": "all"}


def make_cells(*, seed: int = 0, **changes: Any) -> Cells:
    """Return the short runs by which the rates are chosen, and three runs of every method with its rates.

    Args:
        seed: of the first run of each method.
        changes: settings that differ from the book's in every run.
    """
    cells: dict[str, Cell] = {}
    for method, (inner, outer) in RATES.items():
        grid = [] if inner is None else [(rate, RATES[method][1]) for rate in INNER]
        cells |= dict(tuning_cell(method, *rates, **changes) for rates in grid + [(inner, rate) for rate in OUTER])
        cells |= dict(compared_cell(method, inner, outer, seed + run, **changes) for run in range(COMPARED_SEEDS))
    return cells


MNIST_COMPARISON = Experiment(
    name="mnist-comparison",
    description="Every method at the same budget on random glyphs, tested on the digits of every fold",
    cells=make_cells,
    recipe=GlyphsRecipe,
    data="mnist",
    tasks=100,
    compiled=True,
)
