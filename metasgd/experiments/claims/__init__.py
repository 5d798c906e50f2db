"""What the chapters claim, and how well it is shown: one file a chapter, and the table that opens it.

``show_claims(6)`` is the table of chapter 6. Its claims are made by ``claims()`` in ``chapter06.py``, from the results
files; their verdicts, too.
"""

import importlib
import pkgutil
from collections.abc import Iterator

from metasgd.experiments.claims.claim import Claim, ClaimsTable, Effect, over, paired

__all__ = ["Claim", "ClaimsTable", "Effect", "chapters", "claims_of", "over", "paired", "show_claims"]


def chapters() -> list[int]:
    """Return the numbers of the chapters that have a table of claims."""
    return sorted(_numbers())


def claims_of(chapter: int) -> list[Claim]:
    """Return the claims of a chapter, in the order of its table.

    Args:
        chapter: its number.

    Raises:
        LookupError: it has none; the error names the chapters that have.
    """
    if chapter not in (known := chapters()):
        there_are = ", ".join(map(str, known)) or "none"
        raise LookupError(f"chapter {chapter} has no table of claims; chapters that have one: {there_are}")
    found: list[Claim] = importlib.import_module(f"{__name__}.chapter{chapter:02}").claims()
    return found


def show_claims(chapter: int) -> ClaimsTable:
    """Return the table of a chapter's claims, which a notebook shows (chapter 8).

    Args:
        chapter: its number.

    Raises:
        LookupError: it has none; the error names the chapters that have.
    """
    return ClaimsTable(claims_of(chapter))


def _numbers() -> Iterator[int]:
    for module in pkgutil.iter_modules(__path__):
        number = module.name.removeprefix("chapter")
        if number != module.name and number.isdigit():
            yield int(number)
