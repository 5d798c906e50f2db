"""Pages are read as blocks and written with all that the English page has."""

import json
from pathlib import Path

import pytest

from metasgd.tools.translations.pages import (
    Block,
    all_pages,
    code_differences,
    digest,
    english_path,
    pairs,
    read_blocks,
    translated_path,
    write_page,
)

ONE = {
    "aaaaaaaa": "# One\n\nSome words.",
    "fig-a.caption": "A line.",
    "fig-a.alt": "One line.",
    "cccccccc": "```{bibliography}\n```",
}


def test_digest_is_of_the_text_without_spaces_around_it() -> None:
    """The first 12 digits of SHA-256 of "abc" are known."""
    assert digest("abc") == digest("\nabc ") == "ba7816bf8f01"


def test_blocks_of_a_notebook_are_its_texts_captions_and_descriptions_in_their_order(book: Path) -> None:
    assert [(block.name, block.text) for block in read_blocks(book / "one.ipynb")] == list(ONE.items())


def test_blocks_of_a_markdown_file_are_its_sections_with_their_labels(book: Path) -> None:
    """A line with "#" in a program is no heading, and a heading that comes again gets a number."""
    blocks = read_blocks(book / "two.md")
    assert [block.name for block in blocks] == ["two", "a-part", "a-part-2"]
    assert blocks[0].text.startswith("---\norphan: true\n---\n(app-two)=\n# Two\n")
    assert "# no heading" in blocks[0].text
    assert blocks[1].text == "(label)=\n## A part\n\nMore words."


@pytest.mark.parametrize("page", ["one", "two"])
def test_page_that_is_written_is_read_again_as_it_was(book: Path, page: str) -> None:
    blocks = {block.name: Block(block.name, f"译文 {block.text}", digest(block.text)) for block, _ in pairs(page)}
    path = write_page(page, blocks)
    assert path == translated_path(page)
    assert {block.name: block for block in read_blocks(path)} == blocks
    assert code_differences(page) == []


def test_front_matter_stays_at_the_top_of_a_markdown_file(book: Path) -> None:
    write_page("two", {})
    text = (book / "zh" / "two.md").read_text(encoding="utf-8")
    assert text.startswith("---\norphan: true\n---\n% translates: two\n\n(app-two)=\n# Two\n")


def test_code_cells_are_written_as_they_are_with_their_metadata(book: Path) -> None:
    write_page("one", {"fig-a.caption": Block("fig-a.caption", "一条线。", "0" * 12)})
    english, chinese = (json.loads((book / name).read_text("utf-8")) for name in ("one.ipynb", "zh/one.ipynb"))
    assert english["cells"][1] == chinese["cells"][1]
    assert chinese["metadata"]["metasgd"]["figures"]["fig-a.caption"] == {"text": "一条线。", "translates": "0" * 12}
    assert chinese["metadata"]["kernelspec"] == english["metadata"]["kernelspec"]


def test_what_a_notebook_has_otherwise_is_named(book: Path) -> None:
    path = write_page("one", {})
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["cells"][1]["source"] = ["other()"]
    path.write_text(json.dumps(notebook), encoding="utf-8")
    assert code_differences("one") == ["code cell bbbbbbbb is not that of the English notebook"]
    del notebook["cells"][0]
    notebook["cells"].append({"cell_type": "markdown", "id": "dddddddd", "metadata": {}, "source": []})
    path.write_text(json.dumps(notebook), encoding="utf-8")
    assert code_differences("one")[:2] == [
        "cell aaaaaaaa is missing",
        "cell dddddddd is not in the English notebook",
    ]


def test_page_that_is_not_there_is_refused(book: Path) -> None:
    assert english_path("one.ipynb") == english_path("one")
    assert all_pages() == ["one", "two"]
    with pytest.raises(SystemExit, match="there is no page three"):
        english_path("three")
