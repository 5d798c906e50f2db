"""Every entry of the glossary is complete: both languages, one sentence in each, and the way to a page."""

import re

import pytest

from tests.book.notebooks import BOOK

TEXT = (BOOK / "glossary.md").read_text(encoding="utf-8")
GROUPS = re.findall(r"^:::\{glossary\}\n(.*?)^:::$", TEXT, re.DOTALL | re.MULTILINE)
ENTRIES = [entry.strip("\n") for group in GROUPS for entry in re.split(r"\n\n(?=\S)", group)]
HAN = re.compile(r"[\u4e00-\u9fff]")


def test_glossary_has_entries_and_no_term_twice() -> None:
    terms = [line for entry in ENTRIES for line in entry.splitlines() if line and not line.startswith(" ")]
    assert len(ENTRIES) >= 45
    assert len(set(terms)) == len(terms) == 2 * len(ENTRIES)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.splitlines()[0])
def test_entry_has_two_names_two_sentences_and_a_link(entry: str) -> None:
    term, chinese_term, english, blank, chinese = entry.splitlines()
    assert not HAN.search(term + english)
    assert HAN.search(chinese_term)
    assert re.fullmatch(r"  [A-Z].+\. \{ref\}`(?:Chapter \d+ <ch|Questions <app)-[a-z]+>`", english)
    assert blank == ""
    assert HAN.search(chinese)
    assert chinese.endswith("。")
