"""The experiment ``sine``: the paper's first table, and what the ingredients of its recipe add (chapter 6)."""

from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import torch

from metasgd.evaluation import Evaluation
from metasgd.experiments.experiment import TEST_SEED, VALIDATION_SEED, Cell, Cells, Experiment, Setup, loss_curve
from metasgd.experiments.published import SINE_WAVES
from metasgd.experiments.results import SQUARED_ERROR, Results, Score, score_record
from metasgd.recipes import meta_train
from metasgd.recipes.recipe import METHODS
from metasgd.recipes.sine import SHOTS, SineRecipe, error_on_new_curves

SINE_SEEDS = 2
SINE_MAML_RATES = (0.01, 0.02, 0.03, 0.04)
SINE_RATES = {"meta-sgd": SineRecipe().task_lr, "maml": 0.02}  # alpha at the start; MAML's is the best of those above
SINE_SHORT = 1200  # meta-updates of the runs that chapter 6 makes live, and of those that compare settings
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
    """Return the runs of the paper's table, those that tuned MAML's rate, and those that change an ingredient.

    The last two kinds are shorter, and are tested on curves of their own.
    """
    seeds = range(seed, seed + SINE_SEEDS)
    cells = {}
    for method in METHODS:
        for shots in SHOTS:
            for start in seeds:
                settings: dict[str, Any] = {
                    "shots": shots,
                    "method": method,
                    "task_lr": SINE_RATES[method],
                    "seed": start,
                }
                cell = sine_cell("table", SineRecipe(**settings | changes))
                cells[f"{method}-{shots}points-seed{start}"] = cell
    short: dict[str, Any] = {"iterations": SINE_SHORT} | changes
    maml: dict[str, Any] = {"method": "maml", "seed": seed} | short
    for rate in SINE_MAML_RATES:
        cells[f"maml-rate-{rate}"] = sine_cell("tuning", SineRecipe(**{"task_lr": rate} | maml))
    smaller: dict[str, Any] = {"task_lr": SINE_RATES["maml"]} | maml | {"meta_lr": 1e-2}
    cells["maml-smaller-meta-rate"] = sine_cell("tuning", SineRecipe(**smaller))
    for name, change in SINE_CHANGES.items():
        for start in seeds:
            recipe = SineRecipe(**short | {"seed": start} | change)
            cells[f"{name}-seed{start}"] = sine_cell("ingredients", recipe, change=name)
    return cells


def sine_cell(part: str, recipe: SineRecipe, **fields: Any) -> Cell:
    """Return a cell, which is tested on the curves of its part."""
    task_seed = TEST_SEED if part == "table" else VALIDATION_SEED
    return Cell(part, recipe, partial(run_sine, recipe, task_seed), fields | {"task_seed": task_seed})


def run_sine(recipe: SineRecipe, task_seed: int, setup: Setup, folder: Path) -> dict[str, Any]:
    """Train one run, going on from its checkpoint if there is one, and return its error on new curves."""
    learner, history = meta_train(recipe, device=setup.device, out=folder, resume=True)
    scores = []
    for shots in SHOTS:
        error = error_on_new_curves(learner, shots, num_tasks=setup.tasks, seed=task_seed)
        scores.append(score_record(error, SQUARED_ERROR, method=recipe.method, data="sine waves", shots=shots))
    return {"scores": scores, "loss_curve": loss_curve(history)}


def sine_scores(results: Results, method: str, trained: int, tested: int) -> list[Score]:
    """Return the error of each seed's run, on the same curves, for one entry of the table.

    Args:
        results: those of this experiment.
        method: ``"meta-sgd"`` or ``"maml"``.
        trained: shots of meta-training.
        tested: shots of the test.
    """
    return results.select(part="table", shots=trained).scores(method=method, shots=tested)


def sine_mean(results: Results, method: str, trained: int, tested: int) -> Evaluation:
    """Return one entry of the table: the mean over the seeds; the arguments are those of ``sine_scores``.

    The seeds are tested on the same curves, so more of them do not narrow the interval. So its half-width is the mean
    of their half-widths.
    """
    scores = sine_scores(results, method, trained, tested)
    return Evaluation(fmean(s.mean for s in scores), fmean(s.half_width for s in scores), torch.empty(0))


def sine_table(results: Results) -> dict[str, Any]:
    """Return the table beside the paper's: by method, shots trained and shots tested, means over the seeds."""
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
    print_table=print_sine_table,
)
