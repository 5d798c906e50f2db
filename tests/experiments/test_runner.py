"""Running experiments: what each record says, cells that are made once, and options that an experiment lacks."""

import json
from dataclasses import replace

import pytest
import torch

from metasgd.evaluation import interval
from metasgd.experiments import EXPERIMENTS, run_experiment
from metasgd.experiments.experiment import Cell, Experiment, Setup, loss_curve
from metasgd.experiments.results import load_results, read_results, score_record
from metasgd.experiments.runner import RESULT
from metasgd.recipes.sine import SineRecipe
from tests.experiments.records import PROVENANCE


class Made:
    """An experiment of three cells that counts how often each is run, and stops where it is told to."""

    def __init__(self) -> None:
        self.runs: list[str] = []
        self.stops_at: str | None = None
        self.experiment = Experiment("made", "made up", self.cells, SineRecipe, compiled=True)

    def cells(self, **changes):
        recipe = SineRecipe(**changes)
        return {name: Cell("table", recipe, self.runner(name), {"name": name}) for name in "abc"}

    def runner(self, name):
        def run(setup: Setup, folder):
            if name == self.stops_at:
                raise KeyboardInterrupt
            self.runs.append(name)
            score = interval(torch.full((setup.tasks,), 0.5))
            return {"scores": [score_record(score, method="meta-sgd", data="made up", shots=1)]}

        return run


@pytest.fixture
def made():
    return Made()


def test_a_killed_experiment_goes_on_with_the_cell_that_was_not_done(made, tmp_path):
    folders = {"out": tmp_path, "work": tmp_path / "work", "tasks": 3}
    made.stops_at = "b"
    with pytest.raises(KeyboardInterrupt):
        run_experiment(made.experiment, **folders)
    made.stops_at = None
    assert not (tmp_path / "made.json").exists()
    written = run_experiment(made.experiment, **folders)
    assert made.runs == ["a", "b", "c"]
    results = read_results(written)
    assert [cell["name"] for cell in results] == ["a", "b", "c"]
    assert {score.tasks for score in results.scores()} == {3} == {results.header["tasks"]}


def test_parts_of_an_experiment_make_the_whole_whichever_ends_last(made, tmp_path):
    folders = {"out": tmp_path, "work": tmp_path / "work", "tasks": 2}
    assert run_experiment(made.experiment, shard=(1, 2), **folders) is None
    assert made.runs == ["b"]
    assert len(read_results(run_experiment(made.experiment, shard=(0, 2), **folders))) == 3
    assert made.runs == ["b", "a", "c"]


def test_a_cell_says_how_it_was_made(made, tmp_path):
    """By its settings and fields; the command stands once for all cells, but for one that another command made."""
    folders = {"out": tmp_path, "work": tmp_path / "work", "tasks": 2, "iterations": 7}
    run_experiment(made.experiment, shard=(0, 3), command="before", precision="bfloat16", **folders)
    run_experiment(made.experiment, shard=(1, 3), command="now", **folders)
    results = read_results(run_experiment(made.experiment, command="now", **folders))
    assert results.command == "now"
    first, second, _ = results
    assert (first["part"], first["recipe"], first["name"], first.config["iterations"]) == ("table", "sine", "a", 7)
    assert (first.provenance["command"], first.provenance["precision"]) == ("before", "bfloat16")
    assert not {"command", "precision"} & second.provenance.keys()
    assert PROVENANCE | {"processor"} <= second.provenance.keys()
    assert json.loads((tmp_path / "work" / "made" / "b" / RESULT).read_text())["provenance"]["command"] == "now"


def test_what_an_experiment_cannot_do_is_refused(made, tmp_path):
    folders = {"out": tmp_path, "work": tmp_path / "work"}
    with pytest.raises(ValueError, match="made has no setting width; leave it out"):
        run_experiment(made.experiment, width=3, **folders)
    plain = replace(made.experiment, compiled=False)
    with pytest.raises(ValueError, match=r"made can neither be compiled nor .* leave --compile out"):
        run_experiment(plain, compile=True, **folders)
    with pytest.raises(ValueError, match=r"made can neither be compiled nor .* leave --precision out"):
        run_experiment(plain, precision="bfloat16", **folders)
    assert made.runs == []


def test_a_field_takes_the_place_of_a_setting():
    """A contestant's method is not that of the problem whose other settings it takes."""
    cell = Cell("methods", SineRecipe(), lambda setup, folder: {}, {"method": "anil"})
    assert "method" not in cell.describe()["config"]
    assert cell.describe()["method"] == "anil"


def test_a_loss_curve_has_the_means_of_whole_stretches():
    history = [{"loss": float(loss)} for loss in (1, 3, 5, 7, 9)]
    assert loss_curve(history, 2) == {"every": 2, "mean_loss": [2.0, 6.0]}
    assert loss_curve(history)["every"] == 1
    assert loss_curve([{"loss": 1.0}] * 120) == {"every": 2, "mean_loss": [1.0] * 60}


def test_a_cell_without_mnist_asks_for_it():
    with pytest.raises(ValueError, match="this cell needs MNIST"):
        _ = Setup(1).mnist


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_has_its_stored_results(name):
    """Its name, one line that says what it finds out, and as many test tasks at most as the file."""
    experiment = EXPERIMENTS[name]
    stored = load_results(name)
    assert experiment.name == stored.name == name
    assert experiment.description
    assert "\n" not in experiment.description
    assert experiment.tasks == stored.header.get("tasks", 0)
    assert ("images" in stored.header) == (experiment.data == "mnist")
    cells = experiment.make_cells({})
    assert [cell.name for cell in stored] == list(cells)
    for cell in stored:
        assert cell["part"] == cells[cell.name].part
        assert cell.get("recipe") == (cells[cell.name].recipe.name if cells[cell.name].recipe else None)
        assert cell.content.items() >= cells[cell.name].fields.items()


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_settings_that_an_experiment_lacks_are_refused(name):
    with pytest.raises(ValueError, match=rf"{name} (has no setting nonsense|follows no recipe); leave"):
        EXPERIMENTS[name].make_cells({"nonsense": 1})
