"""The list of sentences that compare finds them, names their claims, and sees where they disagree."""

import json
from pathlib import Path

import pytest

from metasgd.experiments.claims import Claim, Effect, chapters
from metasgd.tools import list_claims
from metasgd.tools.list_claims import Sentence, comparing_sentences, fault, main, reference, sentences

CLAIMS = [
    Claim("A is {verdict} B.", "run", Effect(2.0, 1.0, 3), grade="several runs"),
    Claim("C is {verdict} B.", "run", Effect(2.0, 3.0, 3), grade="several runs"),
]


def write(folder: Path, *texts: str) -> Path:
    """Write a notebook of chapter 8 with one Markdown cell for each text, and a figure."""
    cells = [
        {"cell_type": "markdown", "id": f"cell{n}", "metadata": {}, "source": [text]} for n, text in enumerate(texts)
    ]
    figure = {"mystnb": {"figure": {"caption": 'Colours: the "best" is blue. Nothing else.'}}}
    cells.append({"cell_type": "code", "id": "figure", "metadata": figure, "source": ["best = 1"]})
    notebook = folder / "08-some.ipynb"
    notebook.write_text(json.dumps({"cells": cells}))
    return notebook


def test_sentences_end_where_a_reader_sees_their_end() -> None:
    text = "It is 3.5 points, e.g. so. **Yes.** {ref}`Chapter 11 <x>` says (it does.) And\nmore: a, b!\n\n- One\n- Two"
    assert list(sentences(text)) == [
        "It is 3.5 points, e.g. so.",
        "**Yes.**",
        "{ref}`Chapter 11 <x>` says (it does.)",
        "And more: a, b!",
        "- One",
        "- Two",
    ]


def test_every_sentence_that_compares_is_found_in_text_and_captions_and_not_in_code(tmp_path: Path) -> None:
    notebook = write(tmp_path, "A is ahead. It is fine. B beats all.\n\n```bash\nbest\n```", "Beatrice goes behind")
    assert [(found.cell, found.text) for found in comparing_sentences(notebook)] == [
        ("cell0", "A is ahead."),
        ("cell0", "B beats all."),
        ("cell1", "Beatrice goes behind"),
        ("figure", 'Colours: the "best" is blue.'),
    ]


@pytest.mark.parametrize(
    ("text", "named"),
    [("It is ahead (claim 3).", [3]), ("Claims differ (claims 1, 2 and 12).", [1, 2, 12]), ("It is ahead.", [])],
)
def test_a_sentence_names_claims_by_number(text: str, named: list[int]) -> None:
    assert Sentence(8, "x", text).named == named


def test_a_reference_says_the_claim_and_its_grade() -> None:
    found = reference(Sentence(8, "x", "A is ahead (claims 1 and 3)."), CLAIMS)
    assert found == "claim 1: A is ahead of B. [several runs]; claim 3: there is none"


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("A is ahead of B (claim 1).", ""),
        ("C is ahead of B (claim 2).", "the claim does not separate them"),
        ("Neither is ahead (claim 2).", ""),
        ("C is a better idea (claim 2).", ""),  # which may be said of what has no order
        ("D is ahead (claim 3).", "the table has 2 claims"),
        ("D is ahead.", ""),
    ],
)
def test_a_sentence_that_says_more_than_its_claim_is_seen(text: str, wrong: str) -> None:
    assert fault(Sentence(8, "x", text), CLAIMS) == wrong


def test_the_check_fails_where_a_sentence_disagrees(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(list_claims, "claims_of", lambda chapter: CLAIMS)
    monkeypatch.setattr(list_claims, "chapters", lambda: [8])
    write(tmp_path, "C is ahead of B (claim 2).")
    assert main(["8", "--book", str(tmp_path)]) == 0
    assert main(["8", "--book", str(tmp_path), "--check"]) == 1
    printed = capsys.readouterr().out
    assert "8 [cell0] C is ahead of B (claim 2).\n    -> claim 2: C is not separated from B." in printed
    assert "2 sentences; 1 name no claim; 1 disagree with one" in printed


@pytest.mark.parametrize("chapter", chapters())
def test_no_sentence_of_a_chapter_disagrees_with_its_table(chapter: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(chapter), "--check"]) == 0, capsys.readouterr().out
