"""A page as one text, which is edited in any editor, and read back into the notebook or Markdown file.

In it a line ``%%% NAME`` stands before the text of each block, with a word on how the block stands and the digest of
the English text; lines that begin with ``%%%|`` say what has changed in that. They are left out when it is read.
"""

import re
from dataclasses import replace

from metasgd.tools.translations.chinese import HAN, has_prose
from metasgd.tools.translations.history import changes
from metasgd.tools.translations.pages import Block, digest, pairs, write_page

MARK = re.compile(r"^%%% (\S+)(?: \w+)?(?: ([0-9a-f]{12}))?\s*\n", re.MULTILINE)


def state(english: Block, translated: Block | None) -> str:
    """Return how a block stands: "done", "behind" the English text, or "untranslated".

    A block without a word of prose, such as a list of references, needs no translation but its digest.
    """
    if translated is None or not translated.translates:
        return "untranslated"
    if translated.text.strip() == english.text.strip() and has_prose(english.text):
        return "untranslated"
    return "done" if translated.translates == digest(english.text) else "behind"


def draft(page: str, only: set[str] | None = None) -> str:
    """Return a page as a text to be edited, or of its blocks those in the given states."""
    parts = []
    for english, translated in pairs(page):
        now = state(english, translated)
        if only is None or now in only:
            lines = "".join(f"%%%| {line}\n" for line in changes(page, english, translated)) if now == "behind" else ""
            mark = f"%%% {english.name} {now} {digest(english.text)}\n"
            parts.append(f"{mark}{lines}{(translated or english).text.strip()}\n")
    return "\n".join(parts)


def read_draft(text: str) -> dict[str, Block]:
    """Return the blocks of a draft by their names, each with the digest in its line, or none."""
    text = re.sub(r"^%%%\|.*\n?", "", text, flags=re.MULTILINE)
    marks = list(MARK.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    return {
        mark[1]: Block(mark[1], text[mark.end() : end].strip(), mark[2] or "")
        for mark, end in zip(marks, ends, strict=True)
    }


def fill(page: str, text: str) -> list[str]:
    """Write the texts of a draft into the translation of a page, and return what is to be said of it.

    A text that is not the one that the page had before counts as a translation of the English text from which the
    draft was made. One that is the same keeps its digest, so that a block stays behind until it has been changed or
    accepted.

    Raises:
        SystemExit: the draft has a block that the English page does not have; nothing is written.
    """
    given, before = read_draft(text), pairs(page)
    unknown = given.keys() - {english.name for english, _ in before}
    if unknown:
        raise SystemExit(f"{page} has no {', '.join(sorted(unknown))}; make a new draft: the English page has changed")
    blocks, said = {}, []
    for english, translated in before:
        block = translated or english
        new = given.get(english.name)
        if new is not None and new.text != block.text.strip():
            block = replace(new, translates=new.translates or digest(english.text))
            if state(english, block) == "behind":
                said.append(f"{english.name}: behind, as the English text has changed since the draft was made")
        elif new is not None and state(english, block) == "behind":
            said.append(f"{english.name}: still behind, as its text is the same; accept it if that is right")
        blocks[english.name] = stamped_without_prose(english, block)
    write_page(page, blocks)
    return said


def stamped_without_prose(english: Block, block: Block) -> Block:
    """Return a block with the digest of the English text if that has nothing to translate."""
    if block.text.strip() == english.text.strip() and not has_prose(english.text):
        return replace(block, translates=digest(english.text))
    return block


def synchronise(page: str) -> None:
    """Write the translation of a page anew: code cells and new blocks of the English page, and what is translated."""
    blocks = {}
    for english, block in pairs(page):
        is_english = block is None or not (block.translates or re.search(f"[{HAN}]", block.text))
        blocks[english.name] = stamped_without_prose(english, english if block is None or is_english else block)
    write_page(page, blocks)


def accept(page: str, names: set[str]) -> list[str]:
    """Write the digests of the English text of now into the translated blocks of a page, and return their names.

    Args:
        page: as in the table of contents.
        names: of the blocks; all of the page if it is empty. A block that holds the English text is left as it is.
    """
    blocks, accepted = {}, []
    for english, translated in pairs(page):
        block = translated or english
        is_translated = block.text.strip() != english.text.strip() or not has_prose(english.text)
        if is_translated and (not names or english.name in names):
            if block.translates != digest(english.text):
                accepted.append(english.name)
            block = replace(block, translates=digest(english.text))
        blocks[english.name] = block
    write_page(page, blocks)
    return accepted
