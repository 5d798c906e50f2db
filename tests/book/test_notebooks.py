"""The code of tagged cells is found, joined and run in its order, and a tag that is missing is named."""

import json
from pathlib import Path

import pytest

from tests.book.notebooks import path_of, run_tagged, tagged_source


def write_notebook(folder: Path, *cells: tuple[str, str | list[str], list[str]]) -> Path:
    """Write a notebook of (cell type, source, tags)."""
    path = folder / "small.ipynb"
    entries = [{"cell_type": kind, "source": source, "metadata": {"tags": tags}} for kind, source, tags in cells]
    path.write_text(json.dumps({"cells": entries}), encoding="utf-8")
    return path


def test_tagged_cells_are_joined_in_order(tmp_path: Path) -> None:
    notebook = write_notebook(
        tmp_path, ("code", "a = 1", ["x"]), ("code", "b = 0", ["y"]), ("code", ["c = a\n", "d = 2"], ["x", "y"])
    )
    assert tagged_source(notebook, "x") == "a = 1\n\nc = a\nd = 2"


def test_missing_tag_is_named_with_the_tags_there_are(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path, ("code", "a = 1", ["x"]), ("code", "b = 1", []))
    with pytest.raises(LookupError, match=r"small\.ipynb has no code cell tagged 'z'; its tags are \['x'\]"):
        tagged_source(notebook, "z")


def test_tag_of_a_text_cell_does_not_count(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path, ("markdown", "a = 1", ["x"]), ("code", "b = 1", ["y"]))
    with pytest.raises(LookupError, match="no code cell tagged 'x'"):
        tagged_source(notebook, "x")


def test_tags_share_one_namespace_but_runs_do_not(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path, ("code", "b = a + 1", ["second"]), ("code", "a = 1", ["first"]))
    assert run_tagged(notebook, ["first", "second"])["b"] == 2
    with pytest.raises(NameError, match="'a' is not defined"):
        run_tagged(notebook, ["second"])


def test_cells_find_what_they_are_given(tmp_path: Path) -> None:
    notebook = write_notebook(tmp_path, ("code", "b = a + 1", ["second"]))
    assert run_tagged(notebook, ["second"], {"a": 2})["b"] == 3


def test_chapters_are_found_by_their_number() -> None:
    assert path_of(5).name == "05-from-scratch.ipynb"
    with pytest.raises(LookupError, match=r"number 99, and these have: \[\]"):
        path_of(99)
