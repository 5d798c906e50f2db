"""The experiments that test shipped learners, at small size and stored; and these learners keep their accuracy."""

import math
from dataclasses import asdict, replace

import pytest
import torch

from metasgd.data import load_mnist_sample
from metasgd.evaluation import evaluate
from metasgd.experiments import EXPERIMENTS, TEST_SEED, copies, load_results, omniglot_errors, run_experiment
from metasgd.experiments.experiment import Setup
from metasgd.experiments.results import StoredCell, read_results
from metasgd.recipes import omniglot, shipped
from metasgd.recipes.glyphs import GlyphsRecipe
from metasgd.recipes.omniglot import OmniglotRecipe
from metasgd.tasks import fold_digits
from tests.experiments.records import PROVENANCE


@pytest.mark.parametrize("experiment", ["copies", "omniglot-errors", "pictures"])
def test_what_trains_nothing_takes_no_settings(experiment):
    for change, name in (({"iterations": 3}, "iterations"), ({"seed": 1}, "seed")):
        with pytest.raises(ValueError, match=f"{experiment} follows no recipe; leave {name} out"):
            EXPERIMENTS[experiment].make_cells(change)


def test_a_cell_of_copies_tests_a_shipped_learner_in_four_ways(tmp_path, monkeypatch):
    """At small size; the way without copies gives what `evaluate` gives."""
    monkeypatch.setattr(copies, "weights_names", lambda: ["omniglot-mnist-5way"])
    file = run_experiment(EXPERIMENTS["copies"], out=tmp_path, work=tmp_path / "work", tasks=2)
    (cell,) = read_results(file)
    check_copies_cell(cell, tasks=2)
    learner, _ = shipped.load_weights("omniglot-mnist-5way")
    sampler = omniglot.digit_sampler(load_mnist_sample(), 5, 1)
    plain = evaluate(learner, sampler, 2, seed=TEST_SEED)
    assert cell.score(variant="no copies", shots=1).mean == pytest.approx(plain.mean, abs=1e-4)


def check_copies_cell(cell, tasks):
    ways = ("no copies", "of support pictures", "of queries", "of both")
    found = [(score.method, score.variant, score.shots) for score in cell.scores()]
    assert found == [("meta-sgd", way, shots) for shots in (1, 5) for way in ways]
    assert {score.tasks for score in cell.scores()} == {tasks}
    assert cell.provenance.keys() >= PROVENANCE


def test_stored_copies_are_of_the_shipped_learners():
    """And agree with what their own experiment measured, but for the rounding of the weights to half precision."""
    stored = load_results("copies")
    cells = EXPERIMENTS["copies"].make_cells({})
    assert [cell.name for cell in stored] == list(cells)
    of_omniglot = {name for name in shipped.weights_names() if name.startswith("omniglot")}
    assert set(cells) == of_omniglot - {"omniglot-20way"}  # which would take half an hour
    assert stored.command.startswith("python -m metasgd experiment copies")
    assert "/" not in stored.command
    for cell in stored:
        check_copies_cell(cell, stored.header["tasks"])
        _, record = shipped.load_weights(cell["weights"])
        assert (cell.name, cell.config) == (cell["weights"], record["config"])
        own = StoredCell("own", record)
        for shots in (1, 5):
            here = cell.score(variant="no copies", shots=shots)
            there = own.score(method=here.method, variant=None, shots=shots, ways=here.ways, data=here.data)
            assert here.mean == pytest.approx(there.mean, abs=1e-3)


def test_a_cell_of_errors_counts_what_a_learner_takes_for_what(folder, tmp_path, monkeypatch):
    """The code path of the stored results, at small size, with a learner that knows nothing."""
    config = OmniglotRecipe(width=4, characters=30)
    learner, record = config.make_learner(), {"config": asdict(config)}
    monkeypatch.setattr(omniglot_errors, "weights_names", lambda: ["ignorant"])
    monkeypatch.setattr(omniglot_errors, "weights_record", lambda _: record)
    monkeypatch.setattr(omniglot_errors, "load_weights", lambda *_: (learner, record))
    (cell,) = EXPERIMENTS["omniglot-errors"].make_cells({}).values()
    found = StoredCell("ignorant", cell.describe() | cell.run(Setup(3, root=folder), tmp_path))
    wrong = check_errors_cell(found, tasks=3)
    sampler = config.test_tasks(config.load_test_data(folder))
    expected = evaluate(learner, sampler, 3, seed=TEST_SEED)
    assert [1 - number / 75 for number in wrong] == pytest.approx(expected.per_task.tolist())
    worst = found["worst_pairs"][0]
    characters = config.split_characters()[2]
    for place, texts in zip(worst["characters"], worst["drawings"], strict=True):
        drawings = omniglot.load_drawings("pictures", folder)[characters[place]]
        assert torch.equal(torch.stack(list(map(omniglot_errors.from_text, texts))), drawings[: len(texts)])
        assert len(texts) == omniglot_errors.SHOWN_DRAWINGS


def check_errors_cell(cell, tasks):
    """Return the wrong answers of each task, which are those of the accuracy and no fewer than those of the pairs."""
    (score,) = cell.scores()
    wrong = [score.answers - right for right in score.right_answers]
    assert len(wrong) == score.tasks == tasks
    assert score.mean == pytest.approx(1 - sum(wrong) / (tasks * score.answers), abs=1e-5)
    assert score.answers == cell.config["ways"] * 15
    numbers = [pair["wrong"] for pair in cell["worst_pairs"]]
    assert numbers == sorted(numbers, reverse=True)
    assert 0 < len(numbers) <= omniglot_errors.SHOWN_PAIRS
    assert sum(numbers) <= sum(wrong)
    return wrong


def test_stored_errors_are_those_of_the_shipped_learners():
    """And agree with what their own experiment measured, but for the rounding of the weights to half precision."""
    stored = load_results("omniglot-errors")
    assert [cell.name for cell in stored] == list(EXPERIMENTS["omniglot-errors"].make_cells({}))
    assert stored.command == "python -m metasgd experiment omniglot-errors"
    for cell in stored:
        check_errors_cell(cell, stored.header["tasks"])
        _, record = shipped.load_weights(cell["weights"])
        assert (cell.name, cell.config) == (cell["weights"], record["config"])
        (here,) = cell.scores()
        there = StoredCell("own", record).score(method=here.method, ways=here.ways, shots=here.shots, data=here.data)
        assert here.mean == pytest.approx(there.mean, abs=1e-3)
        for pair in cell["worst_pairs"]:
            shapes = {tuple(omniglot_errors.from_text(text).shape) for row in pair["drawings"] for text in row}
            assert shapes == {(28, 28)}


@pytest.mark.parametrize("name", shipped.weights_names())
def test_shipped_weights_keep_their_accuracy(name, request):
    """On the first 60 of the file's tasks; of 600, their mean has a 95% interval sqrt(600 / 60) times as wide.

    Four standard errors, twice that interval: with these few shipped, a right one fails with a chance below 1e-3.
    """
    learner, record = shipped.load_weights(name)
    config = shipped.shipped_recipe(record)
    (stored,) = (cell for cell in load_results(record["experiment"]) if cell.name == record["cell"])
    own = StoredCell(record["cell"], record)
    assert [replace(score, cell=stored) for score in own.scores()] == [
        score for score in stored.scores() if score.variant != "fewer ways"
    ]
    score, *_ = own.scores(method=config.method, variant=None, shots=1)
    if isinstance(config, GlyphsRecipe):
        fold = score.settings["fold"]
        sampler = replace(config, deslant=False).digit_tasks(load_mnist_sample(), fold_digits(fold)[1])
    else:
        root = request.getfixturevalue("full_omniglot_folder") if config.split_characters()[2] else None
        sampler = replace(config, shots=1).test_tasks(config.load_test_data(root))
    found = evaluate(learner, sampler, 60, seed=TEST_SEED).mean
    assert abs(found - score.mean) < 2 * math.sqrt(score.tasks / 60) * score.half_width
