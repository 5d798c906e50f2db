"""A notebook is run again when the code that it uses has changed, and not only when the notebook itself has.

Jupyter Book keeps what a notebook printed for as long as its own cells stay the same. Beside that it is kept here what
the notebook ran with: the code of the parts of the package that it imports, and of those that these import; of the
figures those that it shows; results and data that come with the package; the versions of PyTorch, NumPy, Matplotlib.
Comments and docstrings do not count, so that whoever corrects one does not wait for every chapter.

A translation has the code of the English notebooks and shares their cache, in which each notebook is known by its
code: whichever is built first runs it. So what decides is the English notebook, for both.
"""

import ast
import hashlib
import json
import platform
import re
from collections.abc import Iterable
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jupyter_cache import get_cache
from sphinx.application import Sphinx
from sphinx.util import logging

from metasgd.sphinx_extension.translation import original_folder, original_of

PACKAGE = Path(__file__).resolve().parents[1]
RESULTS = PACKAGE.parent / "book" / "results"  # of a checkout
RECORD = "code-of-notebooks.json"  # in the cache of Jupyter Book
LIBRARIES = ("torch", "numpy", "matplotlib")
IMPORTS = re.compile(r"from metasgd import \([^)]*\)|(?:from|import) metasgd[^\n]*|\bmetasgd\.\w+")
COMMAND = re.compile(r"-m metasgd\b|[!%]metasgd\b")
FIGURES = re.compile(r"chapter\d\d")  # modules of plotting
READS_RESULTS = {"experiments", "benchmark"}  # parts of the package


def connect(app: Sphinx) -> None:
    """Connect the functions of this module to Sphinx's events."""
    found: dict[str, str] = {}
    app.connect("env-get-outdated", partial(forget_outdated, found=found))
    app.connect("build-finished", partial(remember, found=found))


def forget_outdated(
    app: Sphinx, env: Any, added: set[str], changed: set[str], removed: set[str], *, found: dict[str, str]
) -> list[str]:
    """Take notebooks whose code has changed out of the cache, and name them, so that they are read and run again.

    What the cache has of a notebook without a record of its code, such as of an older version of this extension, is
    kept. ``found`` is filled with the digest of each notebook. A page is also read again where the other edition has
    run its code since this one read it.
    """
    if not keeps_outputs(app):
        return []
    paths = {page: original_of(app, page) for page in env.found_docs}
    sources = {page: path.read_text(encoding="utf-8") for page, path in paths.items()}
    found |= {page: digest(text) for page, text in sources.items() if is_run(paths[page], text)}
    read_with, env.metasgd_code = getattr(env, "metasgd_code", found), dict(found)
    folder = cache_folder(app)
    before = read_record(folder)
    outdated = sorted(page for page in found if before.get(page, found[page]) != found[page])
    elsewhere = [page for page in found if page not in outdated and read_with.get(page) != found[page]]
    names = {paths[page].name for page in outdated}
    stored = get_cache(folder)
    for record in stored.list_cache_records() if outdated else []:
        if Path(record.uri).name in names:
            stored.remove_cache(record.pk)
    if outdated:
        logging.getLogger(__name__).info("the code has changed of: %s", ", ".join(outdated))
    return outdated + elsewhere


def read_record(folder: Path) -> dict[str, str]:
    """Return what the notebooks of a cache ran with, by their pages; nothing where it has not been written down."""
    path = folder / RECORD
    return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}


def remember(app: Sphinx, exception: Exception | None, *, found: dict[str, str]) -> None:
    """Write down what all notebooks ran with, if the build was a success; a translation may have fewer of them."""
    if exception is not None or not found:
        return
    folder = cache_folder(app)
    if folder.is_dir():
        record = found if original_folder(app) is None else read_record(folder) | found
        (folder / RECORD).write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def keeps_outputs(app: Sphinx) -> bool:
    """Return whether the book keeps what notebooks printed, and does not run them at every build."""
    return "nb_execution_mode" in app.config.values and app.config.nb_execution_mode == "cache"


def cache_folder(app: Sphinx) -> Path:
    """Return the folder in which Jupyter Book keeps what notebooks printed."""
    return Path(app.config.nb_execution_cache_path or Path(app.outdir).parent / ".jupyter_cache")


def is_run(path: Path, text: str) -> bool:
    """Return whether a page is a notebook."""
    return path.suffix == ".ipynb" or "{code-cell}" in text


def digest(notebook: str, package: Path = PACKAGE, results: Path = RESULTS) -> str:
    """Return a digest of all that a notebook, given by its text, runs with."""
    whole = "getsource" in notebook  # it shows code, with comments
    parts = parts_used(notebook, package)
    collected = [platform.python_version(), *map(version, LIBRARIES)]
    collected += [code(path, whole) for path in files_used(notebook, parts, package)]
    data = sorted((package / "assets").glob("**/*.*")) + (
        sorted(results.glob("*.json")) if parts & READS_RESULTS else []
    )
    collected += [content(path) for path in data if path.is_file() and path.suffix != ".py"]
    return hashlib.sha256("\n".join(collected).encode()).hexdigest()


def parts_used(notebook: str, package: Path) -> set[str]:
    """Return the modules and folders at the top of the package that a notebook imports, and those that they import."""
    every = {path.stem for path in package.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    waiting = {"__init__"} | named(notebook, every) | ({"cli"} & every if COMMAND.search(notebook) else set())
    used: set[str] = set()
    while waiting:
        part = waiting.pop()
        used.add(part)
        for path in files_of(part, package):
            waiting |= named(path.read_text(encoding="utf-8"), every) - used
    return used


def named(text: str, every: Iterable[str]) -> set[str]:
    """Return the parts of the package that the import statements of a text name."""
    return set(re.findall(r"\w+", " ".join(IMPORTS.findall(text)))) & set(every)


def files_of(part: str, package: Path) -> list[Path]:
    """Return the Python files of a part of the package."""
    return sorted((package / part).rglob("*.py")) or [package / f"{part}.py"]


def files_used(notebook: str, parts: set[str], package: Path) -> list[Path]:
    """Return the files of these parts, of those with figures only the ones whose figures are shown."""
    files = [path for part in sorted(parts) for path in files_of(part, package)]
    figures = [path for path in files if path.parent.name == "plotting" and FIGURES.fullmatch(path.stem)]
    kept = [path for path in files if path not in figures]
    text = notebook + "".join(path.read_text("utf-8") for path in kept if path.parent.name != "plotting")
    words = set(re.findall(r"\w+", text))
    while shown := [path for path in figures if path not in kept and words & {path.stem, *functions(path)}]:
        kept += shown
        words |= {word for path in shown for word in re.findall(r"\w+", path.read_text(encoding="utf-8"))}
    return sorted(kept)


@cache
def functions(path: Path) -> tuple[str, ...]:
    """Return the names of the functions and classes at the top of a module."""
    kinds = ast.FunctionDef | ast.ClassDef
    return tuple(node.name for node in ast.parse(path.read_text(encoding="utf-8")).body if isinstance(node, kinds))


@cache
def code(path: Path, whole: bool) -> str:
    """Return what a Python file does: without comments, layout and docstrings, unless it is wanted whole."""
    text = path.read_text(encoding="utf-8")
    if whole:
        return text
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and ast.get_docstring(
            node
        ):
            node.body = node.body[1:]
    return ast.dump(tree)


@cache
def content(path: Path) -> str:
    """Return a digest of a file."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
