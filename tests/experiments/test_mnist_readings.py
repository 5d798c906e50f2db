"""The experiment mnist-readings: a cell at small size, and what the stored runs say."""

import pytest

from metasgd.data import load_mnist_sample
from metasgd.experiments.experiment import Setup
from metasgd.experiments.mnist_readings import TRAINED_BY, make_cells
from metasgd.experiments.results import StoredCell
from metasgd.recipes import glyphs
from metasgd.recipes.runs import load_run
from metasgd.strategies.query_statistics import QUERY_STATISTICS
from metasgd.tasks.folds import NUM_FOLDS


@pytest.mark.parametrize("trained_by", TRAINED_BY)
def test_a_run_is_tested_with_every_reading(trained_by, tmp_path, monkeypatch):
    monkeypatch.setattr(glyphs, "CLASSES", 40)
    glyphs.written.cache_clear()
    glyphs.alike.cache_clear()
    cell = make_cells(width=4, iterations=2)[f"by-{trained_by}-seed1"]
    content = cell.describe() | cell.run(Setup(2, images=load_mnist_sample()), tmp_path)
    scores = StoredCell("run", content).scores(shots=1)
    assert {(score.variant, score.settings["fold"]) for score in scores} == {
        (f"by {tested_by}", fold) for fold in range(NUM_FOLDS) for tested_by in QUERY_STATISTICS
    }
    assert load_run(tmp_path).learner.query_statistics == trained_by
