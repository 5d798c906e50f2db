"""What is quoted from papers stands in one file, with its source, and in no chapter."""

import ast
import re
from collections.abc import Iterator

import pytest

from metasgd.experiments import published
from metasgd.experiments.published import (
    FROM_MEMORY,
    IN_THE_PAPER,
    IN_THEIR_RESULTS,
    QUOTED,
    SOURCES,
    sources_as_markdown,
)
from tests.book.notebooks import BOOK, CHAPTERS, cells, in_every_chapter, text

NO_NUMBERS = ("SOURCES", "FROM_MEMORY", "IN_THE_PAPER", "IN_THEIR_RESULTS", "QUOTED")
CONSTANTS = [name for name in vars(published) if name.isupper() and name not in NO_NUMBERS]
QUOTING = re.compile(r"PAPERS?|PUBLISHED|REPORTED|LITERATURE")


def numbers(value: object) -> Iterator[float]:
    """All numbers of a constant; the ways and shots that they are sorted by are none of them."""
    if isinstance(value, dict):
        for part in value.values():
            yield from numbers(part)
    elif isinstance(value, tuple):
        for part in value:
            yield from numbers(part)
    else:
        assert isinstance(value, int | float)
        yield value


def published_numbers() -> set[float]:
    return {number for name in CONSTANTS for number in numbers(getattr(published, name))}


def digits(number: float) -> int:
    """How many digits of a decimal number count."""
    return len(f"{abs(number):.12g}".replace(".", "").strip("0"))


def test_every_number_has_a_source() -> None:
    assert set(SOURCES) == set(CONSTANTS)
    references = set(re.findall(r"^@\w+\{(\S+),$", (BOOK / "references.bib").read_text("utf-8"), re.MULTILINE))
    for source in SOURCES.values():
        assert source.key in references
        assert source.place
        assert source.checked in (IN_THEIR_RESULTS, IN_THE_PAPER, QUOTED, FROM_MEMORY)


@pytest.mark.parametrize("name", CONSTANTS)
def test_the_chapters_that_a_source_names_read_its_numbers(name: str) -> None:
    reading = {
        int(chapter[:2])
        for chapter in CHAPTERS
        if any(re.search(rf"\b{name}\b", cell.source) for cell in cells(chapter) if cell.cell_type == "code")
    }
    assert reading == set(SOURCES[name].chapters)


@in_every_chapter
def test_no_chapter_has_a_published_number_of_its_own(chapter: str) -> None:
    """Neither a constant that is named after a paper, nor two numbers of three digits or more that papers have.

    One such number in a cell may be there by chance; a table that was copied has several.
    """
    known = {number for number in published_numbers() if digits(number) >= 3}
    for cell in cells(chapter):
        if cell.cell_type != "code" or "google.colab" in cell.source:
            continue
        found = set()
        for node in ast.walk(ast.parse(cell.source)):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict | ast.List | ast.Tuple | ast.Constant):
                names = [target.id for target in node.targets if isinstance(target, ast.Name)]
                assert not [name for name in names if QUOTING.search(name)]
            if isinstance(node, ast.Constant) and isinstance(node.value, float):
                found |= {node.value} & known
        assert len(found) < 2


def test_the_returns_in_the_text_of_chapter_13_are_those_of_the_file() -> None:
    """The section on units quotes them in its sentences, where no code can print them."""
    (chapter,) = (name for name in CHAPTERS if name.startswith("13-"))
    section = text(chapter).partition("## In which unit?")[2].partition("\n## ")[0]
    quoted = {float(number) for number in re.findall(r"\$(-\d+\.\d\d)\$", section)}
    assert quoted
    assert quoted <= published_numbers()


def test_the_table_of_sources_has_a_row_for_each() -> None:
    table = sources_as_markdown()
    assert len(table.splitlines()) == len(SOURCES) + 2
    assert all(f"`{source.key}`" in table for source in SOURCES.values())
