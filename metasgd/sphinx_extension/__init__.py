"""A Sphinx extension for the book's website, switched on in ``_config.yml``.

| module | what it adds to the pages |
|---|---|
| ``names`` | links from docstrings to chapters, and from chapters to documented names |
| ``buttons`` | buttons of the header that lead where they should |
| ``sharing`` | what search engines, messengers and visitors with a wrong address see |
| ``reading`` | what stands at the head and at the foot of a chapter: time, difficulty, versions |
| ``typography`` | formulas that keep their full stop, the language of Chinese passages, what a folded box holds |
| ``access`` | what programs that read a page aloud need |
| ``rerun`` | notebooks are run again when the code that they use has changed |
| ``side_by_side`` | notebooks are run two at a time |
| ``words`` | what the extension itself says, in the language of the book |
| ``chinese`` | search and lines of a book in Chinese |
| ``translation`` | captions, descriptions and addresses of a translated page |
| ``editions`` | the English book and its translation on one site, and a switch between them |
| ``weight`` | small pages: pictures that load when they come near, the few icons in use, the part of MathJax in use |
"""

from typing import Any

from sphinx.application import Sphinx

from metasgd.sphinx_extension import (
    access,
    buttons,
    chinese,
    editions,
    names,
    reading,
    rerun,
    sharing,
    side_by_side,
    translation,
    typography,
    weight,
)

PARTS = (
    translation,
    names,
    buttons,
    typography,
    reading,
    sharing,
    access,
    weight,
    rerun,
    side_by_side,
    chinese,
    editions,
)


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect all parts to Sphinx's events, and tell Sphinx that they may run in parallel.

    ``env_version`` is raised by whoever changes what is done with a page when it is read, so that all are read again.
    """
    for part in PARTS:
        part.connect(app)
    return {"parallel_read_safe": True, "parallel_write_safe": True, "env_version": 2}
