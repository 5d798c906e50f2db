"""The experiment ``mnist``: five new digits from one picture of each, after random glyphs (chapters 1 and 8).

Glyphs alone need no picture, so one run of them serves all five folds: no digit of any fold was met. A run of a fold
goes on from such a run, with the fold's five meta-training digits among its tasks. What the glyphs are, and whether
slant is taken out, is chosen on the meta-training digits of each fold, which such runs have not met either.
"""

from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from metasgd.baselines import nearest_class_mean
from metasgd.evaluation import Method, evaluate
from metasgd.experiments.experiment import TEST_SEED, VALIDATION_SEED, Cell, Cells, Experiment, Setup, loss_curve
from metasgd.experiments.results import score_record
from metasgd.meta_sgd import MetaSGD
from metasgd.recipes import meta_train
from metasgd.recipes.glyphs import GlyphsRecipe
from metasgd.recipes.omniglot import TEST_SHOTS
from metasgd.recipes.second_step import with_second_step
from metasgd.tasks.folds import NUM_FOLDS, fold_digits

SEEDS = 3  # runs of everything
HELD_OUT, OWN = "held-out digits", "meta-training digits"
SECOND_STEP = "second step"  # the variant of a score
FOLD_RUN: dict[str, Any] = {"iterations": 500, "meta_lr": 1e-3, "alpha_lr": 1e-3}
CHOICE_ITERATIONS = 1000
# What may be chosen: by name, what differs from the recipe.
CHOICES: dict[str, dict[str, Any]] = {
    "plain glyphs": {"glyphs": "plain", "deslant": False},
    "handwriting": {"deslant": False},
    "plain glyphs, deslanted": {"glyphs": "plain"},
    "handwriting, deslanted": {},
    "handwriting, deslanted, maml": {"method": "maml"},
}
ALONE_RUN: dict[str, Any] = {"glyphs": "none", "iterations": 1000}

_learners: dict[Any, MetaSGD] = {}  # of this process, whose compiled steps serve all runs that are made alike


def make_cells(*, seed: int = 0, **changes: Any) -> Cells:
    """Return the runs on glyphs alone, those of the folds, those with a fold's digits alone, and those of the choice.

    Args:
        seed: of the first of ``SEEDS`` runs of everything.
        changes: settings that differ from the book's in every run.
    """
    cells: dict[str, Cell] = {}

    def add(name: str, part: str, settings: dict[str, Any], **fields: Any) -> None:
        recipe = GlyphsRecipe(**{**settings, **changes})
        cells[name] = Cell(part, recipe, partial(run_mnist_glyphs, recipe, part), fields)

    seeds = range(seed, seed + SEEDS)
    for start in seeds:
        add(f"glyphs-seed{start}", "glyphs", {"seed": start})
    for start in seeds:
        for fold in range(NUM_FOLDS):
            settings = {"fold": fold, "seed": start, "start": f"glyphs-seed{start}"}
            add(f"fold{fold}-seed{start}", "folds", FOLD_RUN | settings)
    for start in seeds:
        for choice, ingredients in CHOICES.items():
            settings = {"seed": start, "iterations": CHOICE_ITERATIONS, **ingredients}
            add(f"{choice.replace(', ', '-').replace(' ', '-')}-seed{start}", "choice", settings, choice=choice)
    for start in seeds:
        for fold in range(NUM_FOLDS):
            add(f"alone-fold{fold}-seed{start}", "digits alone", ALONE_RUN | {"fold": fold, "seed": start})
    return cells


def run_mnist_glyphs(recipe: GlyphsRecipe, part: str, setup: Setup, folder: Path) -> dict[str, Any]:
    """Train one run, going on from its checkpoint if there is one, and test it.

    Runs that have met no digit are tested on the held-out digits of every fold, and on the meta-training digits of
    every fold, by which the choice is made; each of their scores says the fold in its settings.

    Args:
        recipe: settings of the run; its start is the name of another cell.
        part: of the experiment.
        setup: of all cells.
        folder: of the checkpoint.
    """
    # The folder of the other run differs between machines, so it is no setting that the results file keeps.
    made = recipe if recipe.start is None else replace(recipe, start=str(folder.parent / recipe.start))
    alike = (made.method, made.width, made.ways, made.shots, made.inner_steps, made.train_queries, made.meta_batch)
    key = (*alike, setup.device, setup.compile, setup.precision)
    learner, history = meta_train(
        made,
        setup.mnist,
        device=setup.device,
        out=folder,
        resume=True,
        compile=setup.compile,
        precision=setup.precision,
        learner=_learners.get(key),
    )
    _learners[key] = learner
    methods: dict[tuple[str, str | None], Method] = {(recipe.method, None): learner}
    if part in ("glyphs", "folds"):
        methods[recipe.method, SECOND_STEP] = with_second_step(learner)
    if part == "glyphs" and recipe.seed == 0:
        methods["nearest class mean", None] = nearest_class_mean
    folds = range(NUM_FOLDS) if recipe.fold is None else [recipe.fold]
    scores = [record for fold in folds for record in scores_in_fold(methods, recipe, fold, part, setup)]
    return {"scores": scores, "loss_curve": loss_curve(history)}


def scores_in_fold(
    methods: dict[tuple[str, str | None], Method], recipe: GlyphsRecipe, fold: int, part: str, setup: Setup
) -> Iterable[dict[str, Any]]:
    """Yield the records of methods on one fold: its held-out digits, and for a choice its meta-training digits.

    Args:
        methods: by name and variant.
        recipe: settings of the run.
        fold: which digits.
        part: of the experiment; for a choice, there are a quarter of the tasks.
        setup: of all cells.
    """
    own, held_out = fold_digits(fold)
    tasks = max(1, setup.tasks // (4 if part == "choice" else 1))
    tests = [(HELD_OUT, held_out, TEST_SEED)]
    if part == "choice":
        tests.append((OWN, own, VALIDATION_SEED))
    for data, digits, seed in tests:
        for shots in TEST_SHOTS:
            sampler = replace(recipe, shots=shots).digit_tasks(setup.mnist, digits, setup.device)
            for (name, variant), method in methods.items():
                found = evaluate(method, sampler, tasks, seed=seed)
                said: dict[str, Any] = {"method": name, "variant": variant, "data": data, "settings": {"fold": fold}}
                yield score_record(found, ways=recipe.ways, shots=shots, **said)


MNIST = Experiment(
    name="mnist",
    description="Five new digits from one picture of each: random glyphs, alone and with a fold's five digits",
    cells=make_cells,
    recipe=GlyphsRecipe,
    data="mnist",
    tasks=200,
    compiled=True,
)
