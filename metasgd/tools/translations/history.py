"""What the English text of a block was when it was translated, from the repository's history."""

import difflib
import json
import subprocess
import textwrap
from functools import cache

from metasgd.tools.translations.pages import Block, digest, english_path, notebook_blocks, sections

LONGEST_LINE = 110


def changes(page: str, english: Block, translated: Block | None) -> list[str]:
    """Return the lines of a block's English text that have changed since it was translated, or all lines as new ones.

    Lines begin with "-" where they have gone, "+" where they are new, and a space where they stay; long ones are
    broken.
    """
    old = earlier_text(page, english.name, translated.translates) if translated and translated.translates else None
    before = broken(old) if old is not None else []
    note = [] if old is not None or not (translated and translated.translates) else ["(the old text was not found)"]
    return note + [
        line for line in difflib.ndiff(before, broken(english.text)) if not line.startswith("?") and line.strip()
    ]


def broken(text: str) -> list[str]:
    """Return the lines of a text, sentences in lines of their own, so that a change shows where it is."""
    lines = []
    for line in text.splitlines():
        for sentence in line.replace(". ", ".\n").split("\n"):
            lines += textwrap.wrap(sentence, LONGEST_LINE, break_long_words=False, break_on_hyphens=False) or [""]
    return lines


def earlier_text(page: str, name: str, wanted: str) -> str | None:
    """Return the English text of a block that has a digest, None where the history has none."""
    for commit in commits(page):
        for block in blocks_of(page, commit):
            if block.name == name and digest(block.text) == wanted:
                return block.text
    return None


@cache
def commits(page: str) -> list[str]:
    """Return the commits that changed an English page, the newest first; none outside a clone."""
    path = english_path(page)
    return run_git(path.name, "log", "--format=%H", "--", path.name).split()


@cache
def blocks_of(page: str, commit: str) -> list[Block]:
    """Return the blocks of an English page in a commit."""
    path = english_path(page)
    text = run_git(path.name, "show", f"{commit}:./{path.name}")
    if not text:
        return []
    return sections(text) if path.suffix == ".md" else notebook_blocks(json.loads(text))


def run_git(name: str, *arguments: str) -> str:
    """Return what Git prints in the folder of an English page, nothing where there is no Git."""
    folder = english_path(name).parent
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=False)
    except OSError:
        return ""
    return done.stdout.decode("utf-8") if done.returncode == 0 else ""
