"""The experiment ``mnist``: five new digits from one picture of each, after random glyphs (chapters 1 and 8).

Glyphs alone need no picture, so one run of them serves all five folds: no digit of any fold was met. A run of a fold
goes on from such a run, with the fold's five meta-training digits among its tasks; as controls, a run goes on for as
long with glyphs alone, from tasks with one shot and from tasks with five. What the glyphs are, and whether slant is
taken out, is chosen on the meta-training digits of each fold, which runs on glyphs have not met either.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metasgd._core.student import student_interval
from metasgd.baselines import nearest_class_mean
from metasgd.evaluation import evaluate
from metasgd.experiments.character_scores import PIXELS, Test
from metasgd.experiments.experiment import TEST_SEED, VALIDATION_SEED, Cell, Cells, Experiment, Setup, loss_curve
from metasgd.experiments.results import Results, score_record
from metasgd.experiments.reuse import meta_train_cell
from metasgd.meta_sgd import MetaSGD
from metasgd.recipes.glyphs import GlyphsRecipe
from metasgd.recipes.omniglot import TEST_SHOTS
from metasgd.recipes.second_step import with_second_step
from metasgd.tasks import deslant
from metasgd.tasks.folds import NUM_FOLDS, fold_digits

SEEDS = 3  # runs of everything
HELD_OUT, OWN = "held-out digits", "meta-training digits"
SECOND_STEP = "second step"  # the variant of a score
GOING_ON: dict[str, Any] = {"iterations": 500, "meta_lr": 1e-3, "alpha_lr": 1e-3}
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


def make_cells(*, seed: int = 0, **changes: Any) -> Cells:
    """Return the runs on glyphs, those of the folds, their control, those of the choice, and those on digits alone.

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
            add(f"fold{fold}-seed{start}", "folds", GOING_ON | settings)
    for start in seeds:
        settings = {"seed": start, "start": f"glyphs-seed{start}"}
        add(f"more-glyphs-seed{start}", "more glyphs", GOING_ON | settings)
    for start in seeds:
        settings = {"seed": start, "start": f"glyphs-seed{start}", "shots": 5}
        add(f"five-shots-seed{start}", "five shots", GOING_ON | settings)
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
    learner, history = meta_train_cell(made, setup.mnist, alike, setup, folder)
    tests: list[Test] = [(recipe.method, None, learner)]
    if part in ("glyphs", "folds"):
        tests.append((recipe.method, SECOND_STEP, with_second_step(learner)))
    if part == "glyphs" and recipe.seed == 0:
        tests.append((PIXELS, None, nearest_class_mean))
    where: dict[str, Any] = {"images": setup.mnist, "device": setup.device}
    if part == "choice":
        few = max(1, setup.tasks // 4)
        scores = scores_in_folds(tests, recipe, few, **where)
        scores += scores_in_folds(tests, recipe, few, own=True, seed=VALIDATION_SEED, **where)
    else:
        scores = scores_in_folds(tests, recipe, setup.tasks, **where)
    return {"scores": scores, "loss_curve": loss_curve(history)}


def scores_in_folds(
    tests: Iterable[Test],
    recipe: GlyphsRecipe,
    tasks: int,
    *,
    images: Sequence[Tensor],
    device: torch.device | str = "cpu",
    own: bool = False,
    test_shots: Iterable[int] = TEST_SHOTS,
    seed: int = TEST_SEED,
    progress: bool = False,
) -> list[dict[str, Any]]:
    """Return the records of some methods in the recipe's fold, or in all five, with one and with five shots.

    Args:
        tests: what is tested.
        recipe: settings of the run; if it has a fold, the test is in this one alone.
        tasks: how many for each score.
        images: MNIST by class.
        device: where tasks are drawn.
        own: test on the meta-training digits of a fold in place of those that it holds out.
        test_shots: other numbers of shots.
        seed: of the tasks.
        progress: show a bar for each method on standard error.
    """
    records = []
    for fold in range(NUM_FOLDS) if recipe.fold is None else [recipe.fold]:
        for shots in test_shots:
            sampler = replace(recipe, shots=shots).digit_tasks(images, fold_digits(fold)[0 if own else 1], device)
            for name, variant, method in tests:
                found = evaluate(method, sampler, tasks, seed=seed, progress=progress)
                said: dict[str, Any] = {"method": name, "variant": variant, "data": OWN if own else HELD_OUT}
                records.append(score_record(found, ways=recipe.ways, shots=shots, settings={"fold": fold}, **said))
    return records


def scores_on_digits(
    learner: MetaSGD,
    recipe: GlyphsRecipe,
    tasks: int,
    *,
    root: str | Path | None = None,
    baselines: bool = False,
    **options: Any,
) -> list[dict[str, Any]]:
    """Return the records of a shipped learner, which takes pictures as they are.

    Args:
        learner: the learner.
        recipe: its settings.
        tasks: how many for each score.
        root: folder of MNIST (None: the environment variable ``METASGD_DATA``, or the sample in the package).
        baselines: also test the class means of pixels, of pictures without slant.
        **options: of ``scores_in_folds``.
    """

    def class_mean(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        return nearest_class_mean(deslant(support_x), support_y, deslant(query_x))

    tests: list[Test] = [(recipe.method, None, learner)]
    if baselines:
        tests.append((PIXELS, None, class_mean))
    as_they_are = replace(recipe, deslant=False)
    return scores_in_folds(tests, as_they_are, tasks, images=recipe.load_test_data(root), **options)


def by_run(results: Results, part: str, shots: int, **wanted: Any) -> Tensor:
    """Return the accuracy of every run in every fold, float64 of shape (runs, folds), the runs in the order of seeds.

    Args:
        results: those of ``mnist``.
        part: of the experiment.
        shots: of the test tasks.
        **wanted: further fields by which scores are chosen; the variant is None and the digits are held out unless
            they are among these.
    """
    said: dict[str, Any] = {"variant": None, "data": HELD_OUT, **wanted}
    scores = results.scores(part=part, shots=shots, **said)
    if "method" not in wanted:  # then the baseline that needs no training is left out
        scores = [score for score in scores if score.method != PIXELS]
    found = {(score.cell.config["seed"], score.settings["fold"]): score.mean for score in scores}
    seeds = sorted({seed for seed, _ in found})
    return torch.tensor([[found[seed, fold] for fold in range(NUM_FOLDS)] for seed in seeds], dtype=torch.float64)


def over_runs(accuracies: Tensor) -> tuple[float, float]:
    """Return the mean and the half-width of its 95% interval over runs, by Student's t.

    The folds are always the same, and the runs are the replicates: each counts by its mean over the folds.

    Args:
        accuracies: of shape (runs, folds), as ``by_run`` returns them, or differences of such; at least 2 runs.
    """
    return student_interval(accuracies.mean(1))


MNIST = Experiment(
    name="mnist",
    description="Five new digits from one picture of each: random glyphs, alone and with a fold's five digits",
    cells=make_cells,
    recipe=GlyphsRecipe,
    data="mnist",
    tasks=200,
    compiled=True,
)
