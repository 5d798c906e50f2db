"""The cells of chapter 10 are the program, line by line; what each part does is tested in tests/gpu."""

import inspect
from pathlib import Path

from metasgd.gpu import program
from tests.book.notebooks import path_of, tagged_source

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
