"""The experiment ``sine``: the paper's first table, and what the ingredients of its recipe add (chapter 6)."""

from collections.abc import Sequence
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metasgd._core.student import student_interval
from metasgd.evaluation import Evaluation, interval
from metasgd.experiments.experiment import TEST_SEED, VALIDATION_SEED, Cell, Cells, Experiment, Setup, loss_curve
from metasgd.experiments.published import SINE_WAVES
from metasgd.experiments.results import LARGER_ERROR, SMALLER_ERROR, SQUARED_ERROR, Results, score_record
from metasgd.experiments.reuse import meta_train_cell
from metasgd.meta_sgd import MetaSGD
from metasgd.recipes.recipe import METHODS
from metasgd.recipes.sine import SHOTS, SineRecipe, error_on_new_curves

SINE_SEEDS = 5  # runs of the table, of each method and number of points
SINE_SHORT = 1200  # meta-updates of a run: of those that chapter 6 makes live, of the table, and of all comparisons
SINE_LONG_SEEDS = 2  # longer runs of the table, with the iterations and the rates of the recipe
SINE_TUNING_SEEDS = 3  # runs of each pair of rates that is compared; their seeds follow those of the table
# The rates that were tried: of Adam, for both methods; and MAML's inner rate, each with each.
SINE_OUTER_RATES = (0.0075, 0.015, 0.03, 0.06, 0.12)
SINE_INNER_RATES = (0.01, 0.02, 0.04)
# The best of them. Meta-SGD's task_lr is where its rates start, and was not tuned.
SINE_RATES: dict[str, dict[str, float]] = {
    "meta-sgd": {"meta_lr": 0.03, "task_lr": 0.02},
    "maml": {"meta_lr": 0.06, "task_lr": 0.02},
}
REPEATED = 10  # steps of a learner that was trained for one
SINE_CHANGE_SEEDS = 2  # runs of each change of an ingredient
# The recipe's ingredients, each replaced by what one would choose without thinking, or by what the paper has.
SINE_PLAIN: dict[str, dict[str, Any]] = {
    "smaller-rate": {"meta_lr": 3e-3},
    "no-warm-up": {"warmup": 0.0},
    "no-clipping": {"clip": None},
    "drawn-alpha": {"task_lr": (0.005, 0.1)},
    "smaller-batch": {"meta_batch": 25},
    "fewer-queries": {"train_queries": 5},
}
SINE_CHANGES: dict[str, dict[str, Any]] = {
    "recipe": {},
    **SINE_PLAIN,
    "all-of-these": {field: value for change in SINE_PLAIN.values() for field, value in change.items()},
}


def make_cells(*, seed: int = 0, **changes: Any) -> Cells:
    """Return the runs that tuned the rates, those of the paper's table, and those that change an ingredient.

    The first and the last are tested on curves of their own, and the first have seeds of their own, too. The table is
    made once more by a few longer runs. The runs of the table with ten points are also tested with repeated steps.

    Args:
        seed: of the first run of the table.
        **changes: settings that differ from the book's in all runs.
    """
    cells = {}
    short: dict[str, Any] = {"iterations": SINE_SHORT} | changes
    for start in range(seed + SINE_SEEDS, seed + SINE_SEEDS + SINE_TUNING_SEEDS):
        for method in METHODS:
            inner_rates = SINE_INNER_RATES if method == "maml" else [SINE_RATES[method]["task_lr"]]
            for outer, inner in product(SINE_OUTER_RATES, inner_rates):
                rates = {"meta_lr": outer, "task_lr": inner}
                recipe = SineRecipe(**short | {"method": method, "seed": start} | rates)
                cells[f"{method}-outer{outer}-inner{inner}-seed{start}"] = sine_cell("tuning", recipe)
    for part, seeds in {"table": SINE_SEEDS, "longer": SINE_LONG_SEEDS}.items():
        for method, shots, start in product(METHODS, SHOTS, range(seed, seed + seeds)):
            settings: dict[str, Any] = {"shots": shots, "method": method, "seed": start}
            settings |= SINE_RATES[method] | short if part == "table" else changes
            cells[f"{part}-{method}-{shots}points-seed{start}"] = sine_cell(part, SineRecipe(**settings))
    for method, start in product(METHODS, range(seed, seed + SINE_SEEDS)):
        settings = {"method": method, "seed": start, **SINE_RATES[method], **short}
        cells[f"repeated-{method}-seed{start}"] = repeated_cell(SineRecipe(**settings))
    for name, change in SINE_CHANGES.items():
        for start in range(seed, seed + SINE_CHANGE_SEEDS):
            recipe = SineRecipe(**short | {"seed": start} | change)
            cells[f"{name}-seed{start}"] = sine_cell("ingredients", recipe, change=name)
    return cells


def sine_cell(part: str, recipe: SineRecipe, **fields: Any) -> Cell:
    """Return a cell. Each seed of the table has its own test curves; settings are compared on the same ones."""
    task_seed = {"table": TEST_SEED + recipe.seed, "longer": TEST_SEED}.get(part, VALIDATION_SEED)
    tested = (recipe.shots,) if part == "tuning" else SHOTS
    return Cell(part, recipe, partial(run_sine, recipe, task_seed, tested), fields | {"task_seed": task_seed})


def repeated_cell(recipe: SineRecipe) -> Cell:
    """Return the cell of one run that is tested with repeated steps."""
    task_seed = TEST_SEED + recipe.seed
    return Cell("repeated", recipe, partial(run_repeated, recipe, task_seed), {"task_seed": task_seed})


def run_sine(recipe: SineRecipe, task_seed: int, tested: Sequence[int], setup: Setup, folder: Path) -> dict[str, Any]:
    """Train one run, going on from its checkpoint if there is one, and return its error on new curves.

    Args:
        recipe: settings of the run.
        task_seed: of the new curves.
        tested: numbers of points of a new curve, each of which is tested.
        setup: of all cells.
        folder: of the checkpoint.
    """
    learner, history = trained(recipe, setup, folder)
    scores = []
    for shots in tested:
        error = error_on_new_curves(learner, shots, num_tasks=setup.tasks, seed=task_seed)
        scores.append(score_record(error, SQUARED_ERROR, method=recipe.method, data="sine waves", shots=shots))
    return {"scores": scores, "loss_curve": loss_curve(history)}


def trained(recipe: SineRecipe, setup: Setup, folder: Path) -> tuple[MetaSGD, list[dict[str, float]]]:
    """Return the learner of one run and its history, with what is compiled shared by runs whose steps are alike."""
    alike = (recipe.method, recipe.shots, recipe.train_queries, recipe.meta_batch, recipe.inner_steps, recipe.clip)
    return meta_train_cell(recipe, None, alike, setup, folder)


def run_repeated(recipe: SineRecipe, task_seed: int, setup: Setup, folder: Path) -> dict[str, Any]:
    """Train one run, and return on which fraction of new curves repeated steps help, and on which they harm.

    They help where they leave a smaller error than the first step alone, and harm where they leave a larger one than
    no step at all. A mean error would not do: where the steps run away, a single curve decides it.
    """
    learner, _ = trained(recipe, setup, folder)
    never, once, often = (
        error_on_new_curves(learner, recipe.shots, steps=steps, num_tasks=setup.tasks, seed=task_seed).per_task
        for steps in (0, 1, REPEATED)
    )
    found = {SMALLER_ERROR: (1, often < once), LARGER_ERROR: (0, ~(often <= never))}  # what is no number is larger
    said: dict[str, Any] = {"method": recipe.method, "data": "sine waves", "shots": recipe.shots}
    return {
        "scores": [
            score_record(interval(curves.double()), metric, settings={"steps": REPEATED, "than": steps}, **said)
            for metric, (steps, curves) in found.items()
        ]
    }


def repeated(results: Results, method: str, metric: str) -> Tensor:
    """Return on which fraction of curves repeated steps help or harm, float64 of shape (runs,).

    Args:
        results: those of this experiment.
        method: ``"meta-sgd"`` or ``"maml"``.
        metric: ``SMALLER_ERROR`` than after one step, or ``LARGER_ERROR`` than before it.
    """
    scores = results.scores(part="repeated", method=method, metric=metric)
    return torch.tensor([score.mean for score in scores], dtype=torch.float64)


def sine_runs(results: Results, method: str, trained: int, tested: int, part: str = "table") -> Tensor:
    """Return the error of each run for one entry of the table, float64 of shape (runs,), in the order of seeds.

    The methods share the start, the training curves and the test curves of a seed, and seeds share none.

    Args:
        results: those of this experiment.
        method: ``"meta-sgd"`` or ``"maml"``.
        trained: shots of meta-training.
        tested: shots of the test.
        part: ``"table"``, or ``"longer"`` for the longer runs, which all have the same test curves.
    """
    scores = results.select(part=part, shots=trained).scores(method=method, shots=tested)
    return torch.tensor([score.mean for score in scores], dtype=torch.float64)


def sine_mean(results: Results, method: str, trained: int, tested: int) -> Evaluation:
    """Return one entry of the table: the mean over the runs; the arguments are those of ``sine_runs``.

    Its interval is that over runs, by Student's t. Since every run has its own start, training curves and test curves,
    it says how much all three matter.
    """
    return Evaluation(*student_interval(sine_runs(results, method, trained, tested)), torch.empty(0))


def sine_tuning(results: Results, method: str) -> dict[tuple[float, float], Tensor]:
    """Return the error on validation curves of every run that compared rates, by outer and inner rate.

    Args:
        results: those of this experiment.
        method: ``"meta-sgd"`` or ``"maml"``.

    Returns:
        for each pair of rates a float64 tensor of shape (runs,), in the order of seeds.
    """
    errors: dict[tuple[float, float], list[float]] = {}
    for score in results.scores(part="tuning", method=method):
        config = score.cell.config
        errors.setdefault((config["meta_lr"], config["task_lr"]), []).append(score.mean)
    return {rates: torch.tensor(found, dtype=torch.float64) for rates, found in errors.items()}


def sine_table(results: Results) -> dict[str, Any]:
    """Return the table beside the paper's: by method, shots trained and shots tested, means over the runs."""
    ours = {
        method: {
            str(trained): {str(tested): round(sine_mean(results, method, trained, tested).mean, 3) for tested in SHOTS}
            for trained in SHOTS
        }
        for method in METHODS
    }
    paper = {
        method: {str(trained): {str(tested): row[tested] for tested in SHOTS} for trained, row in rows.items()}
        for method, rows in SINE_WAVES.items()
    }
    below = [
        ours["meta-sgd"][trained][tested] <= mean
        for trained, row in paper["meta-sgd"].items()
        for tested, mean in row.items()
    ]
    return {"mean_squared_error": ours, "paper": paper, "cells_at_or_below_the_paper": sum(below)}


def print_sine_table(results: Results) -> dict[str, Any]:
    """Print the table beside the paper's, for people, and return it."""
    table = sine_table(results)
    ours, paper = table["mean_squared_error"], table["paper"]
    print("mean squared error after one step on sine waves (in brackets: the paper's)")
    for method, rows in ours.items():
        for trained, row in rows.items():
            entries = [
                f"{tested:>2} points {value:.2f} ({paper[method][trained][tested]:.2f})"
                for tested, value in row.items()
            ]
            print(f"{method:8}  meta-trained with {trained:>2}, tested with", ", ".join(entries))
    print(f"Meta-SGD: {table['cells_at_or_below_the_paper']} of 9 cells at or below the paper's")
    return table


SINE = Experiment(
    name="sine",
    description="The paper's table of sine waves by Meta-SGD and MAML, and what each ingredient of the recipe adds",
    cells=make_cells,
    recipe=SineRecipe,
    tasks=SineRecipe.num_test_tasks,
    compiled=True,
    print_table=print_sine_table,
)
