"""The tables of chapter 12 are made of the stored results, and name learners by what sets them apart."""

from typing import Any

import pytest

from metasgd.experiments import load_results
from metasgd.experiments.omniglot import omniglot_table
from metasgd.experiments.omniglot_mnist import ladder, mnist_table, ten_ways
from metasgd.experiments.published import OMNIGLOT, OMNIGLOT_INTERVALS
from metasgd.experiments.results import Results, StoredCell


def cell(look: str, ways: int, method: str, mean: float, part: str = "table") -> dict[str, Any]:
    """A made-up cell: five shots are a tenth better than one, pixels a tenth worse."""
    means = [(method, 1, mean), ("nearest class mean", 1, mean - 0.1), (method, 5, mean + 0.1)]
    return {
        "part": part,
        "config": {"look": look, "ways": ways, "method": method},
        "scores": [record(name, ways, shots, value) for name, shots, value in means],
    }


def record(method: str, ways: int, shots: int, mean: float, variant: str | None = None) -> dict[str, Any]:
    """A made-up score."""
    fields = {"metric": "accuracy", "method": method, "data": "some", "ways": ways, "shots": shots, "mean": mean}
    return fields | {"half_width_95": 0.01, "tasks": 600} | ({"variant": variant} if variant else {})


def results_of(cells: dict[str, Any]) -> Results:
    return Results("made up", {}, [StoredCell(name, content) for name, content in cells.items()])


def test_the_table_of_omniglot_has_a_row_for_each_method_and_all_its_settings():
    cells = {"a": cell("pictures", 5, "meta-sgd", 0.8), "b": cell("pictures", 20, "meta-sgd", 0.6)}
    wide = cell("pictures", 20, "meta-sgd", 0.65)
    wide["config"]["width"] = 64
    five = cell("unsteady", 20, "meta-sgd", 0.55)
    five["config"]["shots"] = 5
    table = omniglot_table(results_of(cells | {"c": cell("pictures", 5, "maml", 0.7), "d": wide, "e": five}))
    means = {label: {key: round(score.mean, 5) for key, score in row.items()} for label, row in table.items()}
    assert means == {
        "Meta-SGD": {(5, 1): 0.8, (5, 5): 0.9, (20, 1): 0.6, (20, 5): 0.7},
        "Meta-SGD, 64 filters": {(20, 1): 0.65, (20, 5): 0.75},
        "Meta-SGD, 5 shots, unsteady": {(20, 1): 0.55, (20, 5): 0.65},
        "MAML": {(5, 1): 0.7, (5, 5): 0.8},
        "nearest class mean": {(5, 1): 0.7, (20, 1): 0.5},
    }


def test_the_table_of_mnist_leaves_out_the_ladder():
    cells = {"5way": cell("varied", 5, "meta-sgd", 0.8), "b": cell("varied", 10, "meta-sgd", 0.7, "ten ways")}
    cells |= {f"b{seed}": cell("redrawn", 5, "meta-sgd", 0.6 + 0.02 * seed, "ladder") for seed in (0, 1)}
    cells["b0"]["rung"] = cells["b1"]["rung"] = "redrawn"
    table = mnist_table(results_of(cells))
    assert set(table) == {"Meta-SGD", "nearest class mean"}
    assert table["Meta-SGD"][5, 1].mean == 0.8
    assert ten_ways(results_of(cells)).tolist() == [0.7]
    (rung,) = ladder(results_of(cells)).items()
    assert rung[0] == "redrawn"
    assert rung[1][1].per_task.tolist() == [0.6, 0.62]
    assert (rung[1][1].mean, rung[1][5].mean) == (pytest.approx(0.61), pytest.approx(0.71))
    assert rung[1][1].half_width == pytest.approx(12.706 * 0.01, abs=1e-5)  # Student's t with one degree of freedom


def test_the_table_of_mnist_names_learners_by_what_sets_them_apart():
    cells = {
        name: cell("varied", 10, "meta-sgd", mean) for name, mean in {"usual": 0.8, "wide": 0.9, "shots": 0.7}.items()
    }
    cells["wide"]["config"]["width"] = 64
    cells["shots"]["config"]["shots"] = 5
    for content in cells.values():
        content["scores"].append(record("meta-sgd", 10, 1, 0.95, "copies"))
    means = {label: row[10, 1].mean for label, row in mnist_table(results_of(cells)).items()}
    assert means == {
        "Meta-SGD": 0.8,
        "Meta-SGD, with copies": 0.95,
        "Meta-SGD, 64 filters": 0.9,
        "64 filters, with copies": 0.95,
        "Meta-SGD, 5 shots": 0.7,
        "5 shots, with copies": 0.95,
        "nearest class mean": pytest.approx(0.7),
    }
    assert list(means)[-1] == "nearest class mean"


@pytest.mark.parametrize("name", ["omniglot", "omniglot-mnist"])
def test_every_number_of_the_tables_stands_in_the_file(name):
    """Whichever runs the file holds: each entry is one of its accuracies, and each whole run has its entry."""
    results = load_results(name)
    table_runs = results.select(part="table")
    stored = {(score.mean, score.half_width) for score in table_runs.scores()}
    table = omniglot_table(results) if name == "omniglot" else mnist_table(results)
    shown = {(score.mean, score.half_width) for row in table.values() for score in row.values()}
    assert shown <= stored
    own = {
        (score.mean, score.half_width)
        for score in table_runs.scores()
        if score.method != "nearest class mean" and score.variant != "fewer ways"
    }
    assert own <= shown


def test_the_papers_table_is_complete():
    assert {tuple(sorted(row)) for row in OMNIGLOT.values()} == {((5, 1), (5, 5), (20, 1), (20, 5))}
    assert all(0.9 < mean < 1 for row in OMNIGLOT.values() for mean in row.values())
    assert {label: set(row) for label, row in OMNIGLOT_INTERVALS.items()} == {
        label: set(row) for label, row in OMNIGLOT.items()
    }
    assert all(0 < half_width < 0.005 for row in OMNIGLOT_INTERVALS.values() for half_width in row.values())


def test_the_paper_separates_its_two_methods_at_one_setting_alone():
    """By its own intervals: their difference is larger than the two half-widths together at 5-way 1-shot."""
    clear = [
        setting
        for setting, mean in OMNIGLOT["Meta-SGD"].items()
        if mean - OMNIGLOT["MAML"][setting] > sum(row[setting] for row in OMNIGLOT_INTERVALS.values())
    ]
    assert clear == [(5, 1)]
