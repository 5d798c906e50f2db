"""The comparisons of methods on MNIST and what chose their settings: at small size, and the stored results."""

import json
from pathlib import Path

import pytest

from metasgd.data import load_mnist
from metasgd.experiments import EXPERIMENTS, TEST_SEED, VALIDATION_SEED, load_results, mnist_tuning
from metasgd.experiments.experiment import Setup
from metasgd.experiments.mnist_methods import METHOD_RUN, METHOD_SEEDS
from metasgd.experiments.mnist_methods_5shot import FIVE_SHOT_METHODS
from metasgd.experiments.mnist_tuning import FINE_TUNING_GRID, METHOD_FINE_TUNING, METHOD_SETTINGS, TUNING_GRID
from metasgd.experiments.results import StoredCell, method_rows
from metasgd.recipes import contestants
from metasgd.recipes.mnist import MnistRecipe

SMALL = {"width": 4, "iterations": 2, "meta_batch": 2, "num_composites": 3}


@pytest.fixture(scope="module")
def digits():
    return load_mnist(quiet=True)


@pytest.mark.parametrize(
    ("name", "cell", "scores"),
    [
        ("mnist-methods", "meta-sgd-seed0", 10),
        ("mnist-methods", "layer-rates-seed1", 1),
        ("mnist-methods", "fine-tuning-seed0", 2),
        ("mnist-methods", "protonet-seed0", 1),
        ("mnist-methods-5shot", "maml-seed0", 1),
        ("mnist-methods-5shot", "fine-tuning-seed0", 2),
        ("mnist-tuning", "meta-sgd-0.3", 1),
        ("mnist-tuning", "fine-tuning", 3),
    ],
)
def test_the_experiments_run_at_small_size(digits, tmp_path, monkeypatch, name, cell, scores):
    """The code path of the stored results, for one cell of each kind."""
    monkeypatch.setattr(mnist_tuning, "FINE_TUNING_GRID", FINE_TUNING_GRID[::19])
    cells = EXPERIMENTS[name].make_cells(SMALL)
    result = StoredCell(
        cell, json.loads(json.dumps(cells[cell].describe() | cells[cell].run(Setup(6, images=digits), tmp_path)))
    )
    assert len(result.scores()) == scores
    for score in result.scores():
        assert (score.right_answers is not None) == (name != "mnist-tuning")
        assert score.data == ("validation digits" if name == "mnist-tuning" else "held-out digits")
    assert ("rates" in result) == (result["method"] in ("meta-sgd", "layer-rates"))
    assert result.config["fold"] == 1
    assert result.config["shots"] == (5 if name.endswith("5shot") else 1)


@pytest.fixture(scope="module", params=["mnist-methods", "mnist-methods-5shot"])
def stored(request):
    return load_results(request.param)


def methods_of(stored):
    methods = {"mnist-methods": tuple(METHOD_SETTINGS), "mnist-methods-5shot": FIVE_SHOT_METHODS}
    return methods[stored.name]


def test_the_stored_comparison_has_every_method_from_every_seed_at_one_budget(stored):
    """The same digits, tasks, network and number of meta-updates, and settings that the grid has chosen."""
    shots, names = 5 if stored.name.endswith("5shot") else 1, methods_of(stored)
    assert len(stored) == METHOD_SEEDS * len(names)
    for name in names:
        for seed in range(METHOD_SEEDS):
            cell = stored.cell(method=name, seed=seed)
            settings = METHOD_RUN | METHOD_SETTINGS[name]
            run = MnistRecipe(**settings | {"shots": shots, "seed": seed})
            assert {**cell.config, "validation_digits": ()} == {
                key: value for key, value in run.settings().items() if key != "method"
            }
            assert cell.name == f"{name}-seed{seed}"
            assert cell["part"] == "methods"


def test_the_stored_accuracies_are_the_means_of_the_right_answers(stored):
    """Two numbers for one thing in the file: they agree to the five decimals that are stored."""
    for score in stored.scores():
        assert len(score.right_answers) == stored.header["tasks"] == score.tasks
        assert sum(score.right_answers) / score.tasks / 75 == pytest.approx(score.mean, abs=1e-5)


def test_rates_in_the_file_are_those_of_every_learner_with_learned_rates(stored):
    for cell in stored:
        options = contestants.GRADIENT_METHODS.get(cell["method"], {"learn_alpha": False})
        assert ("rates" in cell) == options.get("learn_alpha", True)
        for values in (cell.get("rates") or {}).values():
            assert 0 <= values["negative"] <= 1
            assert values["low"] <= values["middle"] <= values["high"]
            if cell["method"] == "nonnegative":
                assert values["negative"] == 0


def test_settings_were_chosen_on_digits_of_meta_training():
    for cell in load_results("mnist-tuning"):
        assert cell.config["fold"] == METHOD_RUN["fold"]
        assert cell.config["validation_digits"] == [7, 9]
        assert {score.data for score in cell.scores()} == {"validation digits"}
        assert cell["task_seed"] == VALIDATION_SEED != TEST_SEED


@pytest.mark.parametrize("name", [name for name, grid in TUNING_GRID.items() if len(grid) > 1])
def test_each_method_has_the_best_settings_of_its_grid(name):
    tried = load_results("mnist-tuning").scores(method=name)
    assert len(tried) == len(TUNING_GRID[name])
    best = max(tried, key=lambda score: score.mean).cell.config
    assert METHOD_SETTINGS[name].items() <= best.items()


def test_fine_tuning_has_the_best_settings_of_its_grid():
    tried = load_results("mnist-tuning").scores(method="fine-tuning")
    assert [score.settings for score in tried] == FINE_TUNING_GRID
    assert max(tried, key=lambda score: score.mean).settings == METHOD_FINE_TUNING


def test_the_tables_of_the_chapters_are_the_files(stored):
    """They show ``method_rows``, which are the accuracies of the file, and have no numbers of their own."""
    file = stored.name
    chapters = ("08-mnist", "11-what-alpha-learned") if file == "mnist-methods" else ("01-why-learn-to-learn",)
    for chapter in chapters:
        text = (Path(__file__).parents[2] / "book" / f"{chapter}.ipynb").read_text(encoding="utf-8")
        assert f'load_results(\\"{file}\\")' in text
        assert "method_rows(" in text
    rows = method_rows(stored, {name: name for name in methods_of(stored)})
    for name, (mean, seeds) in rows.items():
        cells = [stored.cell(method=name, seed=seed) for seed in range(METHOD_SEEDS)]
        assert [score.mean for score in seeds] == [cell.score(method=name, variant=None).mean for cell in cells]
        assert mean.mean == pytest.approx(sum(score.mean for score in seeds) / len(seeds), abs=1e-5)
