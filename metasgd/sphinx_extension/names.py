"""Docstrings link to the chapters that they name, and chapters to the documentation of the names in their text."""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

CHAPTER_NUMBERS = re.compile(r"\bchapters? \d+(?:(?:, | and )\d+)*")


def connect(app: Sphinx) -> None:
    """Connect the functions of this module to Sphinx's events."""
    app.connect("autodoc-skip-member", leave_out_tuple_fields)
    app.connect("autodoc-process-docstring", link_chapter_numbers)
    app.connect("doctree-resolved", link_documented_names)


def leave_out_tuple_fields(app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of a named tuple if their documentation is Python's own, which only gives their number.

    Returns:
        True to leave the member out, None to let Sphinx decide.
    """
    return True if str(thing.__doc__).startswith("Alias for field number") else None


def link_chapter_numbers(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Turn the numbers in phrases such as "chapters 9 and 10" of a docstring into links to these chapters.

    A number of which there is no chapter stays as it is. ``lines`` is changed in place.
    """
    pages = {int(path.name[:2]): path.stem for path in Path(app.srcdir).glob("[0-9][0-9]-*.ipynb")}

    def link(number: re.Match[str]) -> str:
        page = pages.get(int(number[0]))
        return f":doc:`{number[0]} </{page}>`" if page else number[0]

    lines[:] = [CHAPTER_NUMBERS.sub(lambda phrase: re.sub(r"\d+", link, phrase[0]), line) for line in lines]


def link_documented_names(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Turn a documented name that a page writes as code, as in `EpisodeSampler`, into a link to its documentation.

    The name may be the full one or its last part, and may end with ``()``. The pages of the reference itself are
    left as they are.
    """
    if page in ("api", "internals"):
        return
    documented = {}
    for full_name, entry in app.env.domaindata["py"]["objects"].items():
        if entry.objtype in ("class", "function") and not entry.aliased:
            documented[full_name.rpartition(".")[2]] = documented[full_name] = (full_name, entry)
    for literal in list(tree.findall(nodes.literal)):
        name = literal.astext().removesuffix("()")
        if name in documented and not isinstance(literal.parent, nodes.reference):
            full_name, entry = documented[name]
            address = app.builder.get_relative_uri(page, entry.docname) + "#" + entry.node_id
            link = nodes.reference("", "", internal=True, refuri=address, reftitle=full_name)
            literal.replace_self(link)
            link += literal
