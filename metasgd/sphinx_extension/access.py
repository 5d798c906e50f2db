"""What programs that read a page aloud need, and what the theme and its companions leave open."""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

MENDED = {
    # An entry of a bibliography is an item of a list; the role that docutils gives it is no longer in use.
    ' role="doc-biblioentry"': ' role="listitem"',
    ' role="doc-backlink"': "",
    # The words on a folded box are its name, not others that nobody sees.
    '<summary aria-label="Toggle hidden content">': "<summary>",
}
# A corner of a table that says nothing is no header of anything.
EMPTY_HEADER = re.compile(r"<th((?: [\w-]+=\"[^\"]*\")*)>\s*(?:<p>\s*</p>)?\s*</th>")

# The parameters of a long signature: Sphinx makes them a list of definitions that has no terms.
PARAMETERS = re.compile(r"<dl>\s*((?:<dd>(?:(?!</?d[dl]>).)*</dd>\s*)+)</dl>", re.DOTALL)


def connect(app: Sphinx) -> None:
    """Connect the functions of this module to Sphinx's events."""
    app.connect("html-page-context", mend_body)


def mend_body(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None) -> None:
    """Mend the roles, names and headers in the text of a page."""
    if "body" in context:
        context["body"] = mended(context["body"])


def mended(body: str) -> str:
    """Return the text of a page, mended."""
    for wrong, right in MENDED.items():
        body = body.replace(wrong, right)
    body = PARAMETERS.sub(as_list, body)
    return EMPTY_HEADER.sub(lambda found: "<td" + found[1].replace(' scope="col"', "") + "></td>", body)


def as_list(found: re.Match[str]) -> str:
    """Return the parameters of a signature as a plain list, one in each line by the style sheet."""
    items = found[1].replace("<dd>", '<span class="sig-line" role="listitem">').replace("</dd>", "</span>")
    return f'<span role="list">{items}</span>'
