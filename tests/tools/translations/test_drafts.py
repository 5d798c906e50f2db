"""A draft is edited and read back, and a block knows whether it is translated, and of which English text."""

import subprocess
from pathlib import Path

import pytest

from metasgd.tools.translations.__main__ import main
from metasgd.tools.translations.checks import states
from metasgd.tools.translations.drafts import accept, draft, fill, synchronise
from metasgd.tools.translations.pages import digest, pairs, translated_path

TRANSLATED = "%%% aaaaaaaa\n# 一\n\n几个字。\n\n%%% fig-a.caption\n一条线。\n\n%%% fig-a.alt\n一条直线。\n"


def change(book: Path, old: str, new: str) -> None:
    path = book / "one.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")


def test_new_page_holds_the_english_text_and_counts_as_untranslated(book: Path) -> None:
    """A block without prose, such as a list of references, is done by itself."""
    synchronise("one")
    assert states("one") == {
        "aaaaaaaa": "untranslated",
        "fig-a.caption": "untranslated",
        "fig-a.alt": "untranslated",
        "cccccccc": "done",
    }


def test_draft_that_is_filled_in_makes_the_page(book: Path) -> None:
    synchronise("one")
    assert fill("one", TRANSLATED) == []
    assert set(states("one").values()) == {"done"}
    assert {block.name: block.text for _, block in pairs("one") if block}["aaaaaaaa"] == "# 一\n\n几个字。"


def test_draft_read_back_without_a_change_changes_nothing(book: Path) -> None:
    synchronise("one")
    fill("one", TRANSLATED)
    before = translated_path("one").read_bytes()
    assert fill("one", draft("one")) == []
    assert translated_path("one").read_bytes() == before


def test_block_is_behind_when_the_english_text_changes_until_it_is_changed_or_accepted(book: Path) -> None:
    synchronise("one")
    fill("one", TRANSLATED)
    change(book, "Some words.", "Some other words.")
    assert states("one")["aaaaaaaa"] == "behind"
    assert fill("one", draft("one")) == ["aaaaaaaa: still behind, as its text is the same; accept it if that is right"]
    assert states("one")["aaaaaaaa"] == "behind"
    fill("one", draft("one").replace("几个字", "另外几个字"))
    assert states("one")["aaaaaaaa"] == "done"
    change(book, "other", "further")
    assert accept("one", {"aaaaaaaa"}) == ["aaaaaaaa"]
    assert states("one")["aaaaaaaa"] == "done"


def test_english_text_is_never_accepted_as_a_translation(book: Path) -> None:
    synchronise("one")
    accept("one", set())
    assert states("one")["aaaaaaaa"] == "untranslated"


def test_draft_of_an_older_english_text_leaves_its_block_behind(book: Path) -> None:
    synchronise("one")
    old = draft("one").replace("Some words.", "几个字。")
    change(book, "Some words.", "Some other words.")
    assert fill("one", old)[0] == "aaaaaaaa: behind, as the English text has changed since the draft was made"
    assert states("one")["aaaaaaaa"] == "behind"


def test_draft_with_an_unknown_block_writes_nothing(book: Path) -> None:
    synchronise("one")
    before = translated_path("one").read_bytes()
    with pytest.raises(SystemExit, match="one has no eeeeeeee"):
        fill("one", "%%% aaaaaaaa\n一\n\n%%% eeeeeeee\n二\n")
    assert translated_path("one").read_bytes() == before


def test_draft_says_what_has_changed_in_english(book: Path) -> None:
    """From the history of the repository."""
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    for arguments in (["init", "--quiet"], ["add", "."], [*identity, "commit", "--quiet", "--message", "one"]):
        subprocess.run(["git", *arguments], cwd=book, check=True)
    synchronise("one")
    fill("one", TRANSLATED)
    change(book, "Some words.", "Some other words.")
    text = draft("one", {"behind"})
    assert text == (
        f"%%% aaaaaaaa behind {digest('# One  Some other words.'.replace('  ', chr(10) * 2))}\n"
        "%%%|   # One\n%%%| - Some words.\n%%%| + Some other words.\n# 一\n\n几个字。\n"
    )


def test_commands(book: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """From nothing to a page without a problem."""
    assert main(["new"]) == 0
    assert "one                            4             3       0  the same" in capsys.readouterr().out
    assert main(["check", "one"]) == 1
    assert "one: aaaaaaaa: not translated" in capsys.readouterr().out
    (tmp_path / "draft.txt").write_text(TRANSLATED, encoding="utf-8")
    assert main(["fill", "one", "--file", str(tmp_path / "draft.txt")]) == 0
    assert main(["check", "one"]) == 0
    change(book, "Some words.", "Some other words.")
    assert main(["show", "one"]) == 0
    assert "+ Some other words." in capsys.readouterr().out
    assert main(["accept", "one"]) == 0
    assert "accepted: aaaaaaaa" in capsys.readouterr().out
    assert main(["draft", "one", "--only", "behind"]) == 0
    assert capsys.readouterr().out == ""
