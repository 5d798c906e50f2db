"""A small book of one notebook and one Markdown file."""

import json
from pathlib import Path

import pytest

from metasgd.tools.translations import history, pages

CELLS = [
    {"cell_type": "markdown", "id": "aaaaaaaa", "metadata": {}, "source": ["# One\n", "\n", "Some words."]},
    {
        "cell_type": "code",
        "execution_count": None,
        "id": "bbbbbbbb",
        "metadata": {"mystnb": {"figure": {"name": "fig-a", "caption": "A line."}, "image": {"alt": "One line."}}},
        "outputs": [],
        "source": ["draw()"],
    },
    {"cell_type": "markdown", "id": "cccccccc", "metadata": {}, "source": ["```{bibliography}\n", "```"]},
]
TEXT = """---
orphan: true
---
(app-two)=
# Two

Words.

```bash
# no heading
```

(label)=
## A part

More words.

## A part

Again.
"""


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a book with the pages ``one`` and ``two``."""
    notebook = {"cells": CELLS, "metadata": {"kernelspec": {"name": "python3"}}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "one.ipynb").write_text(json.dumps(notebook, indent=1) + "\n", encoding="utf-8")
    (tmp_path / "two.md").write_text(TEXT, encoding="utf-8")
    monkeypatch.setattr(pages, "book_folder", lambda: tmp_path)
    history.commits.cache_clear()
    history.blocks_of.cache_clear()
    return tmp_path
