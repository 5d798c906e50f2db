"""Results files are read by fields; what is not there, or not the only one, is refused with what there is."""

import json

import pytest
import torch

from metasgd._core import files
from metasgd._core.files import to_json, write_json
from metasgd.evaluation import Evaluation, evaluate, interval
from metasgd.experiments import load_benchmark, load_results
from metasgd.experiments.results import (
    SCORE_FIELDS,
    Results,
    StoredCell,
    difference_of_rows,
    how_read,
    mean_of_seeds,
    method_rows,
    read_results,
    result_names,
    score_record,
)


def record(method, mean, **fields):
    """A score of two tasks."""
    given = {"metric": "accuracy", "method": method, "data": "digits", "ways": 5, "shots": 1}
    return given | {"mean": mean, "half_width_95": 0.1, "tasks": 2} | fields


@pytest.fixture
def results():
    cells = {
        "a": {"part": "table", "config": {"fold": 0, "shots": 5}, "scores": [record("maml", 0.1)]},
        "b": {
            "part": "table",
            "config": {"fold": 1, "shots": 1, "digits": [7, 9]},
            "scores": [record("maml", 0.2), record("maml", 0.3, variant="clipped"), record("maml", 0.4, shots=5)],
        },
        "c": {"part": "tuning", "rung": "first", "config": {"fold": 1}, "scores": [record("anil", 0.5)]},
    }
    return Results("some", {"command": "python"}, [StoredCell(name, content) for name, content in cells.items()])


def means(scores):
    return [score.mean for score in scores]


def test_scores_are_chosen_by_their_own_fields_and_by_those_of_their_cell(results):
    assert means(results.scores()) == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert means(results.scores(method="maml", shots=1)) == [0.1, 0.2, 0.3]
    assert means(results.scores(method="maml", shots=1, variant=None)) == [0.1, 0.2]
    assert means(results.scores(part="table", fold=1, variant="clipped")) == [0.3]
    assert means(results.scores(rung="first")) == [0.5]


def test_cells_are_chosen_by_their_fields_or_else_their_settings(results):
    """So a score's shots, those of its test, are chosen apart from those of meta-training."""
    assert [cell.name for cell in results.select(shots=5)] == ["a"]
    assert means(results.select(shots=1).scores(shots=5)) == [0.4]
    assert results.cell(part="tuning").name == "c"
    assert results.cell(digits=(7, 9)).name == "b"  # JSON has lists alone
    assert len(results.select(part="nothing")) == 0


def test_a_field_that_no_cell_has_is_refused(results):
    with pytest.raises(LookupError, match=r"no cell of some has a field 'phase'; there are part, config, fold, shots"):
        results.scores(phase=1)
    with pytest.raises(LookupError, match="no cell of some has a field 'phase'"):
        results.select(phase=1)


def test_one_score_is_one_or_an_error_that_says_what_there_is(results):
    assert results.score(method="anil").mean == 0.5
    with pytest.raises(
        LookupError, match=r"2 scores of some have method='maml', fold=1, shots=1; there are variant: "
    ):
        results.score(method="maml", fold=1, shots=1)
    with pytest.raises(LookupError, match=r"0 scores of some have method='sgd'; there are method: 'maml', 'anil'"):
        results.score(method="sgd")
    with pytest.raises(LookupError, match="0 scores of b have method='sgd'"):
        results.cell(digits=(7, 9)).score(method="sgd")


def test_one_cell_is_one_or_an_error_that_says_what_there_is(results):
    with pytest.raises(LookupError, match="2 cells of some have fold=1; name the fields of one: b, c"):
        results.cell(fold=1)
    with pytest.raises(LookupError, match="0 cells of some have fold=3; name the fields of one: a, b, c"):
        results.cell(fold=3)
    with pytest.raises(KeyError, match="loss_curve: the cell 'c' has the fields part, rung, config"):
        results.cell(rung="first")["loss_curve"]


def test_accuracies_of_tasks_are_the_right_answers_by_the_number_of_answers():
    cell = StoredCell("a", {"scores": [record("maml", 0.5, answers=75, right_answers=[30, 45])]})
    (score,) = cell.scores()
    torch.testing.assert_close(score.per_task, torch.tensor([0.4, 0.6]))
    assert score.evaluation.mean == 0.5
    assert len(StoredCell("a", {"scores": [record("maml", 0.5)]}).score().per_task) == 0


def test_a_score_is_read_as_it_was_recorded():
    """The mean and the interval to five decimals, the tasks by their right answers."""
    score = Evaluation(1 / 3, 0.0123456, torch.tensor([0.2, 0.4, 0.4]))
    said = {"method": "maml", "data": "digits", "ways": 5, "shots": 1, "variant": "clipped", "settings": {"lr": 0.1}}
    written = json.loads(json.dumps(score_record(score, **said, answers=75)))
    read = StoredCell("a", {"scores": [written]}).score()
    assert {name: getattr(read, name) for name in SCORE_FIELDS} == {"metric": "accuracy", **said}
    assert (read.mean, read.half_width, read.tasks) == (0.33333, 0.01235, 3)
    assert read.right_answers == (15, 30, 30)
    torch.testing.assert_close(read.per_task, score.per_task)


def test_queries_were_read_together_where_nothing_says_otherwise():
    """Else as the settings of the run say, or those of this one test."""
    of_run = {"config": {"query_statistics": "support"}}
    alone = record("maml", 0.5, settings={"query_statistics": "support+query"})
    (plain,) = StoredCell("a", {"scores": [record("maml", 0.5)]}).scores()
    trained, asked = StoredCell("b", {**of_run, "scores": [record("maml", 0.5), alone]}).scores()
    assert [score.read_by for score in (plain, trained, asked)] == ["queries", "support", "support+query"]
    assert how_read([plain, plain]) == "queries are read together"
    assert how_read([plain, trained]) == "queries are read together, or by the support set"


def comparison(answers):
    """Cells of methods from several seeds, with the right answers of two tasks of 75."""
    return Results(
        "some",
        {},
        [
            StoredCell(
                f"{method}-{seed}",
                {"config": {"seed": seed}, "scores": [record(method, 0.5, answers=75, right_answers=right)]},
            )
            for (method, seed), right in answers.items()
        ],
    )


def test_a_row_is_the_mean_over_the_seeds_of_a_method_and_the_score_of_each():
    """Two tasks of 5 ways with 15 queries each, 75 answers: the task means over two seeds are 0.5 and 0.7."""
    results = comparison({("maml", 0): [30, 45], ("maml", 1): [45, 60], ("first-order-maml", 0): [1, 2]})
    scores = results.scores(method="maml")
    assert [score.per_task.tolist() for score in scores] == [pytest.approx([0.4, 0.6]), pytest.approx([0.6, 0.8])]
    mean = mean_of_seeds([score.evaluation for score in scores])
    assert mean.per_task.tolist() == pytest.approx([0.5, 0.7])
    assert mean.mean == pytest.approx(0.6)
    ((row, seeds),) = method_rows(results, {"MAML": "maml"}).values()
    assert torch.equal(row.per_task, mean.per_task)
    assert [seed.mean for seed in seeds] == [0.5, 0.5]


def test_rows_are_compared_task_by_task_on_the_seeds_that_they_share():
    """Seed 0: differences 0.1 and 0.3 of two tasks. The second row has no other seed. Their standard deviation is

    0.1 * sqrt(2), so that the half-width is 1.96 * 0.1.
    """

    def seed(*tasks: float) -> Evaluation:
        return interval(torch.tensor(tasks))

    first, second = [seed(0.5, 0.8), seed(0.0, 0.0)], [seed(0.4, 0.5)]
    difference, ahead = difference_of_rows((first[0], first), (second[0], second))
    assert difference.mean == pytest.approx(0.2)
    assert difference.half_width == pytest.approx(0.196)
    assert ahead == 1


def test_missing_results_name_the_command():
    with pytest.raises(FileNotFoundError, match="python -m metasgd experiment nothing"):
        load_results("nothing")
    with pytest.raises(FileNotFoundError, match=r"python -m metasgd benchmark --out book/results/nothing\.json"):
        load_benchmark("nothing")


def test_a_file_of_another_format_is_refused_with_what_reads_it(tmp_path):
    (tmp_path / "old.json").write_text('{"experiment": "sine", "cells": {}}')
    with pytest.raises(ValueError, match=r"has format None, not 2: .* by python -m metasgd\.tools\.convert_results"):
        read_results(tmp_path / "old.json")


@pytest.mark.parametrize("name", [name for name in result_names() if not name.startswith("benchmark-")])
def test_no_two_scores_of_a_stored_cell_have_the_same_fields(name):
    """So each can be asked for."""
    for cell in load_results(name):
        scores = cell.scores()
        for score in scores:
            fields = {field: getattr(score, field) for field in SCORE_FIELDS}
            assert cell.score(**fields) is score


def test_the_checkout_comes_before_what_the_package_ships(tmp_path, monkeypatch):
    folders = tmp_path / "checkout", tmp_path / "shipped"
    monkeypatch.setitem(files.FOLDERS, "results", folders)
    for folder in folders[::-1]:
        write_json(folder / "some.json", {"results": folder.name})
        assert load_benchmark("some") == {"results": folder.name}
    assert result_names() == ["some"]


def test_json_is_read_as_it_was_written_with_plain_lists_on_one_line():
    content = {
        "a": [],
        "b": {},
        "c": [1, 2.5, None, "ä"],
        "d": [{"e": list(range(100))}, {"f": [[1, 2], [3]]}],
        "g": (),
    }
    text = to_json(content)
    assert json.loads(text) == json.loads(json.dumps(content))
    assert ' "c": [1, 2.5, null, "\\u00e4"],\n' in text
    assert to_json([1, 2]) == "[\n 1,\n 2\n]"  # a file is never a single line


def test_an_evaluation_is_recorded_as_it_was_found():
    class Halves:
        """Tasks with two queries, of which a fixed answer is right for one."""

        device = torch.device("cpu")

        def sample(self, num_tasks, generator):
            from metasgd import Task

            x, y = torch.zeros(num_tasks, 2, 1), torch.tensor([[0, 1]]).expand(num_tasks, 2)
            return Task(x, y, x, y)

    score = evaluate(lambda support_x, support_y, query_x: torch.tensor([[1.0, 0.0]] * 2), Halves(), 4)
    found = score_record(score, method="fixed", data="halves", answers=2)
    assert (found["mean"], found["half_width_95"], found["tasks"], found["right_answers"]) == (0.5, 0.0, 4, [1] * 4)
