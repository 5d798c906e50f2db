"""Formulas that keep their marks, the language of passages, and what folded boxes hold."""

import nbformat
from bs4 import BeautifulSoup

from metasgd.sphinx_extension.typography import marked

TEXT = """# 学习 to learn

One ($x$, or $y$) and $z$. Then $w$ and **$v$**.

任务是元学习的基本单位 Task，每个任务有支持集。

A *task* (任务) and `代码`.
"""


def page_of(build, text: str = TEXT) -> BeautifulSoup:
    return BeautifulSoup((build({"first.md": text}) / "first.html").read_text(encoding="utf-8"), "html.parser")


def test_formula_stays_with_the_bracket_before_it_and_the_mark_after_it(build) -> None:
    boxes = [box.text for box in page_of(build).select("span.together")]
    assert boxes == [r"(\(x\),", r"\(y\))", r"\(z\)."]


def test_text_is_as_it_was(build) -> None:
    text = page_of(build).find("article").find("p").text
    assert text == r"One (\(x\), or \(y\)) and \(z\). Then \(w\) and \(v\)."


def test_chinese_passages_say_that_they_are(build) -> None:
    """A Chinese paragraph as a whole, a passage in another by itself, and code not at all."""
    article = page_of(build).find("article")
    assert [tag.text for tag in article.select('[lang="zh-Hans"]')] == [
        "学习",
        "任务是元学习的基本单位 Task，每个任务有支持集。",
        "任务",
    ]
    assert article.select('p[lang="zh-Hans"]')


def test_passage_may_hold_a_foreign_word() -> None:
    pieces = marked("see 小样本 N-way 学习 and more")
    assert [str(piece.astext()) for piece in pieces] == ["see ", "小样本 N-way 学习", " and more"]


def test_folded_box_says_what_it_holds(build, tmp_path) -> None:
    figure = {"figure": {"name": "fig-one", "caption": "One."}}
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        nbformat.v4.new_markdown_cell("# First"),
        nbformat.v4.new_code_cell("1", metadata={"tags": ["hide-input", "set-up"]}),
        nbformat.v4.new_code_cell("2", metadata={"tags": ["hide-input"], "mystnb": figure}),
        nbformat.v4.new_code_cell("3", metadata={"tags": ["hide-cell"]}),
        nbformat.v4.new_markdown_cell("## Exercises"),
        nbformat.v4.new_code_cell("4", metadata={"tags": ["hide-cell"]}),
        nbformat.v4.new_code_cell("5", metadata={"tags": ["hide-input"]}),
    ]
    site = build({"first.ipynb": nbformat.writes(notebook)})
    page = BeautifulSoup((site / "first.html").read_text(encoding="utf-8"), "html.parser")
    assert [prompt.text for prompt in page.select("summary .collapsed")] == [
        "Show the set-up of this page",
        "Show the code of this figure",
        "Show the code and what it prints",
        "Show the solution",
        "Show the code",
    ]
    assert "Hide the solution" in [prompt.text for prompt in page.select("summary .expanded")]
