"""A page of the book as blocks: the Markdown cells and figures of a notebook, or the sections of a Markdown file."""

import copy
import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from metasgd.experiments.how_made import book_folder

LANGUAGE = "zh"  # and the folder of the translation, in that of the book
KEY = "metasgd"  # of a notebook's metadata: the translated captions and descriptions
STAMP = re.compile(r"^(?:%|<!--) translates: (\S+)(?: ([0-9a-f]{12}))?(?: -->)?\n+", re.MULTILINE)
README, README_ENDING = "README", ".zh-CN.md"  # at the top of the repository, read on its website: comments of HTML
FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n+", re.DOTALL)
FENCE = re.compile(r"^\s*(`{3,}|~{3,}|:{3,})(.*)$")
HEADING = re.compile(r"^(#{1,6}) +(.*)$")
FIGURE_TEXTS = {"caption": ("mystnb", "figure", "caption"), "alt": ("mystnb", "image", "alt")}


@dataclass(frozen=True)
class Block:
    """A part of a page that is translated by itself.

    Attributes:
        name: the id of a cell, the name of a figure with ".caption" or ".alt", or an English heading in lower case
            with hyphens.
        text: Markdown.
        translates: the digest of the English text when it was translated, or "" where it has not been.
    """

    name: str
    text: str
    translates: str = ""


def digest(text: str) -> str:
    """Return the first 12 hexadecimal digits of the SHA-256 digest of a text, without spaces around it."""
    return hashlib.sha256(text.strip().encode()).hexdigest()[:12]


def english_path(page: str) -> Path:
    """Return the path of an English page.

    Raises:
        SystemExit: the book has no such page.
    """
    folder = book_folder()
    if page.removesuffix(".md") == README:
        return folder.parent / f"{README}.md"
    for ending in (".ipynb", ".md"):
        if (path := folder / f"{page.removesuffix(ending)}{ending}").is_file():
            return path
    raise SystemExit(f"there is no page {page} in {folder}; name it as in _toc.yml, such as 03-formulas")


def translated_path(page: str) -> Path:
    """Return the path of the translation of a page, whether or not it is there."""
    original = english_path(page)
    if original.stem == README:
        return original.with_name(f"{README}{README_ENDING}")
    return original.parent / LANGUAGE / original.name


def all_pages() -> list[str]:
    """Return the names of all pages of the English book, and README, where it is."""
    folder = book_folder()
    pages = sorted(path.stem for pattern in ("*.ipynb", "*.md") for path in folder.glob(pattern))
    return pages + ([README] if english_path(README).is_file() else [])


def read_blocks(path: Path) -> list[Block]:
    """Return the blocks of a page in their order: of an English one without digests.

    Captions and descriptions stand where the figure does.
    """
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md":
        is_translation = path.parent == book_folder() / LANGUAGE or path.name.endswith(README_ENDING)
        return stamped_sections(text) if is_translation else sections(text)
    return notebook_blocks(json.loads(text))


def notebook_blocks(notebook: dict[str, Any]) -> list[Block]:
    """Return the Markdown cells, captions and descriptions of a notebook."""
    found, translated = [], notebook["metadata"].get(KEY, {}).get("figures")
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            found.append(Block(cell["id"], "".join(cell["source"]), cell["metadata"].get("translates", "")))
            continue
        for name, english in figure_texts(cell):
            if translated is None:
                found.append(Block(name, english))
            elif name in translated:
                found.append(Block(name, translated[name]["text"], translated[name].get("translates", "")))
    return found


def figure_texts(cell: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the names and texts of the caption and the description in a code cell's metadata."""
    figure = cell["metadata"].get("mystnb", {}).get("figure", {}).get("name")
    for kind, keys in FIGURE_TEXTS.items():
        text: Any = cell["metadata"]
        for key in keys:
            text = text.get(key, {})
        if figure and text:
            yield f"{figure}.{kind}", text


def sections(text: str) -> list[Block]:
    """Return the sections of an English Markdown file: each begins at its heading, or at the label before that."""
    lines = text.splitlines(keepends=True)
    starts: list[int] = []
    names: list[str] = []
    fence = ""
    for number, line in enumerate(lines):
        if found := FENCE.match(line):
            if not fence:
                fence = found[1]
            elif not found[2].strip() and found[1].startswith(fence):
                fence = ""
        elif not fence and (heading := HEADING.match(line)):
            start = number
            while start and re.match(r"\([\w-]+\)=$|$", lines[start - 1]):
                start -= 1
            starts.append(start if starts else 0)
            name = re.sub(r"[^a-z0-9]+", "-", heading[2].lower()).strip("-") or "untitled"
            names.append(name if name not in names else f"{name}-{names.count(name) + 1}")
    pieces = ["".join(lines[start:end]) for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]
    return [Block(name, piece.strip("\n")) for name, piece in zip(names, pieces, strict=True)]


def stamped_sections(text: str) -> list[Block]:
    """Return the sections of a translated Markdown file: each stands after a line with its name and digest."""
    front = match[0] if (match := FRONT_MATTER.match(text)) else ""
    marks = list(STAMP.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)]
    found = [
        Block(mark[1], text[mark.end() : end].strip("\n"), mark[2] or "")
        for mark, end in zip(marks, ends, strict=True)
    ]
    return [replace(found[0], text=front + found[0].text), *found[1:]] if found else []


def pairs(page: str) -> list[tuple[Block, Block | None]]:
    """Return every English block of a page with its translation, None where there is none."""
    path = translated_path(page)
    translated = {block.name: block for block in read_blocks(path)} if path.is_file() else {}
    return [(block, translated.get(block.name)) for block in read_blocks(english_path(page))]


def write_page(page: str, blocks: dict[str, Block]) -> Path:
    """Write the translation of a page with all that the English one has, and these blocks, by name, in their places.

    A block without a translation holds the English text, and no digest. Code cells are the English ones.

    Returns:
        The path of the translation.
    """
    original, path = english_path(page), translated_path(page)
    english = read_blocks(original)
    kept = [blocks.get(block.name, replace(block, translates="")) for block in english]
    path.parent.mkdir(exist_ok=True)
    if original.suffix == ".md":
        path.write_text(stamped(kept, *("<!-- ", " -->") if page == README else ("% ", "")), encoding="utf-8")
        return path
    notebook = copy.deepcopy(json.loads(original.read_text(encoding="utf-8")))
    by_name = {block.name: block for block in kept}
    figures = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "markdown":
            block = by_name[cell["id"]]
            cell["source"] = block.text.splitlines(keepends=True)
            cell["metadata"] = cell["metadata"] | ({"translates": block.translates} if block.translates else {})
        for name, _ in figure_texts(cell):
            block = by_name[name]
            figures[name] = {"text": block.text} | ({"translates": block.translates} if block.translates else {})
    notebook["metadata"] = dict(sorted((notebook["metadata"] | {KEY: {"figures": figures}}).items()))
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def stamped(blocks: list[Block], opening: str, closing: str) -> str:
    """Return a translated Markdown file, in which comments have these marks around them."""
    pieces = []
    for block in blocks:
        front = match[0] if (match := FRONT_MATTER.match(block.text)) else ""
        stamp = f"{opening}translates: {block.name} {block.translates}".rstrip() + closing
        pieces.append(f"{front}{stamp}\n\n{block.text.removeprefix(front)}")
    return "\n\n".join(pieces) + "\n"


def code_differences(page: str) -> list[str]:
    """Name what a translated notebook has otherwise than the English one: its cells, their code and their order."""
    original, path = english_path(page), translated_path(page)
    if original.suffix == ".md":
        names = [block.name for block in read_blocks(original)], [block.name for block in read_blocks(path)]
        return [] if names[0] == names[1] else [f"the sections are other ones: {names[1]} instead of {names[0]}"]
    cells = [json.loads(one.read_text(encoding="utf-8"))["cells"] for one in (original, path)]
    ids = [[cell["id"] for cell in part] for part in cells]
    found = [f"cell {name} is missing" for name in ids[0] if name not in ids[1]]
    found += [f"cell {name} is not in the English notebook" for name in ids[1] if name not in ids[0]]
    if not found and ids[0] != ids[1]:
        found.append("the cells stand in another order")
    translated = {cell["id"]: cell for cell in cells[1]}
    for cell in cells[0]:
        other = translated.get(cell["id"])
        if cell["cell_type"] == "code" and other is not None and other != cell:
            found.append(f"code cell {cell['id']} is not that of the English notebook")
    return found
