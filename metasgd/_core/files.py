"""Files: where those of the book are, and how one is replaced without ever being half there."""

import json
import os
from pathlib import Path
from typing import Any

PACKAGE = Path(__file__).resolve().parents[1]
# Where the files of the book lie in a checkout, and where the wheel has them, by kind.
FOLDERS = {
    "results": (PACKAGE.parent / "book" / "results", PACKAGE / "assets" / "results"),
    "adapt": (PACKAGE.parent / "book" / "_static" / "adapt", PACKAGE / "assets" / "adapt"),
}


def find_file(kind: str, name: str) -> Path | None:
    """Return a file of the book, from the checkout or else as shipped in the package (None: there is none).

    Args:
        kind: ``"results"`` or ``"adapt"``, the page of chapter 14.
        name: of the file.
    """
    return next((folder / name for folder in FOLDERS[kind] if (folder / name).is_file()), None)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a JSON file in one atomic step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(content, indent=1) + "\n")
    os.replace(partial, path)
