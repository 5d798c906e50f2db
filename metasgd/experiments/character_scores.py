"""How learners are tested on characters, or on MNIST's digits, and how their scores become tables (chapter 12)."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from metasgd.calibration import Calibration
from metasgd.evaluation import Evaluation, Method, evaluate
from metasgd.experiments.experiment import TEST_SEED
from metasgd.experiments.results import ACCURACY, CALIBRATION_ERROR, NLL, Results, Score, score_record
from metasgd.recipes.omniglot import TEST_SHOTS, OmniglotRecipe

PIXELS = "nearest class mean"
# The labels of methods, and of their variants, in a table.
LABELS = {"meta-sgd": "Meta-SGD", "maml": "MAML", PIXELS: PIXELS}
VARIANTS = {None: "", "copies": "with copies"}

Test = tuple[str, str | None, Method]  # the name of a method, its variant, and the method itself
Table = dict[str, dict[tuple[int, int], Evaluation]]  # by label and (ways, shots)


def scores_of_test(
    tests: Iterable[Test],
    recipe: OmniglotRecipe,
    tasks: int,
    *,
    root: str | Path | None = None,
    device: torch.device | str = "cpu",
    seed: int = TEST_SEED,
    progress: bool = False,
) -> list[dict[str, Any]]:
    """Return the records of the accuracy of some methods with one and with five shots, all on the same tasks.

    The tasks are those that test a run: of the characters that it left out, else of MNIST's ten digits.

    Args:
        tests: what is tested.
        recipe: settings of the run, which say of how many classes a task is.
        tasks: how many.
        root: folder of Omniglot (None: the environment variable ``METASGD_DATA``).
        device: where tasks are drawn.
        seed: of the tasks.
        progress: show a bar for each method on standard error.
    """
    tests, drawings = list(tests), recipe.load_test_data(root)
    data = "digits" if drawings is None else "characters"
    records = []
    for shots in TEST_SHOTS:
        sampler = replace(recipe, shots=shots).test_tasks(drawings, device)
        for name, variant, method in tests:
            found = evaluate(method, sampler, tasks, seed=seed, progress=progress)
            said: dict[str, Any] = {"method": name, "data": data, "variant": variant}
            records.append(score_record(found, ways=recipe.ways, shots=shots, **said))
    return records


def calibration_records(found: Calibration, tasks: int, **said: Any) -> list[dict[str, Any]]:
    """Return the records of an accuracy, a negative log-likelihood and a calibration error on the same tasks.

    Args:
        found: the three.
        tasks: how many tasks there were.
        said: fields of the records, as ``score_record`` takes them.
    """
    by_metric = {ACCURACY: found.accuracy, NLL: found.nll, CALIBRATION_ERROR: found.error}
    return [score_record(score, metric, **said) | {"tasks": tasks} for metric, score in by_metric.items()]


def tabulate(labelled: Iterable[tuple[str, Score]]) -> Table:
    """Return accuracies by label and by (ways, shots); of several, the first counts."""
    table: Table = {}
    for label, score in labelled:
        assert score.ways is not None  # tests of images have both
        assert score.shots is not None
        table.setdefault(label, {}).setdefault((score.ways, score.shots), score.evaluation)
    return table


def whole_runs(results: Results) -> list[Score]:
    """Return the scores of the table's runs that were tested with as many ways as they were trained with."""
    return [score for score in results.scores(part="table") if score.variant in VARIANTS]


def learner_label(score: Score) -> str:
    """Name a score by its method and by what sets its learner apart, short enough for a table."""
    if score.method == PIXELS:
        return PIXELS
    recipe, usual = OmniglotRecipe.from_config(score.cell.config), OmniglotRecipe()
    apart = [f"{recipe.width} filters"] if recipe.width != usual.width else []
    apart += [f"{recipe.shots} shots"] if recipe.shots != usual.shots else []
    apart += [recipe.look] if recipe.look == "unsteady" else []
    variant = [VARIANTS[score.variant]] if score.variant else []
    return ", ".join([*apart, *variant] if apart and variant else [LABELS[score.method], *apart, *variant])
