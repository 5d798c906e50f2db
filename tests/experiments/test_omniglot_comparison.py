"""The experiment omniglot-comparison: its cells at small size, how settings are chosen, and what the runs say."""

import pytest
import torch

from metasgd.experiments import load_results
from metasgd.experiments.comparison import COMPARED_SEEDS, Choice
from metasgd.experiments.experiment import Setup
from metasgd.experiments.omniglot_comparison import (
    CHARACTERS,
    CHOICES,
    TO_MNIST,
    compared,
    make_cells,
    to_mnist_cell,
    validation_characters,
)
from metasgd.experiments.results import Results, StoredCell
from metasgd.recipes import omniglot
from metasgd.recipes.omniglot import OmniglotRecipe
from tests.experiments.test_comparison import assert_best

SMALL = {"width": 4, "iterations": 2}


@pytest.fixture
def setup(folder, monkeypatch) -> Setup:
    """Thirty characters that train, ten of them for the choice."""
    monkeypatch.setattr(omniglot, "VALIDATION", 10)
    return Setup(2, root=folder)


@pytest.fixture(scope="module")
def stored() -> Results:
    return load_results("omniglot-comparison")


@pytest.mark.parametrize("method", [*CHOICES, "fine-tuning", "class means of features", "from scratch"])
def test_every_method_is_tested_on_characters_that_are_left_out(method, setup, tmp_path):
    descent = {"lr": 0.1, "steps": 2, "part": "all"}
    choice = CHOICES.get(method) or Choice(outer=3e-3, classes=30, descent=descent)
    (cell,) = CHARACTERS.compared_cell(method, choice, SMALL | {"seed": 1, "characters": 30}).values()
    run = StoredCell("run", cell.describe() | cell.run(setup, tmp_path))
    assert {(score.method, score.data, score.shots) for score in run.scores()} == {
        (method, "characters", 1),
        (method, "characters", 5),
    }


def test_runs_on_all_characters_are_tested_on_digits(setup, tmp_path):
    (cell,) = to_mnist_cell("protonet", CHOICES["protonet"], SMALL | {"seed": 1, "characters": 60}).values()
    run = StoredCell("run", cell.describe() | cell.run(setup, tmp_path))
    assert {score.data for score in run.scores()} == {"digits"}


def test_settings_are_chosen_on_characters_that_no_run_trains_on(setup, tmp_path):
    changes = SMALL | {"characters": 20}
    (cell,) = CHARACTERS.tuning_cell("maml", CHOICES["maml"], changes).values()
    (score,) = cell.run(setup, tmp_path)["scores"]
    assert score["data"] == "validation characters"
    recipe = OmniglotRecipe(**changes)
    training, validation, test = map(set, recipe.split_characters())
    assert len(validation) == 10
    assert not validation & (training | test)
    assert validation_characters(recipe, setup).sample(1, torch.Generator()).support_y.max() == 4


def test_every_method_has_the_settings_that_are_best_on_validation_characters(stored):
    assert_best(stored, CHOICES)


def test_all_cells_are_stored_and_were_run_by_the_same_code(stored):
    cells = make_cells()
    assert [cell.name for cell in stored] == list(cells)
    for cell in stored:
        made = cells[cell.name]
        assert (cell["part"], OmniglotRecipe(**cell.config)) == (made.part, made.recipe)
    assert len({(cell["provenance"]["commit"], cell["provenance"]["torch"]) for cell in stored}) == 1
    assert stored.command.startswith("python -m metasgd experiment omniglot-comparison")
    assert "/" not in stored.command


@pytest.mark.parametrize("shots", [1, 5])
def test_every_method_has_three_runs(stored, shots):
    found = compared(stored, shots)
    assert list(found) == list(CHOICES)
    assert {tuple(values.shape) for values in found.values()} == {(COMPARED_SEEDS,)}
    assert list(compared(stored, shots, "to MNIST")) == list(TO_MNIST)
    cell = stored.cell(part="to MNIST", method="maml", seed=2)
    assert compared(stored, shots, "to MNIST")["maml"][2] == cell.score(shots=shots).mean
