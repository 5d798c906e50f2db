"""What the tools share that make a script for one of the book's interactive elements."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from metasgd._core.files import PACKAGE


def write_script(
    argv: Sequence[str] | None, tool: str, description: str | None, make: Callable[[], str], element: str, file: str
) -> None:
    """Write the script into a folder, and print where it is.

    Args:
        argv: the arguments of the command, among them ``--out FOLDER`` (None: those of this process).
        tool: the module in ``metasgd.tools`` that is run.
        description: what ``--help`` says of it.
        make: returns the script.
        element: the folder of the element's files in the checkout's ``book/_static``, which is the default.
        file: the name of the script.
    """
    parser = argparse.ArgumentParser(prog=f"python -m metasgd.tools.{tool}", description=description)
    parser.add_argument(
        "--out", type=Path, default=PACKAGE.parent / "book" / "_static" / element, metavar="FOLDER",
        help="the folder to write it into (default: that of the page in the checkout)",
    )  # fmt: skip
    target = parser.parse_args(argv).out / file
    target.write_text(make())
    print(target)
