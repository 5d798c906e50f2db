"""List the sentences of chapters that compare, each with the claim that it refers to.

``python -m metasgd.tools.list_claims`` reads the notebooks of the chapters that have a table of claims, or of those
that it is given, and prints every sentence with "ahead", "behind", "better", "best" or "beats". A sentence refers to
the claims that it names, as in "(claim 3)", by their numbers in the chapter's table; one that names none rests on no
claim. With ``--check`` the tool fails where a sentence names a claim that the table does not have, or says "ahead" or
"behind" of methods that the claim does not separate.
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from metasgd.experiments.claims import Claim, chapters, claims_of
from metasgd.experiments.how_made import book_folder

COMPARISON = re.compile(r"\b(?:ahead|behind|better|best|beats?|beaten)\b", re.IGNORECASE)
NAMED = re.compile(r"\bclaims? (\d+(?:(?:, and |, | and )\d+)*)")
ORDER = re.compile(r"\b(?:ahead|behind|beats?|beaten)\b", re.IGNORECASE)
NEGATION = re.compile(r"\b(?:not?|neither|nor|none|nothing|cannot)\b", re.IGNORECASE)
# What ends a sentence: a full stop and the like, then a space, then a capital or what can stand before one.
AFTER_END = r"(?:(?<=[.!?])|(?<=[.!?][)”\"])|(?<=[.!?]\*\*))"
END = re.compile(AFTER_END + r"\s+(?=[\"“‘*(\[]*[A-Z0-9`${])")
NO_TEXT = re.compile(r"```.*?```|~~~.*?~~~|\$\$.*?\$\$", re.DOTALL)


@dataclass(frozen=True)
class Sentence:
    """A sentence that compares.

    Attributes:
        chapter: its number.
        cell: id of its cell.
        text: on one line.
    """

    chapter: int
    cell: str
    text: str

    @property
    def named(self) -> list[int]:
        """The numbers of the claims that it names."""
        return [int(number) for mention in NAMED.findall(self.text) for number in re.findall(r"\d+", mention)]


def comparing_sentences(notebook: Path) -> list[Sentence]:
    """Return the sentences of a chapter that compare, in its text and in the captions of its figures.

    Args:
        notebook: named ``NN-title.ipynb``.
    """
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    return [
        Sentence(int(notebook.name[:2]), cell["id"], sentence)
        for cell in cells
        for sentence in sentences(text_of(cell))
        if COMPARISON.search(sentence)
    ]


def text_of(cell: dict[str, object]) -> str:
    """Return the text of a cell of a notebook: all of Markdown, and the caption of a figure."""
    if cell["cell_type"] == "markdown":
        return "".join(cell["source"])  # type: ignore[arg-type]
    caption = json.dumps(cell["metadata"])
    found = re.search(r'"caption": ("(?:[^"\\]|\\.)*")', caption)
    return str(json.loads(found.group(1))) if found else ""


def sentences(text: str) -> Iterator[str]:
    r"""Yield the sentences of a Markdown text, each on one line; code and displayed formulas are left out.

    >>> list(sentences("One is ahead (claim 3). It\nhas *two* steps.\n\n- A point"))
    ['One is ahead (claim 3).', 'It has *two* steps.', '- A point']
    """
    for paragraph in re.split(r"\n\s*\n|\n(?=\s*(?:[-*|#:]|\d+\. ))", NO_TEXT.sub("\n\n", text)):
        yield from filter(None, END.split(" ".join(paragraph.split())))


def reference(sentence: Sentence, claims: Sequence[Claim]) -> str:
    """Return which claims a sentence refers to, in words."""
    return "; ".join(
        f"claim {number}: {claims[number - 1].sentence} [{claims[number - 1].grade}]"
        if 0 < number <= len(claims)
        else f"claim {number}: there is none"
        for number in sentence.named
    )


def fault(sentence: Sentence, claims: Sequence[Claim]) -> str:
    """Return how a sentence disagrees with the claims that it names; an empty text where it does not."""
    if any(not 0 < number <= len(claims) for number in sentence.named):
        return f"the table has {len(claims)} claims"
    named = [claims[number - 1].sentence for number in sentence.named]
    says_order = ORDER.search(sentence.text) and not NEGATION.search(sentence.text)
    if named and says_order and all("not separated" in claim for claim in named):
        return "the claim does not separate them"
    return ""


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the list; return 1 if that is checked and a sentence disagrees with its claim, and 0 otherwise."""
    parser = argparse.ArgumentParser(prog="python -m metasgd.tools.list_claims", description=__doc__.splitlines()[0])
    parser.add_argument("chapters", nargs="*", type=int, help="numbers of chapters (default: those with a table)")
    parser.add_argument("--check", action="store_true", help="fail if a sentence disagrees with a claim that it names")
    parser.add_argument("--book", type=Path, default=book_folder(), help="folder of the notebooks")
    options = parser.parse_args(arguments)
    known, faults, unnamed, found = chapters(), 0, 0, 0
    for notebook in sorted(options.book.glob("[0-9][0-9]-*.ipynb")):
        chapter = int(notebook.name[:2])
        if chapter not in (options.chapters or known):
            continue
        claims = claims_of(chapter) if chapter in known else []
        for sentence in comparing_sentences(notebook):
            wrong = fault(sentence, claims)
            found, unnamed, faults = found + 1, unnamed + (not sentence.named), faults + bool(wrong)
            print(f"{chapter} [{sentence.cell}] {sentence.text}\n    -> {reference(sentence, claims) or 'no claim'}")
            if wrong:
                print(f"    !! {wrong}")
    print(f"{found} sentences; {unnamed} name no claim; {faults} disagree with one")
    return int(options.check and faults > 0)


if __name__ == "__main__":
    sys.exit(main())
