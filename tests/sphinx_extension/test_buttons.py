"""Where the buttons of the header lead."""

from types import SimpleNamespace

import pytest

from metasgd.sphinx_extension.buttons import leave_out_launch_button


@pytest.mark.parametrize(
    ("file", "left"),
    [("book/03-formulas.ipynb", ["launch-buttons", "download-buttons"]), ("book/how-made.md", ["download-buttons"])],
)
def test_colab_is_offered_for_notebooks_alone(file: str, left: list[str]) -> None:
    """Colab opens a Markdown file as text."""
    app = SimpleNamespace(env=SimpleNamespace(doc2path=lambda page: file))
    context = {"header_buttons": [{"label": "launch-buttons"}, {"label": "download-buttons"}]}
    leave_out_launch_button(app, "page", "page.html", context, object())
    assert [button["label"] for button in context["header_buttons"]] == left
