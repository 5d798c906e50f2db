"""Notebooks that are to be run are run before the pages are read, two at a time.

The reading itself runs notebooks, too, but one after the other. What it finds in the cache of Jupyter Book it does not
run again; so those that have failed here are run once more, and reported, as if this module were not there.

Those that measure how long something takes run by themselves, after the others: ``notebooks_that_measure`` in
``_config.yml`` names them.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import nbformat
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from jupyter_cache.executors.utils import single_nb_execution
from nbformat import NotebookNode
from sphinx.application import Sphinx
from sphinx.util import logging

from metasgd.sphinx_extension.rerun import cache_folder, keeps_outputs
from metasgd.sphinx_extension.translation import original_folder

AT_ONCE = 2  # each may take more than one core, and a gigabyte of memory


def connect(app: Sphinx) -> None:
    """Connect the functions of this module to Sphinx's events."""
    app.add_config_value("notebooks_that_measure", [], "", types=[list])
    app.connect("env-before-read-docs", run_notebooks)


def run_notebooks(app: Sphinx, env: Any, pages: list[str]) -> None:
    """Run those of the pages that are notebooks and that the cache does not hold; a translation runs nothing."""
    if not keeps_outputs(app) or original_folder(app) is not None:
        return
    cache = get_cache(cache_folder(app))
    files = {page: str(env.doc2path(page)) for page in pages}
    paths = {page: path for page, path in files.items() if path.endswith(".ipynb")}
    waiting = [page for page, path in paths.items() if not is_known(cache, path)]
    measuring = [page for page in waiting if page in app.config.notebooks_that_measure]
    others = [page for page in waiting if page not in measuring]

    def run_and_keep(pages: list[str], at_once: int) -> None:
        # In processes of their own: each needs an event loop that nobody else uses.
        with ProcessPoolExecutor(at_once, get_context("spawn")) as pool:
            run = partial(executed, timeout=app.config.nb_execution_timeout)
            for page, result in zip(pages, pool.map(run, [paths[page] for page in pages]), strict=True):
                if result is not None:
                    notebook, seconds = result
                    bundle = CacheBundleIn(notebook, paths[page], data={"execution_seconds": seconds})
                    cache.cache_notebook_bundle(bundle, check_validity=False, overwrite=True)
                    logging.getLogger(__name__).info("ran %s in %.0f seconds", page, seconds)

    with share_of_the_cores():
        run_and_keep(others, AT_ONCE)
    run_and_keep(measuring, 1)


def read(path: str) -> NotebookNode:
    """Return the notebook that a file holds."""
    notebook: NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    return notebook


def executed(path: str, timeout: int) -> tuple[NotebookNode, float] | None:
    """Run a notebook in its folder, and return it with what it printed, and the seconds it took; None if it failed."""
    result = single_nb_execution(read(path), str(Path(path).parent), timeout, allow_errors=False)
    return (result.nb, result.time) if result.err is None else None


def is_known(cache: JupyterCacheAbstract, path: str) -> bool:
    """Return whether the cache holds what a notebook prints."""
    try:
        cache.match_cache_notebook(read(path))
    except KeyError:
        return False
    return True


@contextmanager
def share_of_the_cores() -> Iterator[None]:
    """Give programs that are started here a share of the cores, and let their threads sleep while they wait.

    PyTorch's threads on a CPU are OpenMP's. By default every program has as many as there are cores, and those that
    wait look again and again whether there is something to do: two notebooks side by side would take many times as
    long. What the user has set stays.
    """
    cores = max(1, (os.cpu_count() or 1) // AT_ONCE)
    ours = {"OMP_NUM_THREADS": str(cores), "OMP_WAIT_POLICY": "PASSIVE"}
    ours = {name: value for name, value in ours.items() if name not in os.environ}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]
