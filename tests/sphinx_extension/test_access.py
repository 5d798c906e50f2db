"""Roles, names and headers of a page for programs that read it aloud."""

from metasgd.sphinx_extension.access import mended


def test_entries_of_a_bibliography_are_items_of_its_list() -> None:
    body = '<div role="list"><div class="citation" role="doc-biblioentry"><a role="doc-backlink">1</a></div></div>'
    assert mended(body) == '<div role="list"><div class="citation" role="listitem"><a>1</a></div></div>'


def test_a_folded_box_is_named_by_its_words() -> None:
    assert mended('<summary aria-label="Toggle hidden content">Show') == "<summary>Show"


def test_an_empty_header_of_a_table_becomes_a_cell() -> None:
    body = '<th class="head"><p></p></th><th scope="col"></th><th class="head"><p>n</p></th>'
    assert mended(body) == '<td class="head"></td><td></td><th class="head"><p>n</p></th>'
