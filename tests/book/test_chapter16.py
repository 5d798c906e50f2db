"""Chapter 16: its cell for Colab reads uploaded photographs, by the names of their files."""

import contextlib
import io
import math
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from metasgd.classification import classify
from metasgd.data import load_folder, load_pictures
from metasgd.recipes.shipped import load_weights
from tests.book.notebooks import path_of, run_tagged, tagged_source

SYMBOLS = ("arrow", "circle", "zigzag")


@pytest.fixture(scope="module")
def chapter() -> Iterator[dict[str, Any]]:
    """What the cells of the chapter have defined before that of Colab, and photographs on the imitated desk."""
    given = {"torch": torch, "math": math, "tempfile": tempfile, "Path": Path, "Image": Image, "sys": sys}
    given |= {"load_folder": load_folder, "load_pictures": load_pictures, "classify": classify}
    with contextlib.redirect_stdout(io.StringIO()):
        namespace = run_tagged(path_of(16), ("imitated-desk",), given)
    yield namespace | {"learner": load_weights("mnist-glyphs")[0]}
    shutil.rmtree(namespace["desk"])


@pytest.fixture
def uploads(chapter: dict[str, Any]) -> dict[str, bytes]:
    """What ``google.colab.files.upload`` returns: the content of each file by its name, as a reader has named them."""
    desk, found = chapter["desk"], {}
    for symbol in SYMBOLS:
        found[f"{symbol}-1.jpg"], found[f"{symbol}-1 (1).jpg"] = (  # Colab names the second one of a name so
            (desk / "few" / symbol / f"{symbol}-{number}.jpg").read_bytes() for number in range(2)
        )
    for place, symbol in enumerate(SYMBOLS * 2):
        found[f"read-{place}.jpg"] = (desk / "many" / f"{symbol}-{place // len(SYMBOLS)}.jpg").read_bytes()
    return found


def run_cell(source: str, chapter: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """Run the cell as it stands after those before it, and return its names and what it prints."""
    namespace, printed = dict(chapter), io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, "16[upload]", "exec"), namespace)
    return namespace, printed.getvalue()


def pretend_colab(monkeypatch: pytest.MonkeyPatch, upload: Any) -> None:
    """Put a module in place of ``google.colab``, whose files are uploaded by a function."""
    colab = ModuleType("google.colab")
    colab.files = SimpleNamespace(upload=upload)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "google", ModuleType("google"))
    monkeypatch.setitem(sys.modules, "google.colab", colab)


def test_uploaded_photographs_are_read_in_colab(
    chapter: dict[str, Any], uploads: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend_colab(monkeypatch, lambda: uploads)
    source = tagged_source(path_of(16), "upload")
    assert source.count("UPLOAD = False") == 1
    namespace, printed = run_cell(source.replace("UPLOAD = False", "UPLOAD = True"), chapter)
    lines = [line.split() for line in printed.splitlines()]
    assert [name for name, _, _ in lines] == [f"read-{place}.jpg" for place in range(6)]
    assert sum(label == symbol for (_, label, _), symbol in zip(lines, SYMBOLS * 2, strict=True)) >= 5
    assert all(1 / 3 <= float(probability) <= 1 for _, _, probability in lines)
    assert sorted(namespace["few"].names) == list(SYMBOLS)
    assert [len(pictures) for pictures in namespace["few"].classes] == [2, 2, 2]
    shutil.rmtree(namespace["own"])


def test_nothing_is_asked_for_unless_the_reader_says_so(
    chapter: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither in Colab before UPLOAD is set, nor elsewhere if it is."""
    source = tagged_source(path_of(16), "upload")
    assert run_cell(source.replace("UPLOAD = False", "UPLOAD = True"), chapter)[1] == ""
    pretend_colab(monkeypatch, lambda: pytest.fail("files were asked for"))
    assert run_cell(source, chapter)[1] == ""
