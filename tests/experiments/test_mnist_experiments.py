"""The experiments on MNIST: a cell of each at small size, and the stored results."""

import json
import runpy
from pathlib import Path

import pytest
from PIL import Image

from metasgd.experiments import EXPERIMENTS, load_results, mnist_scratch, run_experiment
from metasgd.experiments.results import read_results
from metasgd.recipes import images
from metasgd.recipes.mnist import MnistRecipe
from metasgd.tasks.folds import NUM_FOLDS

SMALL = {"width": 4, "iterations": 2, "meta_batch": 2, "num_composites": 3}


@pytest.mark.parametrize(("name", "cell"), [("mnist-folds", 3), ("mnist-classes", 4), ("mnist-scratch", 2)])
def test_an_experiment_runs_a_cell_at_small_size(tmp_path, monkeypatch, name, cell):
    """The same code path as the stored results, on one cell; the others are made up, to see the file put together."""
    monkeypatch.setattr(mnist_scratch, "SCRATCH_STEPS", (1,))
    experiment = EXPERIMENTS[name]
    cells = experiment.make_cells(SMALL)
    sizes = {"out": tmp_path, "work": tmp_path / "work", "tasks": 10, "command": "as typed", **SMALL}
    assert run_experiment(experiment, shard=(cell, len(cells)), **sizes) is None
    (finished,) = (tmp_path / "work" / name).glob("*/result.json")
    for other in cells:
        target = tmp_path / "work" / name / other
        target.mkdir(exist_ok=True)
        if not (target / "result.json").exists():
            (target / "result.json").write_text('{"provenance": {"command": "made up"}}')
    written = run_experiment(experiment, **sizes)
    stored = json.loads(written.read_text())
    made = json.loads(finished.read_text())
    assert made["provenance"].pop("command") == stored["command"] == "as typed"  # once for all that were made so
    assert stored["cells"][finished.parent.name] == made
    assert "processor" in made["provenance"]
    (cell,) = (cell for cell in read_results(written) if cell.name == finished.parent.name)
    check_cell(cell)
    assert stored["format"] == 2


def check_cell(cell):
    assert cell.scores()
    for score in cell.scores():
        assert score.metric == "accuracy"
        assert 0 <= score.mean <= 1
        assert score.half_width >= 0 or score.tasks == 1
    assert cell["part"]
    assert cell["recipe"] in ("mnist", "glyphs")
    assert cell.provenance["seconds"] >= 0
    assert {"metasgd", "commit", "torch", "device", "threads"} <= cell.provenance.keys()


@pytest.mark.parametrize("name", [name for name, made in EXPERIMENTS.items() if made.data == "mnist"])
def test_stored_results_are_complete(name):
    stored = load_results(name)
    cells = EXPERIMENTS[name].make_cells({})
    assert [cell.name for cell in stored] == list(cells)
    assert stored.command.startswith(f"python -m metasgd experiment {name}")
    in_each_fold = {"mnist": 200, "mnist-comparison": 100}  # of five
    assert stored.header["tasks"] >= in_each_fold.get(name, 600)
    for cell in stored:
        check_cell(cell)
        assert cell["part"] == cells[cell.name].part
        assert cell.content.items() >= cells[cell.name].fields.items()


def test_scratch_settings_are_the_best_of_the_stored_grid():
    results = load_results("mnist-scratch")
    for shots, settings in images.SCRATCH.items():
        for method, (_, lr, steps) in settings.items():
            grid = {
                (score.cell["lr"], score.settings["steps"]): score.mean
                for score in results.scores(method=method, shots=shots)
            }
            assert len(grid) == 8
            assert max(grid, key=grid.get) == (lr, steps)


@pytest.mark.parametrize("shots", [1, 5])
@pytest.mark.parametrize("fold", range(NUM_FOLDS))
def test_stored_meta_sgd_is_ahead_of_all_methods_without_meta_training(shots, fold):
    """By non-overlapping 95% intervals, on the same held-out tasks."""
    cell = load_results("mnist-folds").cell(fold=fold, shots=shots, method="meta-sgd")
    ours = cell.score(method="meta-sgd", data="held-out digits")
    for name in images.support_only_methods(MnistRecipe(shots=shots, width=4)):
        other = cell.score(method=name)
        assert ours.mean - ours.half_width > other.mean + other.half_width, name


def test_the_headline_picture_shows_the_stored_results():
    """Both files store a digest of what they were drawn from; ``python book/_static/headline.py`` draws them again."""
    script = Path(__file__).parents[2] / "book" / "_static" / "headline.py"
    digest = runpy.run_path(str(script))["digest"]
    with Image.open(script.with_name("headline.png")) as picture:
        assert picture.text["Description"] == digest()
    assert digest() in script.with_name("headline.svg").read_text(encoding="utf-8")
