"""A small book, built."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sphinx.application import Sphinx

ADDRESS = "https://someone.github.io/book"
THEME = """
html_theme = "sphinx_book_theme"
html_title = "The book"
root_doc = "first"
exclude_patterns = [".jupyter_cache", "html", "trees"]
"""


@pytest.fixture
def build(tmp_path: Path) -> Callable[..., Path]:
    """Build pages, given by their names and their Markdown, and return the folder of the site."""

    def built(pages: dict[str, str], **settings: object) -> Path:
        (tmp_path / "conf.py").write_text(
            f'extensions = ["sphinx.ext.autodoc", "myst_nb", "metasgd.sphinx_extension"]\n{THEME}'
        )
        for name, text in pages.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        settings = {"myst_enable_extensions": ["dollarmath"], "nb_execution_mode": "off"} | settings
        Sphinx(tmp_path, tmp_path, tmp_path / "html", tmp_path / "trees", "html", settings, status=None).build()
        return tmp_path / "html"

    return built
