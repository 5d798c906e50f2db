"""The API reference, its links with the chapters, and the page that says how every result was made."""

import json
import pkgutil
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from sphinx.application import Sphinx

import metasgd
from metasgd.experiments import how_made
from metasgd.sphinx_extension import CARD, link_chapters
from tests.book.notebooks import BOOK


def test_every_public_module_is_in_the_reference() -> None:
    """All of a module's public names come with it, so none can be forgotten."""
    modules = {module.name for module in pkgutil.walk_packages(metasgd.__path__, "metasgd.")}
    public = {name for name in modules if not re.search(r"\._|\.assets\b", name)} - {
        "metasgd.tasks",
        "metasgd.__main__",
    }
    listed = re.findall(r"^\.\. automodule:: (.*)\n   :members:$", (BOOK / "api.md").read_text("utf-8"), re.MULTILINE)
    assert sorted(listed) == sorted(public)


def test_chapters_in_docstrings_become_links(tmp_path: Path) -> None:
    for page in ("09-fast.ipynb", "10-gpu.ipynb"):
        (tmp_path / page).touch()
    lines = ["As in chapter 9.", "See (chapters 9 and 10), 9 times; chapter 11 is not written."]
    link_chapters(SimpleNamespace(srcdir=str(tmp_path)), "", "", None, None, lines)
    assert lines == [
        "As in chapter :doc:`9 </09-fast>`.",
        "See (chapters :doc:`9 </09-fast>` and :doc:`10 </10-gpu>`), 9 times; chapter 11 is not written.",
    ]


def build_small_book(folder: Path, **settings: str) -> str:
    """Build a book of two pages, and return the first."""
    (folder / "conf.py").write_text('extensions = ["sphinx.ext.autodoc", "metasgd.sphinx_extension"]')
    (folder / "index.rst").write_text(
        'Some "book"\n===========\n\nCall ``convnet()`` or ``other()``.\n\n.. toctree::\n\n   api\n'
    )
    (folder / "api.rst").write_text("Reference\n=========\n\n.. autofunction:: metasgd.models.convnet\n")
    Sphinx(folder, folder, folder / "out", folder / "trees", "html", settings, status=None).build()
    return (folder / "out" / "index.html").read_text(encoding="utf-8")


def test_names_in_chapters_become_links(tmp_path: Path) -> None:
    """Names of the reference are links, other code is left alone."""
    page = build_small_book(tmp_path)
    link = '<a class="reference internal" href="api.html#metasgd.models.convnet" title="metasgd.models.convnet">'
    assert re.search(re.escape(link) + r"<code[^>]*><span class=\"pre\">convnet\(\)</span></code></a>", page)
    assert page.count('title="metasgd.models.convnet"') == 1


def test_page_describes_itself(tmp_path: Path) -> None:
    """By its first paragraph; the picture of a link needs the site's address."""
    page = build_small_book(tmp_path)
    assert '<meta name="description" content="Call convnet() or other()." />' in page
    assert '<meta property="og:description" content="Call convnet() or other()." />' in page
    assert '<meta property="og:title" content="Some &quot;book&quot;" />' in page.replace("“", "&quot;").replace(
        "”", "&quot;"
    )
    assert "og:image" not in page
    page = build_small_book(tmp_path, html_baseurl="https://someone.github.io/book")
    assert '<meta property="og:image" content="https://someone.github.io/book/_static/headline.png" />' in page
    assert '<meta property="og:url" content="https://someone.github.io/book/index.html" />' in page
    assert (BOOK / CARD).is_file()


@pytest.mark.parametrize("name", how_made.result_names())
def test_every_results_file_says_how_it_was_made(name: str) -> None:
    facts = how_made.how_made(name)
    assert facts["command"].startswith(("`python -m metasgd ", "`python -m metasgd."))
    assert facts.keys() >= {"runs", "package", "commit", "PyTorch", "device", "CPU threads", "run time"}
    for fact, value in facts.items():
        assert f"| {fact} | {value} |" in how_made.as_markdown(name)


def test_facts_that_differ_between_runs_are_all_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = {"metasgd": "1.0", "commit": "a", "torch": "2", "device": "cpu", "threads": 1, "seconds": 3600}
    scores = {"accuracy": {"one": {"tasks": 2000}, "other": {"tasks": 300}}}
    cells = {"one": run | {"config": {"seed": 0}} | scores, "two": run | {"config": {"seed": 1}, "commit": "b"}}
    (tmp_path / "some.json").write_text(json.dumps({"command": "python", "cells": cells}))
    monkeypatch.setattr(how_made, "FOLDERS", [tmp_path])
    facts = how_made.how_made("some")
    assert facts["seed of training"] == "0, 1"
    assert facts["commit"] == "a, b"
    assert facts["test tasks"] == "2,000, 300"
    assert facts["run time"] == "2 h 0 min"
    with pytest.raises(FileNotFoundError, match=r"no results of 'none'; there are some"):
        how_made.load("none")
