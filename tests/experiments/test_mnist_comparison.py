"""The experiment mnist-comparison: its cells at small size, how rates are chosen, and what the stored runs say."""

import pytest
import torch

from metasgd.data import load_mnist_sample
from metasgd.experiments import EXPERIMENTS, load_results
from metasgd.experiments.experiment import Setup
from metasgd.experiments.mnist_comparison import CHOICES, OTHER_GLYPHS, compared, other_glyphs
from metasgd.experiments.results import Results, StoredCell
from metasgd.recipes.glyphs import GlyphsRecipe
from metasgd.tasks.folds import NUM_FOLDS
from tests.experiments.test_comparison import assert_best

SMALL = {"width": 4, "iterations": 2}


@pytest.fixture
def setup(few_classes) -> Setup:
    """Few glyphs, and few tasks."""
    return Setup(2, images=load_mnist_sample())


@pytest.fixture(scope="module")
def stored() -> Results:
    return load_results("mnist-comparison")


@pytest.mark.parametrize("method", CHOICES)
def test_every_method_is_tested_on_the_digits_of_every_fold(method, setup, tmp_path):
    cell = EXPERIMENTS["mnist-comparison"].make_cells(SMALL)[f"{method.replace(' ', '-')}-seed1"]
    run = StoredCell("run", cell.describe() | cell.run(setup, tmp_path))
    assert {(score.method, score.settings["fold"], score.shots) for score in run.scores()} == {
        (method, fold, shots) for fold in range(NUM_FOLDS) for shots in (1, 5)
    }


def test_settings_are_chosen_on_glyphs_that_no_run_meets(setup, tmp_path, monkeypatch):
    monkeypatch.setattr(GlyphsRecipe, "digit_tasks", None)  # no digit is asked for
    cells = EXPERIMENTS["mnist-comparison"].make_cells(SMALL)
    (score,) = cells["tuning-maml-inner0.1-outer0.003"].run(setup, tmp_path)["scores"]
    assert score["data"] == "other glyphs"
    assert OTHER_GLYPHS not in {cell.recipe.seed for cell in cells.values()}
    other, own = (
        sampler.sample(2, torch.Generator().manual_seed(0)).support_x
        for sampler in (other_glyphs(GlyphsRecipe(), setup), GlyphsRecipe().training_tasks(None))
    )
    assert not torch.equal(other, own)


def test_every_method_has_the_settings_that_are_best_on_other_glyphs(stored):
    assert_best(stored, CHOICES)


def test_all_methods_have_the_same_budget_and_each_was_run_by_one_code(stored):
    budgets = {
        tuple(cell.config[name] for name in ("iterations", "meta_batch", "width", "train_queries", "shots"))
        for cell in stored.select(part="comparison")
    }
    assert len(budgets) == 1
    for method in CHOICES:
        assert len({cell["provenance"]["commit"] for cell in stored.select(method=method)}) == 1
    assert len({cell["provenance"]["torch"] for cell in stored}) == 1


@pytest.mark.parametrize("shots", [1, 5])
def test_every_method_has_three_runs_of_five_folds(stored, shots):
    found = compared(stored, shots)
    assert {tuple(values.shape) for values in found.values()} == {(3, NUM_FOLDS)}
    cell = stored.cell(part="comparison", method="anil", seed=2)
    assert found["anil"][2, 3] == cell.score(shots=shots, settings={"fold": 3}).mean
