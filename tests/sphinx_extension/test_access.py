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


def test_parameters_of_a_long_signature_are_a_list_and_definitions_stay_definitions() -> None:
    terms = "<dl>\n<dt>a</dt><dd>b</dd>\n</dl>"
    body = '<dt class="sig">f(<dl>\n<dd><em>x</em>,</dd>\n<dd><em>y</em></dd>\n</dl>\n)</dt>' + terms
    assert mended(body) == (
        '<dt class="sig">f(<span role="list"><span class="sig-line" role="listitem"><em>x</em>,</span>\n'
        '<span class="sig-line" role="listitem"><em>y</em></span>\n</span>\n)</dt>' + terms
    )
