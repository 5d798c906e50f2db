"""Every entry of the glossary is complete: both languages, an explanation in each, and the way to a page."""

import re

import pytest

from tests.book.notebooks import BOOK, CHAPTERS, text

TEXT = (BOOK / "glossary.md").read_text(encoding="utf-8")
GROUPS = re.findall(r"^:::\{glossary\}\n(.*?)^:::$", TEXT, re.DOTALL | re.MULTILINE)
ENTRIES = [entry.strip("\n") for group in GROUPS for entry in re.split(r"\n\n(?=\S)", group)]
HAN = re.compile(r"[\u4e00-\u9fff]")


def test_glossary_has_entries_and_no_term_twice() -> None:
    terms = [line for entry in ENTRIES for line in entry.splitlines() if line and not line.startswith(" ")]
    assert len(ENTRIES) >= 45
    assert len(set(terms)) == len(terms) == 2 * len(ENTRIES)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.splitlines()[0])
def test_entry_has_two_names_two_explanations_and_a_link(entry: str) -> None:
    term, chinese_term, english, blank, chinese = entry.splitlines()
    assert not HAN.search(term + english)
    assert HAN.search(chinese_term)
    assert re.fullmatch(r"  [A-Z].+\. \{ref\}`(?:Chapter \d+ <ch|Questions <app)-[a-z]+>`", english)
    assert blank == ""
    assert HAN.search(chinese)
    assert chinese.endswith("。")


def test_the_table_at_the_top_has_the_two_names_of_every_entry_in_alphabetical_order() -> None:
    """It stands before the symbols and the explanations, so that a reader who only wants a word has it at once."""
    table = TEXT[TEXT.index("\n## English and Chinese\n") : TEXT.index("\n## Notation\n")]
    rows = re.findall(r"^\| \{term\}`(.+)` \| (.+) \|$", table, re.MULTILINE)
    assert rows == sorted((tuple(entry.splitlines()[:2]) for entry in ENTRIES), key=lambda names: names[0].lower())


@pytest.mark.parametrize(
    ("term", "chinese"),
    [
        ("entry-by-entry (Hadamard) product", "逐元素乘积（哈达玛积）"),
        ("bilevel optimisation", "双层优化"),
        ("hypergradient", "超梯度"),
        ("meta-learner", "元学习器"),
        ("start", "起点"),
        ("saddle point", "鞍点"),
    ],
)
def test_terms_that_readers_looked_for_are_there(term: str, chinese: str) -> None:
    assert f"\n{term}\n{chinese}\n  " in TEXT


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.splitlines()[0])
def test_the_chinese_edition_explains_the_term_in_the_same_words(entry: str) -> None:
    """There the explanation also has what the English one cites, and the link stands at its end."""
    term, chinese_term, _, _, chinese = entry.splitlines()
    edition = (BOOK / "zh" / "glossary.md").read_text(encoding="utf-8")
    (found,) = re.findall(
        rf"^{re.escape(term)}\n{re.escape(chinese_term)}\n  (.*)\{{ref\}}`.*>`$", edition, re.MULTILINE
    )
    assert re.sub(r" ?\{cite:p\}`[^`]*`", "", found) == chinese.strip()


# Letters

LETTERS = re.findall(
    r"^\| (\$.*?\$) \| (.*) \| (\{ref\}.*) \|$",
    TEXT[TEXT.index("\n### Letters with more than one meaning\n") : TEXT.index("\n## Learning to learn\n")],
    re.MULTILINE,
)


def formulas(chapter: str) -> str:
    """All formulas of a chapter, one a line, without the names of functions and environments."""
    markdown = text(chapter)
    found = re.findall(r"\$\$(.*?)\$\$", markdown, re.DOTALL) + re.findall(r"(?<!\$)\$([^$\n]+)\$(?!\$)", markdown)
    return re.sub(r"\\(?:text|operatorname|mathrm|begin|end|mathbb|mathcal)\{[^}]*\}", " ", "\n".join(found))


def has_letter(symbols: str, letter: str) -> bool:
    if not letter.startswith("\\"):
        symbols = re.sub(r"\\[A-Za-z]+", " ", symbols)
    return re.search(rf"(?<![A-Za-z\\]){re.escape(letter)}(?![A-Za-z])", symbols) is not None


def test_a_letter_of_the_table_has_two_meanings_and_a_chapter_has_it_in_its_formulas() -> None:
    letters = [letter for letter, _, _ in LETTERS]
    assert len(LETTERS) > 10
    assert set(map(letters.count, letters)) == {2}
    assert len({row[:2] for row in LETTERS}) == len(LETTERS)
    for letter, meaning, links in LETTERS:
        for number in re.findall(r"\{ref\}`(\d+) <", links):
            symbols = formulas(CHAPTERS[int(number) - 1])
            written = re.findall(r"\$([^$]+)\$", letter)
            assert any(has_letter(symbols, one) for one in written), f"{letter}: {meaning}, chapter {number}"


@pytest.mark.parametrize(
    ("letter", "numbers"),
    {
        "A": {13},  # advantage
        "F": {4},
        "G": {2},  # state of an optimiser
        "J": {3, 4, 11},
        "M": {11},  # curvature of the objective in the rates
        "N": {7, 11, 14},
        "P": {3, 4},
        "R": {13},
        "V": {4, 15},
        "W": {11, 14},
        "X": {4, 15},
        "h": {3},
        "m": {4, 15},
        "q": {4, 15},
        "r": {13},
        "s": {7, 14},
        "u": {2, 4},
        r"\delta": {3, 15},
        r"\eta": {1, 2, 3, 4, 11, 14},
        r"\rho": {11},
        r"\tau": {13},
        r"\varepsilon": {4},
    }.items(),
)
def test_a_letter_of_one_meaning_is_in_the_formulas_of_its_chapters_alone(letter: str, numbers: set[int]) -> None:
    """A new formula that needs it for something else takes a free letter, or a word, or the table gets a row."""
    assert not any(occurs(symbols, letter) for symbols, _, _ in LETTERS)
    found = {number for number, chapter in enumerate(CHAPTERS, 1) if occurs(formulas(chapter), letter)}
    assert found == numbers


def occurs(symbols: str, letter: str) -> bool:
    """Say whether formulas have a letter, also beside another one, as in NK."""
    if letter.startswith("\\"):
        return has_letter(symbols, letter)
    return letter in re.sub(r"\\[A-Za-z]+", " ", symbols)
