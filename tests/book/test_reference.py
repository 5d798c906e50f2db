"""The API reference, its links with the chapters, and the page that says how every result was made."""

import importlib
import inspect
import pkgutil
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from sphinx.application import Sphinx

import metasgd
from metasgd._core import files
from metasgd._core.files import write_json
from metasgd.experiments import how_made
from metasgd.experiments.results import result_names
from metasgd.sphinx_extension.names import link_chapter_numbers
from tests.book.notebooks import BOOK, cells, in_every_chapter

PROGRAMS = ("metasgd.__main__", "metasgd.cli", "metasgd.tools", "metasgd.sphinx_extension")  # nobody imports them
PAGES_OF_REFERENCE = ("api.md", "internals.md")  # for users; for contributors
# What a program of one's own does without: its pages would drown what a user looks for.
INTERNAL = ("metasgd.benchmark", "metasgd.gpu_report", "metasgd.experiments", "metasgd.plotting", "metasgd.strategies")
# Of these packages the reference has what __init__ exports, and of their modules what pages use.
DETAILS = ("metasgd.benchmark", "metasgd.experiments", "metasgd.gpu_report", "metasgd.strategies")


def is_below(module: str, packages: tuple[str, ...]) -> bool:
    return module.startswith(tuple(f"{package}." for package in packages))


def is_public(module: str) -> bool:
    return not re.search(r"\._|\.assets\b", module) and module not in PROGRAMS and not is_below(module, PROGRAMS)


def exported(module: str) -> dict[str, object]:
    """The functions and classes of a module, as autodoc finds them: those of ``__all__``, else those defined in it."""
    content = importlib.import_module(module)
    names = getattr(content, "__all__", None)
    return {
        name: thing for name, thing in vars(content).items()
        if (inspect.isfunction(thing) or inspect.isclass(thing))
        and (name in names if names is not None else not name.startswith("_") and thing.__module__ == module)
    }  # fmt: skip


def documented() -> dict[object, list[str]]:
    """Every function and class of the reference, with the full names under which it stands there."""
    found: dict[object, list[str]] = {}
    page = "\n".join((BOOK / name).read_text("utf-8") for name in PAGES_OF_REFERENCE)
    for module, options in re.findall(r"^\.\. automodule:: (\S+)\n((?:   :.*\n)*)", page, re.MULTILINE):
        assert is_public(module)
        left_out = re.findall(r":exclude-members: (.*)", options)
        left_out = left_out[0].split(", ") if left_out else []
        content = exported(module) if ":members:" in options else {}
        assert set(left_out) <= content.keys(), f"{module} has not all of {left_out}"
        for name, thing in content.items():
            if name not in left_out:
                found.setdefault(thing, []).append(f"{module}.{name}")
    for path in re.findall(r"^\.\. auto(?:class|function):: (\S+)$", page, re.MULTILINE):
        found.setdefault(pkgutil.resolve_name(path), []).append(path)
    return found


def listed(*pages: str) -> set[str]:
    """The modules that have an entry on one of these pages of the reference, or on any."""
    text = "\n".join((BOOK / name).read_text("utf-8") for name in pages or PAGES_OF_REFERENCE)
    return set(re.findall(r"^\.\. automodule:: (\S+)$", text, re.MULTILINE))


def test_every_public_name_is_in_the_reference_once() -> None:
    """What a module defines comes with it, so that nothing can be forgotten; every package has its entry, too."""
    names = documented()
    assert [paths for paths in names.values() if len(paths) > 1] == []
    modules = [module.name for module in pkgutil.walk_packages(metasgd.__path__, "metasgd.") if is_public(module.name)]
    missing = [
        f"{module}.{name}"
        for module in ["metasgd", *modules]
        if not is_below(module, DETAILS)
        for name, thing in exported(module).items()
        if thing not in names
    ]
    assert missing == []
    top = {name for name in modules if name.count(".") == 1}
    assert top <= listed()


def test_the_first_page_of_the_reference_has_what_a_user_imports_and_not_what_the_book_is_made_with() -> None:
    """What ``metasgd`` exports, what trains, tests and adapts; figures, experiments and the like are on the second."""
    users = listed("api.md")
    assert {"metasgd.meta_sgd", "metasgd.training", "metasgd.evaluation", "metasgd.classification"} <= users
    assert {"metasgd.tasks.episodes", "metasgd.data", "metasgd.models", "metasgd.recipes.shipped"} <= users
    assert not [module for module in users if module in INTERNAL or is_below(module, INTERNAL)]
    assert set(INTERNAL) <= listed("internals.md")
    assert users & listed("internals.md") == set()
    exports = {thing for name, thing in exported("metasgd").items() if name != "show_messages"}
    assert {thing.__module__ for thing in exports} <= {*users, "metasgd._core.task"}


@in_every_chapter
def test_what_a_chapter_imports_is_in_the_reference(chapter: str) -> None:
    """Its functions, classes and modules; constants have no entries of their own."""
    names = documented()
    for cell in cells(chapter):
        for module, imported in re.findall(
            r"^ *from (metasgd[\w.]*) import (\([^)]*\)|.*)$", cell.source if cell.cell_type == "code" else "", re.M
        ):
            for name in re.findall(r"(\w+)(?: as \w+)?", imported):
                thing = getattr(importlib.import_module(module), name)
                if inspect.isfunction(thing) or inspect.isclass(thing):
                    assert thing in names, f"{module}.{name}"
                if inspect.ismodule(thing):
                    assert thing.__name__ in listed()


def test_chapters_in_docstrings_become_links(tmp_path: Path) -> None:
    for page in ("09-fast.ipynb", "10-gpu.ipynb"):
        (tmp_path / page).touch()
    lines = ["As in chapter 9.", "See (chapters 9 and 10), 9 times; chapter 11 is not written."]
    link_chapter_numbers(SimpleNamespace(srcdir=str(tmp_path)), "", "", None, None, lines)
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


@pytest.mark.parametrize("name", result_names())
def test_every_results_file_says_how_it_was_made(name: str) -> None:
    facts = how_made.how_made(name)
    assert facts["command"].startswith(("`python -m metasgd ", "`python -m metasgd."))
    assert facts.keys() >= {"runs", "package", "commit", "PyTorch", "device", "CPU threads", "run time"}
    for fact, value in facts.items():
        assert f"| {fact} | {value} |" in how_made.as_markdown(name)


def test_facts_that_differ_between_runs_are_all_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = {"metasgd": "1.0", "commit": "a", "torch": "2", "device": "cpu", "threads": 1, "seconds": 3600}
    said = {"metric": "accuracy", "method": "maml", "data": "digits", "ways": 5, "shots": 1, "mean": 0.5}
    scores = [said | {"half_width_95": 0.1, "tasks": tasks} for tasks in (2000, 300)]
    cells = {
        "one": {"config": {"seed": 0}, "scores": scores, "provenance": made},
        "two": {"config": {"seed": 1}, "provenance": made | {"commit": "b", "processor": "known", "command": "other"}},
    }
    content = {"format": 2, "experiment": "some", "command": "python", "cells": cells}
    write_json(tmp_path / "some.json", content)
    monkeypatch.setitem(files.FOLDERS, "results", (tmp_path,))
    facts = how_made.how_made("some")
    assert facts["seed of training"] == "0, 1"
    assert facts["commit"] == "a, b"
    assert facts["test tasks"] == "2,000, 300"
    assert facts["run time"] == "2 h 0 min"
    assert facts["processor"] == "known"
    assert facts["command"] == "`python`<br>`other`"
    with pytest.raises(FileNotFoundError, match=r"no results of 'none'; .* There are some"):
        how_made.how_made("none")
