"""When a notebook is run again: when what it runs with has changed, and only then."""

import nbformat
import pytest

from metasgd.sphinx_extension import rerun

FILES = {
    "__init__.py": "from metasgd.core import f\n",
    "core.py": '"""Doc."""\n\n\ndef f():\n    """Do it."""\n    return 1  # one\n',
    "recipes/__init__.py": "from metasgd import core\n",
    "cli.py": "import metasgd.recipes\n",
    "experiments.py": "x = 1\n",
    "plotting/__init__.py": "from metasgd.plotting import chapter01, chapter02\n",
    "plotting/style.py": "size = 3\n",
    "plotting/chapter01.py": "def line():\n    return 1\n",
    "plotting/chapter02.py": "def bar():\n    return 2\n",
}
NOTEBOOK = "from metasgd import plotting\nplotting.line()\n"


@pytest.fixture
def package(tmp_path):
    for name, text in FILES.items():
        (tmp_path / "metasgd" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "metasgd" / name).write_text(text)
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "mnist.json").write_text("{}")
    return tmp_path / "metasgd"


def changes(package, notebook: str, name: str, text: str) -> bool:
    """Whether a file's new text changes what the notebook runs with."""
    results = package.parent / "results"
    digests = []
    for write in (False, True):
        if write:
            (package / name).write_text(text)
        rerun.code.cache_clear()
        rerun.content.cache_clear()
        rerun.functions.cache_clear()
        digests.append(rerun.digest(notebook, package, results))
    return digests[0] != digests[1]


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("core.py", "def f():\n    return 2\n", True),  # imported by the package itself
        ("core.py", '"""Other."""\n\ndef f():\n    """Other."""\n    return 1\n', False),  # words alone
        ("plotting/style.py", "size = 4\n", True),
        ("plotting/chapter01.py", "def line():\n    return 3\n", True),
        ("plotting/chapter02.py", "def bar():\n    return 3\n", False),  # a figure that it does not show
        ("recipes/__init__.py", "x = 2\n", False),  # not imported
        ("../results/mnist.json", "[]", False),
    ],
)
def test_what_counts_as_a_change(package, name: str, text: str, expected: bool) -> None:
    assert changes(package, NOTEBOOK, name, text) is expected


@pytest.mark.parametrize(
    ("notebook", "name", "text"),
    [
        ("from metasgd.experiments import load_results", "../results/mnist.json", "[]"),
        ("!python -m metasgd train", "recipes/__init__.py", "x = 2\n"),  # by way of the command line
        ("from metasgd import (\n    core,\n    recipes,\n)", "recipes/__init__.py", "x = 2\n"),
        ("import inspect\ninspect.getsource(f)", "core.py", FILES["core.py"].replace("# one", "# 1")),
    ],
)
def test_what_else_counts_as_a_change(package, notebook: str, name: str, text: str) -> None:
    """Results that it reads, what a command runs, and comments where it shows code."""
    assert changes(package, notebook, name, text)


def test_notebook_runs_again_after_a_change_and_not_without_one(build, tmp_path, monkeypatch) -> None:
    notebook = nbformat.v4.new_notebook(metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}})
    run = "with open('runs.txt', 'a') as file:\n    file.write('x')"
    notebook.cells = [nbformat.v4.new_markdown_cell("# First"), nbformat.v4.new_code_cell(run)]
    pages = {"first.ipynb": nbformat.writes(notebook)}
    counts = []
    for code in ("a", "a", "b"):
        monkeypatch.setattr(rerun, "digest", lambda text, code=code: code)
        build(pages, nb_execution_mode="cache")
        counts.append((tmp_path / "runs.txt").read_text())
    assert counts == ["x", "x", "xx"]
