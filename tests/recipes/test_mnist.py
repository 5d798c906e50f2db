"""Few-shot MNIST: what a run trains on, what it is tested on, and the experiments behind the book's results."""

import json
import runpy
from pathlib import Path

import pytest
import torch
from PIL import Image

from metasgd import experiments
from metasgd.data import load_mnist
from metasgd.recipes import images, load_run, meta_train
from metasgd.recipes.mnist import MnistRecipe
from metasgd.tasks.folds import NUM_FOLDS, fold_digits

SMALL = {"width": 4, "iterations": 2, "meta_batch": 2, "num_composites": 3}


@pytest.fixture(scope="module")
def digits():
    return load_mnist(quiet=True)


@pytest.fixture(scope="module")
def marked():
    """Ten classes like MNIST's, but every pixel of digit d has the value d + 1: pixels tell their digit."""
    return [torch.full((60, 28, 28), digit + 1, dtype=torch.uint8) for digit in range(10)]


def digits_in(pictures):
    """The digits whose marks occur in float pictures or in a list of classes."""
    pixels = torch.cat([p.flatten() for p in pictures]) if isinstance(pictures, list) else (pictures * 255).round()
    return {int(value) - 1 for value in pixels.unique()}


@pytest.mark.parametrize("fold", range(NUM_FOLDS))
def test_training_test_and_validation_digits_are_disjoint(marked, fold):
    """Through orientations and composites, too: no pixel of a held-out or validation digit reaches meta-training."""
    training_digits = fold_digits(fold)[0]
    validation = training_digits[-2:]
    config = MnistRecipe(fold=fold, validation_digits=validation, num_composites=10, ways=2)
    trained = digits_in(config.training_classes(marked))
    tested = digits_in(config.test_tasks(marked).sample(20).query_x)
    validated = digits_in(config.validation_tasks(marked).sample(20).query_x)
    assert trained == set(training_digits[:-2])
    assert validated == set(validation)
    assert tested == set(range(10)) - set(training_digits)


def test_own_digits_are_those_of_meta_training(marked):
    pictures = MnistRecipe(fold=2).own_digits_tasks(marked).sample(5).query_x
    assert digits_in(pictures) == set(fold_digits(2)[0])


def test_each_ingredient_widens_the_classes(digits):
    plain = MnistRecipe(fold=0, use_orientations=False, num_composites=0)
    assert len(plain.training_classes(digits)) == 5
    assert len(MnistRecipe(fold=0, num_composites=0).training_classes(digits)) == 12
    assert len(MnistRecipe(fold=0, num_composites=7).training_classes(digits)) == 19


def test_every_method_starts_from_the_same_network():
    starts = [MnistRecipe(method=method, width=4).make_learner() for method in MnistRecipe.choices("method")]
    for learner in starts[1:]:
        assert all(torch.equal(learner.theta[name], value) for name, value in starts[0].theta.items())
    assert [learner.first_order for learner in starts] == [False, True, False]
    assert [any(rate.requires_grad for rate in learner.alpha.values()) for learner in starts] == [True, True, False]


def test_making_a_network_leaves_the_global_random_state_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    MnistRecipe(width=4).make_network()
    assert torch.equal(torch.rand(3), expected)


def test_unknown_method_is_refused():
    with pytest.raises(ValueError, match="method 'sgd' does not exist; choose one of meta-sgd, first-order, maml"):
        MnistRecipe(method="sgd")


def test_a_run_is_loaded_as_it_ended(digits, tmp_path):
    config = MnistRecipe(**SMALL)
    learner, history = meta_train(config, digits, out=tmp_path, progress=False)
    loaded, loaded_config, checkpoint = load_run(tmp_path)
    assert loaded_config == config
    assert checkpoint.history == history
    assert all(torch.equal(loaded.theta[name], value) for name, value in learner.theta.items())
    assert all(torch.equal(loaded.alpha[name], value) for name, value in learner.alpha.items())


@pytest.mark.parametrize(("name", "cell"), [("mnist-folds", 3), ("mnist-classes", 4), ("mnist-scratch", 2)])
def test_an_experiment_runs_a_cell_at_small_size(digits, tmp_path, monkeypatch, name, cell):
    """The same code path as the stored results, on one cell; the others are made up, to see the file put together."""
    monkeypatch.setattr(experiments, "SCRATCH_STEPS", (1,))
    count = len(experiments.EXPERIMENTS[name](experiments.Bench(digits, 6, "cpu"), **SMALL))
    sizes = {"out": tmp_path, "work": tmp_path / "work", "tasks": 10, "command": "as typed", **SMALL}
    assert experiments.run_experiment(name, digits, shard=(cell, count), **sizes) is None
    (finished,) = (tmp_path / "work" / name).glob("*/result.json")
    for other in experiments.EXPERIMENTS[name](experiments.Bench(digits, 6, "cpu")):
        target = tmp_path / "work" / name / other
        target.mkdir(exist_ok=True)
        if not (target / "result.json").exists():
            (target / "result.json").write_text('{"made": "up"}')
    written = experiments.run_experiment(name, digits, **sizes)
    stored = json.loads(written.read_text())
    made = json.loads(finished.read_text())
    assert made.pop("command") == stored["command"] == "as typed"  # once for all cells that were made so
    assert stored["cells"][finished.parent.name] == made
    check_cell(stored["cells"][finished.parent.name])


def check_cell(cell):
    assert cell["accuracy"]
    for score in cell["accuracy"].values():
        assert 0 <= score["mean"] <= 1
        assert score["half_width_95"] >= 0 or score["tasks"] == 1
    assert cell["seconds"] >= 0
    assert {"metasgd", "commit", "torch", "device", "threads"} <= cell.keys()


@pytest.mark.parametrize("name", [name for name in experiments.EXPERIMENTS if name.startswith("mnist-")])
def test_stored_results_are_complete(name, digits):
    stored = experiments.load_results(name)
    assert list(stored["cells"]) == list(experiments.EXPERIMENTS[name](experiments.Bench(digits, 1, "cpu")))
    assert stored["command"].startswith(f"python -m metasgd experiment {name}")
    assert stored["tasks"] >= 600
    for cell in stored["cells"].values():
        check_cell(cell)


def test_scratch_settings_are_the_best_of_the_stored_grid():
    cells = experiments.load_results("mnist-scratch")["cells"].values()
    for shots, settings in images.SCRATCH.items():
        for method, (_, lr, steps) in settings.items():
            grid = {
                (cell["lr"], int(count)): score["mean"]
                for cell in cells
                if (cell["shots"], cell["method"]) == (shots, method)
                for count, score in cell["accuracy"].items()
            }
            assert max(grid, key=grid.get) == (lr, steps)


@pytest.mark.parametrize("shots", [1, 5])
@pytest.mark.parametrize("fold", range(NUM_FOLDS))
def test_stored_meta_sgd_is_ahead_of_all_methods_without_meta_training(shots, fold):
    """By non-overlapping 95% intervals, on the same held-out tasks."""
    cell = experiments.load_results("mnist-folds")["cells"][f"fold{fold}-{shots}shot-meta-sgd"]
    ours = experiments.score_of(cell, "meta-sgd")
    for name in images.support_only_methods(MnistRecipe(shots=shots, width=4)):
        other = experiments.score_of(cell, name)
        assert ours.mean - ours.half_width > other.mean + other.half_width, name


def test_missing_results_name_the_command(monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"python -m metasgd benchmark --out book/results/nothing\.json"):
        experiments.load_results("nothing")
    monkeypatch.setitem(experiments.EXPERIMENTS, "nothing", None)
    with pytest.raises(FileNotFoundError, match="python -m metasgd experiment nothing"):
        experiments.load_results("nothing")


def test_the_headline_picture_shows_the_stored_results():
    """The picture stores a digest of what it was drawn from; draw it again by ``python book/_static/headline.py``."""
    script = Path(__file__).parents[2] / "book" / "_static" / "headline.py"
    digest = runpy.run_path(str(script))["digest"]
    with Image.open(script.with_name("headline.png")) as picture:
        assert picture.text["Description"] == digest(experiments.load_results("mnist-folds"))
