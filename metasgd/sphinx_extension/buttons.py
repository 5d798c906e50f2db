"""Buttons of a page's header that lead where they should."""

from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

# The branch on which the book is written. The theme only knows the branch of the notebooks that Colab opens.
SOURCE_BRANCH = "main"


def connect(app: Sphinx) -> None:
    """Connect the functions of this module to Sphinx's events."""
    # The theme makes its buttons at priority 501.
    app.connect("html-page-context", correct_edit_button, priority=502)
    app.connect("html-page-context", leave_out_launch_button, priority=502)


def correct_edit_button(
    app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None
) -> None:
    """Let the button "Suggest edit" lead to the branch on which the book is written, and not to that of Colab."""
    buttons = [button for entry in context.get("header_buttons", []) for button in entry.get("buttons", [entry])]
    for button in buttons:
        if button.get("label") == "source-edit-button":
            branch = app.config.html_theme_options["repository_branch"]
            button["url"] = button["url"].replace(f"/edit/{branch}/", f"/edit/{SOURCE_BRANCH}/")


def leave_out_launch_button(
    app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None
) -> None:
    """Leave out the menu that opens a page in Colab where the page is a Markdown file, which Colab does not run."""
    if tree is None or app.env.doc2path(page).endswith(".ipynb"):
        return
    buttons = context.get("header_buttons", [])
    context["header_buttons"] = [button for button in buttons if button.get("label") != "launch-buttons"]
