"""Files: where those of the book are found, and how a JSON file is written."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
# Where the files of the book lie, by kind: in a checkout, and in an installed package.
FOLDERS = {
    "results": (PACKAGE.parent / "book" / "results", PACKAGE / "assets" / "results"),
    "adapt": (PACKAGE.parent / "book" / "_static" / "adapt", PACKAGE / "assets" / "adapt"),
}
LINE = 200  # characters, beyond which an object is spread over several lines


def find_file(kind: str, name: str) -> Path | None:
    """Return a file of the book: from the checkout, or else as shipped in the package (None: there is none).

    Args:
        kind: ``"results"``, or ``"adapt"`` for the page of chapter 14.
        name: name of the file.
    """
    return next((folder / name for folder in FOLDERS[kind] if (folder / name).is_file()), None)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file so that nobody ever reads half of it: to a neighbour first, which then takes its place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(to_json(content) + "\n", encoding="utf-8")
    os.replace(partial, path)


def to_json(content: Any, indent: int = 0) -> str:
    """Return JSON for people to read: lists of plain values, and small objects of them, stand on one line.

    Args:
        content: what ``json.dumps`` takes.
        indent: spaces before the line on which the text begins.

    >>> print(to_json({"loss": [0.5, 0.25], "score": {"mean": 0.9, "tasks": 600}}))
    {
     "loss": [0.5, 0.25],
     "score": {"mean": 0.9, "tasks": 600}
    }
    """
    text = json.dumps(content)
    if not isinstance(content, dict | list | tuple) or not content:
        return text
    values = content.values() if isinstance(content, dict) else content
    is_plain = not any(isinstance(value, dict | list | tuple) for value in values)
    if is_plain and (not isinstance(content, dict) or indent + len(text) <= LINE) and indent:
        return text
    lines = [to_json(value, indent + 1) for value in values]
    if isinstance(content, dict):
        lines = [f"{json.dumps(key)}: {line}" for key, line in zip(content, lines, strict=True)]
    start, end = "{}" if isinstance(content, dict) else "[]"
    return "\n".join([start, ",\n".join(" " * (indent + 1) + line for line in lines), " " * indent + end])
