"""Notebooks of a book are run two at a time, and those that measure by themselves."""

import os

import nbformat
import pytest

WAIT = """
import os, pathlib, time
pathlib.Path("{own}.running").touch()
for _ in range(600):
    if pathlib.Path("{other}.running").exists():
        break
    time.sleep(0.1)
else:
    raise RuntimeError("{other} has not been started")
pathlib.Path("{own}.threads").write_text(os.environ.get("OMP_NUM_THREADS", "all"))
"""
ALONE = """
import os, pathlib
assert all(pathlib.Path(name + ".threads").exists() for name in ("first", "second")), "the others are not done"
pathlib.Path("third.threads").write_text(os.environ.get("OMP_NUM_THREADS", "all"))
"""


def notebook(title: str, code: str) -> str:
    made = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    made.cells = [nbformat.v4.new_markdown_cell(f"# {title}"), nbformat.v4.new_code_cell(code)]
    return nbformat.writes(made)


def test_two_run_at_once_and_one_that_measures_by_itself(build, tmp_path, monkeypatch) -> None:
    """Two notebooks wait for each other, each with half the cores; the third has all, and comes when both are done."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    contents = "\n```{toctree}\nsecond\nthird\n```\n"
    pages = {
        "first.ipynb": notebook("First" + contents, WAIT.format(own="first", other="second")),
        "second.ipynb": notebook("Second", WAIT.format(own="second", other="first")),
        "third.ipynb": notebook("Third", ALONE),
    }
    settings = {"nb_execution_mode": "cache", "nb_execution_raise_on_error": True}
    build(pages, notebooks_that_measure=["third"], **settings)
    threads = [(tmp_path / f"{name}.threads").read_text() for name in ("first", "second", "third")]
    assert threads == ["4", "4", "all"]
    assert "OMP_NUM_THREADS" not in os.environ


def test_a_notebook_that_fails_ends_the_build(build) -> None:
    with pytest.raises(Exception, match=r"first\.ipynb"):
        build({"first.ipynb": notebook("First", "1 / 0")}, nb_execution_mode="cache", nb_execution_raise_on_error=True)
