"""The experiments on Omniglot that train: cells at small size, and the stored results."""

import json

import pytest
import torch

from metasgd.evaluation import Evaluation
from metasgd.experiments import EXPERIMENTS, character_scores, load_results, omniglot_methods, run_experiment
from metasgd.experiments.experiment import Setup
from metasgd.experiments.results import ACCURACY, CALIBRATION_ERROR, NLL, StoredCell
from metasgd.recipes.omniglot import OmniglotRecipe
from tests.experiments.records import PROVENANCE

SMALL = {"width": 4, "iterations": 2, "meta_batch": 2}


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ("omniglot", "5way-maml"),
        ("omniglot", "20way-meta-sgd"),
        ("omniglot", "5way-started"),
        ("omniglot-mnist", "10way"),
    ],
)
def test_an_experiment_runs_a_cell_at_small_size(folder, tmp_path, name, cell):
    """The same code path as the stored results, on one cell; the others are made up, to see the file put together."""
    changes = SMALL | ({"characters": 30} if name == "omniglot" else {})
    experiment = EXPERIMENTS[name]
    cells = list(experiment.make_cells(changes))
    sizes = {"out": tmp_path, "work": tmp_path / "work", "root": folder, "tasks": 3, "command": "as typed", **changes}
    shard = (cells.index(cell), len(cells))
    if cell == "5way-started":
        sizes["precision"] = "bfloat16"
    assert run_experiment(experiment, shard=shard, **sizes) is None
    finished = json.loads((tmp_path / "work" / name / cell / "result.json").read_text())
    read = StoredCell(cell, finished)
    check_cell(read, tasks=3)
    if cell == "20way-meta-sgd":
        assert [(score.ways, score.shots) for score in read.scores(variant="fewer ways")] == [(5, 1), (5, 5)]
    assert read.provenance.get("precision") == sizes.get("precision")
    for other in cells:
        target = tmp_path / "work" / name / other
        target.mkdir(exist_ok=True)
        if other != cell:
            (target / "result.json").write_text('{"provenance": {"command": "made up"}}')
    written = run_experiment(experiment, **sizes)
    stored = json.loads(written.read_text())
    assert list(stored["cells"]) == cells
    assert finished["provenance"].pop("command") == stored["command"]  # once for all cells that were made so
    assert stored["cells"][cell] == finished


def test_prototypes_of_larger_tasks_are_tested_with_fewer_ways(folder, tmp_path, monkeypatch):
    """The code path of the stored results. Thirty characters train, in four turns, and thirty test."""
    monkeypatch.setitem(omniglot_methods.LARGER_TASKS, "ways", 40)
    cells = EXPERIMENTS["omniglot-methods"].make_cells({"width": 4, "iterations": 2, "characters": 30})
    ((name, cell),) = cells.items()
    found = StoredCell(name, cell.describe() | cell.run(Setup(3, root=folder), tmp_path))
    expected = [(ways, "protonet", shots) for ways in (5, 20) for shots in (1, 5)]
    assert [(score.ways, score.method, score.shots) for score in found.scores(data="characters")] == expected
    assert len(found.scores()) == len(expected)
    assert all(score.tasks == 3 for score in found.scores())
    assert found.config["ways"] == 40


def test_a_run_on_all_characters_is_tested_on_digits_and_another_on_its_own_test_characters(folder, monkeypatch):
    tested = []
    score = Evaluation(0.5, 0.1, torch.zeros(3))
    monkeypatch.setattr(
        character_scores, "evaluate", lambda method, sampler, *_, **__: tested.append(sampler) or score
    )
    for characters, data in ((60, "digits"), (30, "characters")):
        tests = [("a", None, None), ("b", "changed", None)]
        scores = character_scores.scores_of_test(tests, OmniglotRecipe(characters=characters), 3, root=folder)
        assert [(score["method"], score.get("variant"), score["data"]) for score in scores] == [
            ("a", None, data),
            ("b", "changed", data),
        ] * 2
    classes = [len(sampler._counts) for sampler in tested]
    assert classes == [10] * 4 + [30] * 4
    assert [sampler.shots for sampler in tested] == [1, 1, 5, 5] * 2


def test_mnist_settings_are_refused(tmp_path, capsys):
    with pytest.raises(ValueError, match="omniglot has no setting fold; leave it out"):
        EXPERIMENTS["omniglot"].make_cells({"fold": 1})


def check_cell(cell, tasks):
    """The schema: how the cell was made, and an accuracy with each number of shots, beside the pixels'."""
    config = OmniglotRecipe(**cell.config)
    names = [(name, shots) for shots in (1, 5) for name in (config.method, "nearest class mean")]
    assert [(score.method, score.shots) for score in cell.scores(variant=None)] == names
    assert {score.ways for score in cell.scores() if score.variant != "fewer ways"} == {config.ways}
    assert cell["recipe"] == "omniglot"
    for score in cell.scores():
        assert 0 <= score.mean <= 1
        assert score.half_width >= 0
        assert score.tasks == tasks
        assert score.data == ("characters" if config.split_characters()[2] else "digits")
    assert cell.provenance.keys() >= PROVENANCE
    assert all(loss > 0 for loss in cell["loss_curve"]["mean_loss"])


@pytest.mark.parametrize("name", ["omniglot", "omniglot-mnist"])
def test_stored_results_are_complete(name):
    stored = load_results(name)
    cells = EXPERIMENTS[name].make_cells({})
    assert [cell.name for cell in stored] == list(cells)
    assert stored.command.startswith(f"python -m metasgd experiment {name}")
    assert "/" not in stored.command
    assert stored.header["tasks"] >= 600
    for cell in stored:
        check_cell(cell, stored.header["tasks"])
        assert OmniglotRecipe(**cell.config) == cells[cell.name].recipe
        assert cell["part"] == cells[cell.name].part
        assert cell.content.items() >= cells[cell.name].fields.items()


def test_the_stored_prototypes_are_those_that_the_experiment_names():
    stored = load_results("omniglot-methods")
    cells = EXPERIMENTS["omniglot-methods"].make_cells({})
    assert [cell.name for cell in stored] == list(cells)
    assert stored.command.startswith("python -m metasgd experiment omniglot-methods")
    assert stored.header["tasks"] >= 600
    (cell,), (made,) = stored, cells.values()
    assert (cell["part"], cell["method"]) == (made.part, made.fields["method"])
    assert OmniglotRecipe(**cell.config) == made.recipe
    found = {(score.ways, score.shots) for score in cell.scores()}
    assert found == {(ways, shots) for ways in omniglot_methods.TEST_WAYS for shots in (1, 5)}
    assert all(score.tasks == stored.header["tasks"] for score in cell.scores())
    assert cell.provenance.keys() >= PROVENANCE


def test_stored_runs_on_omniglot_are_ahead_of_pixels():
    """By non-overlapping 95% intervals, on the same tasks, in each cell that has the whole recipe."""
    for name in ("omniglot", "omniglot-mnist"):
        for cell in load_results(name).select(part="table"):
            for shots in (1, 5):
                ours = cell.score(method=cell.config["method"], variant=None, shots=shots)
                pixels = cell.score(method="nearest class mean", shots=shots)
                assert ours.mean - ours.half_width > pixels.mean + pixels.half_width, (name, cell, shots)


def test_prototypes_on_the_way_to_mnist_run_at_small_size(folder, tmp_path):
    """They are tested on digits, with one picture of each, and by all three measures."""
    name = "protonet-10way-pictures-seed0"
    made = EXPERIMENTS["omniglot-mnist-methods"].make_cells({"width": 4, "iterations": 2})[name]
    check_prototypes(StoredCell(name, made.describe() | made.run(Setup(3, root=folder), tmp_path)), tasks=3)


def check_prototypes(cell, tasks):
    found = [(score.method, score.data, score.ways, score.shots, score.metric) for score in cell.scores()]
    metrics = (ACCURACY, NLL, CALIBRATION_ERROR)
    assert found == [(cell["method"], "digits", cell.config["ways"], 1, metric) for metric in metrics]
    assert all(score.tasks == tasks for score in cell.scores())


def test_the_stored_prototypes_are_those_of_the_experiment():
    stored, cells = load_results("omniglot-mnist-methods"), EXPERIMENTS["omniglot-mnist-methods"].make_cells({})
    assert [cell.name for cell in stored] == list(cells)
    assert stored.command.startswith("python -m metasgd experiment omniglot-mnist-methods")
    assert "/" not in stored.command
    for cell in stored:
        made = cells[cell.name]
        assert (cell["method"], OmniglotRecipe(**cell.config)) == (made.fields["method"], made.recipe)
        check_prototypes(cell, stored.header["tasks"])
