"""The book's files as tests read them: its pages, the cells of a chapter, and the code of tagged cells, run."""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
PAGES = [TOC["root"]] + [page["file"] for part in TOC["parts"] for page in part["chapters"]]
CHAPTERS = [page for page in PAGES if (BOOK / f"{page}.ipynb").is_file()]
APPENDICES = [page for page in PAGES[1:] if page not in CHAPTERS]  # written in Markdown

in_every_chapter = pytest.mark.parametrize("chapter", CHAPTERS)
on_every_page = pytest.mark.parametrize("page", PAGES)


def path_of(number: int) -> Path:
    """Return the path of a chapter's notebook.

    Raises:
        LookupError: the table of contents has no chapter of this number, or two.
    """
    found = [chapter for chapter in CHAPTERS if chapter.startswith(f"{number:02}-")]
    if len(found) != 1:
        raise LookupError(f"one chapter should have the number {number}, and these have: {found}")
    return BOOK / f"{found[0]}.ipynb"


@cache
def cells(chapter: str) -> list[NotebookNode]:
    """Return all cells of a chapter, which is named as in the table of contents."""
    return nbformat.read(BOOK / f"{chapter}.ipynb", as_version=4).cells


@cache
def text(page: str) -> str:
    """Return the Markdown of a page, without its code."""
    if (BOOK / f"{page}.md").is_file():
        return (BOOK / f"{page}.md").read_text(encoding="utf-8")
    return "\n\n".join(cell.source for cell in cells(page) if cell.cell_type == "markdown")


def tagged_source(notebook: Path, tag: str) -> str:
    """Return the source of the code cells that carry a tag, joined in their order.

    Raises:
        LookupError: no code cell carries the tag.
    """
    code = [cell for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    tags = [cell["metadata"].get("tags", []) for cell in code]
    sources = ["".join(cell["source"]) for cell, own in zip(code, tags, strict=True) if tag in own]
    if not sources:
        present = sorted(set().union(*tags))
        raise LookupError(f"{notebook.name} has no code cell tagged '{tag}'; its tags are {present}")
    return "\n\n".join(sources)


def run_tagged(notebook: Path, tags: Sequence[str], given: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Run the cells of all tags, in the order given, in one new namespace, and return it.

    Args:
        notebook: The path of a notebook.
        tags: All cells of the first tag are run, then all cells of the second, and so on.
        given: What the cells find defined, as they would after the cells that are left out.

    Raises:
        LookupError: a tag is on no code cell.
    """
    namespace: dict[str, Any] = {"__name__": notebook.stem, **(given or {})}
    for tag in tags:
        exec(compile(tagged_source(notebook, tag), f"{notebook.name}[{tag}]", "exec"), namespace)
    return namespace
