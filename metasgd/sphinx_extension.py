"""A Sphinx extension for the book's website, switched on in ``_config.yml``.

Docstrings link to the chapters that they name, and chapters to the documentation of the names in their text. Each page
has a description for search engines, and for messengers that show a preview of a link.
"""

import html
import re
import textwrap
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

PREVIEW_IMAGE = "_static/headline.png"  # shown in the preview of a link to the book
# The branch on which the book is written. The theme only knows the branch of the notebooks that Colab opens.
SOURCE_BRANCH = "main"
CHAPTER_14_FOLDER = "adapt/"  # in _static; chapter 14 loads the scripts in it by itself
CHAPTER_NUMBERS = re.compile(r"\bchapters? \d+(?:(?:, | and )\d+)*")


def setup(app: Sphinx) -> dict[str, Any]:
    """Connect the functions of this module to Sphinx's events, and tell Sphinx that they may run in parallel."""
    app.connect("config-inited", leave_out_chapter_14_scripts)
    app.connect("autodoc-skip-member", leave_out_tuple_fields)
    app.connect("autodoc-process-docstring", link_chapter_numbers)
    app.connect("doctree-resolved", link_documented_names)
    app.connect("html-page-context", add_description)
    # The theme makes its buttons at priority 501.
    app.connect("html-page-context", correct_edit_button, priority=502)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def leave_out_chapter_14_scripts(app: Sphinx, config: Any) -> None:
    """Remove the scripts and styles of chapter 14 from the list for all pages.

    Jupyter Book adds every script and style in ``_static`` to all pages.
    """
    for name in ("html_js_files", "html_css_files"):
        files = [file for file in config[name] if not str(file).startswith(CHAPTER_14_FOLDER)]
        setattr(config, name, files)


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


def add_description(
    app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None
) -> None:
    """Add tags to a page with its description, the beginning of its first paragraph, for search engines and previews.

    A preview image needs a full address, so there is one only if ``html_baseurl`` is set.
    """
    if tree is None:  # a page without a source, such as the index or the search
        return
    paragraph = next((node.astext() for node in tree.findall(nodes.paragraph) if node.astext().strip()), "")
    summary = textwrap.shorten(re.sub(r" ?\[\d+\]|[\\${}]", "", paragraph), 200, placeholder=" ...")
    properties = {"og:type": "article", "og:title": re.sub("<[^>]*>", "", context["title"]), "og:description": summary}
    if app.config.html_baseurl:
        base = app.config.html_baseurl.rstrip("/") + "/"
        properties |= {"og:url": base + app.builder.get_target_uri(page), "og:image": base + PREVIEW_IMAGE}
    tags = [f'<meta name="description" content="{html.escape(summary)}" />']
    tags += [f'<meta property="{name}" content="{html.escape(value)}" />' for name, value in properties.items()]
    context["metatags"] = context.get("metatags", "") + "\n".join(tags)


def correct_edit_button(
    app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None
) -> None:
    """Let the button "Suggest edit" lead to the branch on which the book is written, and not to that of Colab."""
    buttons = [button for entry in context.get("header_buttons", []) for button in entry.get("buttons", [entry])]
    for button in buttons:
        if button.get("label") == "source-edit-button":
            branch = app.config.html_theme_options["repository_branch"]
            button["url"] = button["url"].replace(f"/edit/{branch}/", f"/edit/{SOURCE_BRANCH}/")
