"""The experiment mnist: its cells at small size, how its numbers are read, and what the stored ones say."""

import math

import pytest
import torch

from metasgd.data import load_mnist_sample
from metasgd.evaluation import evaluate
from metasgd.experiments import EXPERIMENTS, TEST_SEED, load_results, reuse
from metasgd.experiments.experiment import Setup
from metasgd.experiments.mnist import CHOICES, HELD_OUT, OWN, SECOND_STEP, by_run, over_runs
from metasgd.experiments.results import Results, StoredCell
from metasgd.recipes.glyphs import GlyphsRecipe
from metasgd.tasks import fold_digits
from metasgd.tasks.folds import NUM_FOLDS

SMALL = {"width": 4, "iterations": 2}


@pytest.fixture
def setup(few_classes, monkeypatch) -> Setup:
    """Few glyphs, and few tasks."""
    monkeypatch.setattr(reuse, "_learners", {})
    return Setup(4, images=load_mnist_sample())


@pytest.fixture(scope="module")
def stored() -> Results:
    return load_results("mnist")


def run(name: str, setup: Setup, folder) -> StoredCell:
    cell = EXPERIMENTS["mnist"].make_cells(SMALL)[name]
    return StoredCell(name, cell.describe() | cell.run(setup, folder / name))


def test_a_run_of_a_fold_goes_on_from_its_run_on_glyphs(setup, tmp_path):
    first = run("glyphs-seed1", setup, tmp_path)
    assert {score.settings["fold"] for score in first.scores()} == set(range(NUM_FOLDS))
    assert {(score.variant, score.shots) for score in first.scores()} == {
        (variant, shots) for variant in (None, SECOND_STEP) for shots in (1, 5)
    }
    second = run("fold3-seed1", setup, tmp_path)
    assert {score.settings["fold"] for score in second.scores()} == {3}
    assert second.config["start"] == "glyphs-seed1"  # the name of the cell, on every machine
    learner = reuse._learners[next(iter(reuse._learners))]
    assert len(reuse._learners) == 1  # compiled once for all runs that are made alike
    sampler = GlyphsRecipe(fold=3).test_tasks(setup.mnist)
    expected = evaluate(learner, sampler, 4, seed=TEST_SEED).mean
    assert second.score(shots=1, variant=None).mean == pytest.approx(expected, abs=1e-5)


def test_a_choice_is_tested_on_digits_that_its_fold_trains_on_and_on_others(setup, tmp_path, monkeypatch):
    """Which the run itself has met in no fold."""
    asked = []
    original = GlyphsRecipe.digit_tasks
    monkeypatch.setattr(
        GlyphsRecipe,
        "digit_tasks",
        lambda self, data, digits, device: asked.append(tuple(digits)) or original(self, data, digits, device),
    )
    cell = run("plain-glyphs-deslanted-seed0", setup, tmp_path)
    assert cell.config["fold"] is None
    assert cell["choice"] == "plain glyphs, deslanted"
    assert {score.data for score in cell.scores()} == {OWN, HELD_OUT}
    assert set(asked) == {digits for fold in range(NUM_FOLDS) for digits in fold_digits(fold)}


def test_an_interval_over_runs_is_that_of_student():
    """Three runs of two folds, whose means are 0.5, 0.6 and 0.7: a standard deviation of 0.1."""
    values = torch.tensor([[0.4, 0.6], [0.5, 0.7], [0.6, 0.8]], dtype=torch.float64)
    mean, half_width = over_runs(values)
    assert mean == pytest.approx(0.6)
    assert half_width == pytest.approx(4.302653 * 0.1 / math.sqrt(3))


def test_numbers_are_read_by_run_and_fold():
    def record(seed: int, fold: int, variant: str | None, mean: float) -> StoredCell:
        score = {"metric": "accuracy", "method": "meta-sgd", "data": HELD_OUT, "ways": 5, "shots": 1, "tasks": 9}
        score |= {"mean": mean, "half_width_95": 0.1, "variant": variant, "settings": {"fold": fold}}
        return StoredCell(f"{seed}-{fold}-{variant}", {"part": "folds", "config": {"seed": seed}, "scores": [score]})

    cells = [record(seed, fold, None, (10 * seed + fold) / 100) for seed in (1, 0) for fold in range(NUM_FOLDS)]
    cells += [record(seed, fold, SECOND_STEP, 0.9) for seed in (0, 1) for fold in range(NUM_FOLDS)]
    found = by_run(Results("mnist", {}, cells), "folds", 1)
    assert found.tolist() == [[0.0, 0.01, 0.02, 0.03, 0.04], [0.1, 0.11, 0.12, 0.13, 0.14]]


def test_the_recipe_is_what_validation_chose_in_every_fold(stored):
    """On the meta-training digits of the fold, at one shot, by the mean of the runs."""
    means = {choice: by_run(stored, "choice", 1, data=OWN, choice=choice).mean(0) for choice in CHOICES}
    for fold in range(NUM_FOLDS):
        assert max(means, key=lambda choice: means[choice][fold]) == "handwriting, deslanted"
    assert CHOICES["handwriting, deslanted"] == {}  # the defaults of the recipe


@pytest.mark.parametrize("shots", [1, 5])
def test_stored_runs_are_ahead_of_the_pixels_in_every_run_and_fold(stored, shots):
    pixels = stored.scores(method="nearest class mean", shots=shots)
    for part in ("glyphs", "folds"):
        runs = by_run(stored, part, shots)
        assert runs.shape == (3, NUM_FOLDS)
        assert (runs > torch.tensor([score.mean for score in pixels]) + 0.05).all()
