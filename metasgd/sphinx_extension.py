"""A Sphinx extension for the book (see ``_config.yml``).

Docstrings and chapters link to each other, and every page says to search engines and messengers what it is about.
"""

import html
import re
import textwrap
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

CARD = "_static/headline.png"  # the picture of a link to the book
SOURCE_BRANCH = "main"  # where the book is written; the theme knows only the branch of the stamped notebooks
ALONE = "adapt/"  # in _static: loaded by the one page that needs it
CHAPTER = re.compile(r"\bchapters? \d+(?:(?:, | and )\d+)*")


def setup(app: Sphinx) -> dict[str, Any]:
    """Register what this module does."""
    app.connect("config-inited", leave_to_its_chapter)
    app.connect("autodoc-skip-member", leave_out_fields)
    app.connect("autodoc-process-docstring", link_chapters)
    app.connect("doctree-resolved", link_names)
    app.connect("html-page-context", describe)
    app.connect("html-page-context", edit_the_source, priority=502)  # right after the theme has made its buttons
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def leave_to_its_chapter(app: Sphinx, config: Any) -> None:
    """Take the scripts of chapter 14's page off all pages, to which Jupyter Book adds whatever lies in ``_static``."""
    for name in ("html_js_files", "html_css_files"):
        files = [file for file in config[name] if not str(file).startswith(ALONE)]
        setattr(config, name, files)


def leave_out_fields(app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    """Leave out the fields of a named tuple, which its signature lists, and of which Python says but their number."""
    return True if str(thing.__doc__).startswith("Alias for field number") else None


def link_chapters(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Make the numbers in "(chapters 9 and 10)" of a docstring links to these pages, those that there are."""
    pages = {int(path.name[:2]): path.stem for path in Path(app.srcdir).glob("[0-9][0-9]-*.ipynb")}

    def link(number: re.Match[str]) -> str:
        page = pages.get(int(number[0]))
        return f":doc:`{number[0]} </{page}>`" if page else number[0]

    lines[:] = [CHAPTER.sub(lambda phrase: re.sub(r"\d+", link, phrase[0]), line) for line in lines]


def link_names(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Make a public name that a chapter writes in code type, as in `EpisodeSampler`, a link to its documentation."""
    if page == "api":
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


def describe(app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None) -> None:
    """Give a page a description, its first paragraph, and what a messenger shows of a link to it.

    The picture needs a full address, so it is there only where ``html_baseurl`` is set.
    """
    if tree is None:  # the index, the search
        return
    paragraph = next((node.astext() for node in tree.findall(nodes.paragraph) if node.astext().strip()), "")
    summary = textwrap.shorten(re.sub(r" ?\[\d+\]|[\\${}]", "", paragraph), 200, placeholder=" ...")
    properties = {"og:type": "article", "og:title": re.sub("<[^>]*>", "", context["title"]), "og:description": summary}
    if app.config.html_baseurl:
        base = app.config.html_baseurl.rstrip("/") + "/"
        properties |= {"og:url": base + app.builder.get_target_uri(page), "og:image": base + CARD}
    tags = [f'<meta name="description" content="{html.escape(summary)}" />']
    tags += [f'<meta property="{name}" content="{html.escape(value)}" />' for name, value in properties.items()]
    context["metatags"] = context.get("metatags", "") + "\n".join(tags)


def edit_the_source(
    app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None
) -> None:
    """Let the button "Suggest edit" lead to the branch where the book is written, not to the one that Colab opens."""
    buttons = [button for entry in context.get("header_buttons", []) for button in entry.get("buttons", [entry])]
    for button in buttons:
        if button.get("label") == "source-edit-button":
            branch = app.config.html_theme_options["repository_branch"]
            button["url"] = button["url"].replace(f"/edit/{branch}/", f"/edit/{SOURCE_BRANCH}/")
