"""Every run says how it was made, and runs that were made twice are found."""

from pathlib import Path
from typing import Any

import pytest

from metasgd._core import files
from metasgd._core.files import write_json
from metasgd.experiments import EXPERIMENTS, how_made
from metasgd.experiments.experiment import Setup
from metasgd.experiments.results import result_names
from metasgd.experiments.runner import run_cell

MADE = {"metasgd": "1.0", "commit": "a", "torch": "2", "device": "cpu", "threads": 1, "seconds": 60.0}
CONFIG = {"fold": 1, "method": "maml", "seed": 3}


@pytest.mark.parametrize("name", result_names())
def test_every_run_of_every_file_says_its_commit_its_pytorch_and_its_device(name: str) -> None:
    runs = how_made.made_by_run(name)
    assert runs
    for run in runs:
        assert all(run[fact] not in ("–", "None", "") for fact in ("run", "commit", "PyTorch", "device", "threads"))


def score(mean: float, **fields: Any) -> dict[str, Any]:
    """Return the record of an accuracy."""
    said = {"metric": "accuracy", "method": "maml", "data": "digits", "ways": 5, "shots": 1}
    return said | {"mean": mean, "half_width_95": 0.1, "tasks": 20} | fields


@pytest.fixture
def two_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two results files that share one run, made by another commit, with the method in its own field."""
    described = {"recipe": "mnist", "config": {key: CONFIG[key] for key in ("fold", "seed")}, "method": "maml"}
    cells = {
        "one": {
            "<fold 1>": {
                "recipe": "mnist",
                "config": CONFIG,
                "scores": [score(0.50), score(0.6, method="nearest class mean")],
                "provenance": MADE,
            },
            "other seed": {
                "recipe": "mnist",
                "config": CONFIG | {"seed": 4},
                "scores": [score(0.7)],
                "provenance": MADE,
            },
        },
        "two": {
            "again": described
            | {
                "scores": [score(0.52), score(0.4, variant="clipped"), score(0.6, method="nearest class mean")],
                "provenance": MADE | {"commit": "b", "processor": "known"},
            },
            "other tasks": described | {"scores": [score(0.53, tasks=30)], "provenance": MADE},
            "as shipped": described | {"weights": "w", "scores": [score(0.50)], "provenance": MADE},
        },
    }
    for name, content in cells.items():
        header = {"format": 2, "experiment": name, "command": "python", "task_seed": 1}
        write_json(tmp_path / f"{name}.json", header | {"cells": content})
    monkeypatch.setitem(files.FOLDERS, "results", (tmp_path,))


@pytest.mark.usefixtures("two_files")
def test_a_run_says_its_own_facts_and_a_dash_where_the_file_says_none() -> None:
    first, second = how_made.made_by_run("one")[0], how_made.made_by_run("two")[0]
    assert (first["run"], first["seed"], first["commit"], first["processor"]) == ("<fold 1>", "3", "a", "–")
    assert (second["run"], second["commit"], second["processor"], second["seconds"]) == ("again", "b", "known", "60.0")


@pytest.mark.usefixtures("two_files")
def test_the_table_of_runs_is_folded_and_escaped() -> None:
    page = how_made.runs_as_html("one")
    assert page.startswith('<details class="metasgd-runs"><summary>one.json, run by run</summary>')
    assert "<td>&lt;fold 1&gt;</td>" in page
    assert page.count("<tr>") == 3


@pytest.mark.usefixtures("two_files")
def test_runs_with_equal_settings_seed_and_tasks_are_paired_and_no_others() -> None:
    pairs = how_made.made_twice()
    assert [(first.cell.name, second.cell.name) for first, second in pairs] == [("<fold 1>", "again")]
    assert [(first.mean, second.mean) for first, second in pairs] == [(0.50, 0.52)]


def test_a_cell_that_is_run_again_has_the_same_scores(tmp_path: Path) -> None:
    """Same code, PyTorch, processor and threads: training has no other source of difference."""
    cell = next(iter(EXPERIMENTS["sine"].make_cells({"iterations": 3}).values()))
    found = [run_cell(cell, Setup(20, "cpu", None, None, False, "float32"), tmp_path / name, "") for name in "ab"]
    assert found[0]["scores"] == found[1]["scores"]
    assert found[0]["provenance"].keys() >= {"commit", "torch", "device", "processor", "threads"}
    assert "seed" in found[0]["config"]
