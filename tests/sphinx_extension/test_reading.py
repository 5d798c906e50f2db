"""The line at the head of a chapter, and the one at the foot of a page that was run."""

import platform

import nbformat
import pytest
import torch
from bs4 import BeautifulSoup
from docutils import nodes
from sphinx.errors import ExtensionError

from metasgd.sphinx_extension.reading import minutes_to_read, read_data
from tests.book.notebooks import BOOK, CHAPTERS

DATA = "first: {difficulty: easy, builds on: []}\nother: {difficulty: hard, builds on: [first]}\n"


def line(site, page: str, kind: str) -> str:
    found = BeautifulSoup((site / page).read_text(encoding="utf-8"), "html.parser").select(f"p.{kind}")
    assert len(found) <= 1
    return found[0].text if found else ""


def test_every_chapter_has_an_entry_and_builds_on_earlier_ones() -> None:
    data = read_data(BOOK)
    assert sorted(data) == sorted(CHAPTERS)
    for page, entry in data.items():
        for needed in entry["builds on"]:
            assert CHAPTERS.index(needed) < CHAPTERS.index(page), f"{page} builds on {needed}"


def test_chapter_opens_with_time_difficulty_and_what_it_builds_on(build) -> None:
    words = "word " * 2000
    pages = {"first.md": f"# First\n\n{words}\n\n```{{toctree}}\nother\n```\n", "other.md": "# Other\n\nShort.\n"}
    site = build(pages | {"reading.yml": DATA})
    assert line(site, "first.html", "reading-aid") == "About 10 minutes · easy · builds on nothing"
    assert line(site, "other.html", "reading-aid") == "About 5 minutes · hard · builds on chapter First"
    other = BeautifulSoup((site / "other.html").read_text(encoding="utf-8"), "html.parser")
    assert other.find("article").find("h1").find_next_sibling("p")["class"] == ["reading-aid"]
    assert other.select_one("p.reading-aid a")["href"] == "first.html"
    assert other.find("meta", attrs={"name": "description"})["content"] == "Short."


def test_what_is_folded_printed_or_an_exercise_takes_no_time() -> None:
    def document(*parts: nodes.Node) -> nodes.document:
        tree = nodes.document(None, None)
        tree += nodes.section("", nodes.title("", "First"), *parts)
        return tree

    words = nodes.paragraph("", "word " * 2000)
    folded = nodes.container("", words.deepcopy(), classes=["dropdown"])
    printed = nodes.container("", words.deepcopy(), nb_element="cell_code_output")
    exercises = nodes.section("", nodes.title("", "Exercises"), words.deepcopy())
    assert minutes_to_read(document(words, folded, printed, exercises)) == 10
    assert minutes_to_read(document(*(nodes.math_block("", "x") for _ in range(20)))) == 10
    assert minutes_to_read(document(nodes.literal_block("", "x = 1\n" * 150))) == 10


def test_wrong_entry_is_named(tmp_path) -> None:
    (tmp_path / "reading.yml").write_text("first: {difficulty: tricky, builds on: []}\n")
    with pytest.raises(ExtensionError, match=r"reading\.yml, first: give a 'difficulty' \(easy, medium, hard\)"):
        read_data(tmp_path)


def test_page_that_ran_says_when_and_with_what(build) -> None:
    """A page that was not run says nothing."""
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    notebook.cells = [nbformat.v4.new_markdown_cell("# First"), nbformat.v4.new_code_cell("1 + 1")]
    pages = {"first.ipynb": nbformat.writes(notebook), "second.md": "---\norphan: true\n---\n# Second\n"}
    site = build(pages, nb_execution_mode="force")
    said = line(site, "first.html", "tested-on")
    assert said.startswith("Run and tested on ")
    assert f"Python {platform.python_version()}, PyTorch {torch.__version__.split('+')[0]}" in said
    assert line(site, "second.html", "tested-on") == ""
