"""What tests of several experiments share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from metasgd.experiments import omniglot_mnist
from metasgd.recipes import omniglot


@pytest.fixture
def folder(omniglot_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Sixty characters, of which 30 train, in place of 1,623."""
    monkeypatch.setattr(omniglot, "CHARACTERS", 60)
    monkeypatch.setattr(omniglot, "TRAINING", 30)
    monkeypatch.setitem(omniglot_mnist.ALL_CHARACTERS, "characters", 60)
    omniglot.load_drawings.cache_clear()
    yield omniglot_folder
    omniglot.load_drawings.cache_clear()
