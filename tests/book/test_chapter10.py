"""The cells of chapter 10 are the program, line by line; what each part does is tested in tests/gpu.

And no chapter has a branch for a GPU, which would be run by nobody who has none.
"""

import ast
import inspect
import re
from pathlib import Path

from torch.autograd.profiler_util import FunctionEvent

from metasgd import plotting
from metasgd._core.files import find_file
from metasgd.gpu import program
from metasgd.gpu_report.reading import NAME
from tests.book.notebooks import cells, in_every_chapter, path_of, tagged_source

SOURCE = Path(inspect.getfile(program)).read_text(encoding="utf-8")


def definitions(source: str) -> dict[str, str]:
    """Return the pieces of a program by the name that each defines; what stands before the first is named ''."""
    pieces: dict[str, list[str]] = {"": []}
    name = ""
    for line in source.splitlines():
        if line.startswith(("def ", "class ", "@dataclass")):
            name = line
        pieces.setdefault(name, []).append(line)
    return {name: "\n".join(lines).strip() for name, lines in pieces.items()}


def test_cells_of_the_chapter_are_the_program() -> None:
    """But for its docstring and its call, and in an order in which they can be told."""
    program_of_file = SOURCE[SOURCE.index("import argparse") : SOURCE.index("\n\nif __name__")]
    shown, stored = definitions(tagged_source(path_of(10), "program")), definitions(program_of_file)
    assert shown == stored
    assert len(shown) > 15


def test_a_line_that_differs_is_seen() -> None:
    assert definitions("a = 1\n\n\ndef f():\n    return 1") != definitions("a = 1\n\n\ndef f():\n    return 2")
    assert definitions("x\n\ndef f():\n    1\n\ndef g():\n    2") == definitions("x\ndef g():\n    2\ndef f():\n    1")


ASKED = r"""(["']cuda|["']cpu|is_cuda|is_available|\bgpu)"""
BRANCH = re.compile(rf"^\s*((if|elif|while)\b.*{ASKED}|assert .*{ASKED}.* or )", re.MULTILINE | re.IGNORECASE)


@in_every_chapter
def test_no_cell_has_a_branch_for_a_gpu(chapter: str) -> None:
    """But for those of the program, which tests reach, and the one that says in Colab what it has found."""
    code = [cell for cell in cells(chapter) if cell.cell_type == "code"]
    own = [cell for cell in code if not {"program", "set-up"} & set(cell.metadata.get("tags", []))]
    assert [cell.source for cell in own if BRANCH.search(cell.source)] == []


def test_a_branch_for_a_gpu_is_seen() -> None:
    assert BRANCH.search('x = 1\nif device == "cuda":\n    wait()')
    assert BRANCH.search('assert device == "cuda" or a < b')
    assert not BRANCH.search('device = "cuda" if torch.cuda.is_available() else "cpu"')


def test_times_of_the_profiler_exist_for_every_device() -> None:
    """Chapter 10 asks for one of them by the type of the device."""
    source = "\n".join(cell.source for cell in cells(path_of(10).stem) if cell.cell_type == "code")
    names = set(re.findall(r"self_\w+_time_total", source))
    assert names == {"self_cpu_time_total", "self_device_time_total"}
    assert all(hasattr(FunctionEvent, name) for name in names)


def test_notes_of_the_profile_fit_into_the_figure() -> None:
    """A browser cuts off what is wider than the drawing."""
    source = next(cell.source for cell in cells(path_of(10).stem) if cell.source.startswith("NOTES = "))
    notes = ast.literal_eval(ast.parse(source).body[0].value)
    figure = plotting.time_shares(dict.fromkeys(notes, 1.0), notes)
    figure.draw_without_rendering()  # lays it out
    for text in figure.axes[0].texts:
        assert text.get_window_extent().x1 <= figure.bbox.x1, text.get_text()


def test_page_says_that_no_report_of_a_gpu_is_stored_as_long_as_there_is_none() -> None:
    """Whoever stores one rewrites what the head of the page and its last section say of it."""
    text = "\n".join(cell.source for cell in cells(path_of(10).stem) if cell.cell_type == "markdown")
    missing = find_file("results", f"{NAME}.json") is None
    for words in ("so far of the package on one card", "No report of one is stored yet"):
        assert (words in text) == missing
