"""A translated page takes outputs and addresses from the English one, and has captions and descriptions of its own."""

import json
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup
from sphinx.application import Sphinx

from metasgd.sphinx_extension.rerun import RECORD
from metasgd.sphinx_extension.translation import headings, plain
from tests.sphinx_extension.conftest import THEME

DRAW = """from pathlib import Path
from IPython.display import HTML, SVG, display
with open("runs.txt", "a") as file:
    file.write("x")
print("printed", len(Path("runs.txt").read_text()))
SVG('<svg xmlns="http://www.w3.org/2000/svg" width="10pt" height="10pt"></svg>')
"""
FIGURE = {
    "mystnb": {"figure": {"name": "fig-a", "caption": "A line."}, "image": {"alt": "One line."}},
    "tags": ["hide-input"],
}
CHINESE = {
    "fig-a.caption": {"text": "一条线，见{numref}`fig-a` 和 $x$。"},
    "fig-a.alt": {"text": "一条直线。"},
}


def notebook(first: str, **metadata: object) -> str:
    cells = [nbformat.v4.new_markdown_cell(first), nbformat.v4.new_code_cell(DRAW, metadata=FIGURE)]
    kernel = {"name": "python3", "display_name": "Python 3"}
    return nbformat.writes(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel, **metadata}))


ENGLISH_PAGE = "(ch-first)=\n# The first $x$\n\n## Alike\n\nA\n\n## Alike\n\nB\n\n```bash\n# none\n```"
CHINESE_PAGE = "(ch-first)=\n# 第一\n\n## 相同\n\n甲\n\n## 也相同\n\n乙\n\n```bash\n# none\n```"


def build(folder: Path, **settings: object) -> Path:
    (folder / "conf.py").write_text(
        f'extensions = ["sphinx.ext.autodoc", "myst_nb", "metasgd.sphinx_extension"]\n{THEME}'
    )
    settings = {
        "myst_enable_extensions": ["dollarmath", "colon_fence"],
        "nb_execution_mode": "cache",
        "numfig": True,
        "exclude_patterns": ["zh", "_build"],
    } | settings
    site = folder / "_build" / "html"
    Sphinx(folder, folder, site, folder / "_build" / "trees", "html", settings, status=None).build()
    return site


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A book of one notebook in both languages, built."""
    folder = tmp_path_factory.mktemp("book")
    (folder / "zh").mkdir()
    (folder / "first.ipynb").write_text(notebook(ENGLISH_PAGE), encoding="utf-8")
    (folder / "zh" / "first.ipynb").write_text(notebook(CHINESE_PAGE, metasgd={"figures": CHINESE}), encoding="utf-8")
    build(folder)
    build(folder / "zh", language="zh_CN", metasgd_original="..", html_title="书")
    return folder


@pytest.fixture(scope="module")
def pages(book: Path) -> list[BeautifulSoup]:
    paths = (book / "_build/html/first.html", book / "zh/_build/html/first.html")
    return [BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser") for path in paths]


def test_code_is_run_once_for_both_languages(book: Path, pages: list[BeautifulSoup]) -> None:
    """Every run writes a letter into a file beside the notebook."""
    assert (book / "runs.txt").read_text() == "x"
    assert not (book / "zh" / "runs.txt").exists()
    assert not (book / "zh" / "_build" / ".jupyter_cache").exists()
    for page in pages:
        assert "printed 1" in page.text


def test_edition_that_is_built_again_takes_what_the_other_has_run(book: Path) -> None:
    """And the record of what the notebooks of the English book ran with has all of them."""
    record = book / "_build" / ".jupyter_cache" / RECORD
    before = json.loads(record.read_text(encoding="utf-8"))
    assert before.keys() == {"first"}
    (book / "zh" / "first.ipynb").touch()
    build(book / "zh", language="zh_CN", metasgd_original="..", html_title="书")
    build(book)
    assert (book / "runs.txt").read_text() == "x"
    assert json.loads(record.read_text(encoding="utf-8")) == before


def test_caption_and_description_are_translated_and_the_caption_is_markdown(pages: list[BeautifulSoup]) -> None:
    english, chinese = (page.select_one("figure") for page in pages)
    assert "A line." in english.text
    assert english.select_one("img")["alt"] == "One line."
    assert "一条线，见" in chinese.select_one("figcaption").text
    assert chinese.select_one("figcaption a.reference")["href"] == "#fig-a"
    assert chinese.select_one("figcaption .math")
    assert chinese.select_one("img")["alt"] == "一条直线。"
    assert "A line." not in pages[1].text
    assert pages[1].text.count("一条线") == 1


def test_sections_have_the_same_addresses_none_by_a_number_of_docutils(pages: list[BeautifulSoup]) -> None:
    for page in pages:
        assert [section["id"] for section in page.select("section")] == ["the-first-x", "alike", "alike-2"]
        assert page.select_one("#ch-first")
        assert page.select_one('a[href="#alike-2"]')


def test_page_with_other_headings_keeps_its_own_addresses(tmp_path: Path) -> None:
    """A translation that lacks a section is built all the same; a test of the book names what is missing."""
    (tmp_path / "zh").mkdir()
    (tmp_path / "first.md").write_text("# First\n\n## Second\n", encoding="utf-8")
    (tmp_path / "zh" / "first.md").write_text("# Own\n", encoding="utf-8")
    site = build(tmp_path / "zh", language="zh_CN", metasgd_original="..", html_title="书")
    page = BeautifulSoup((site / "first.html").read_text(encoding="utf-8"), "html.parser")
    assert [section["id"] for section in page.select("section")] == ["own"]


def test_sections_of_an_included_file_have_their_own_addresses(tmp_path: Path) -> None:
    (tmp_path / "zh").mkdir()
    (tmp_path / "news.md").write_text("## News\n\n### 1.0\n", encoding="utf-8")
    (tmp_path / "first.md").write_text("# First\n\n```{include} news.md\n```\n", encoding="utf-8")
    (tmp_path / "zh" / "first.md").write_text("# 第一\n\n```{include} ../news.md\n```\n", encoding="utf-8")
    site = build(tmp_path / "zh", language="zh_CN", metasgd_original="..", html_title="书")
    page = BeautifulSoup((site / "first.html").read_text(encoding="utf-8"), "html.parser")
    assert [section["id"] for section in page.select("section")] == ["first", "news", "section"]


def test_headings_are_read_from_both_kinds_of_files(tmp_path: Path) -> None:
    (tmp_path / "a.ipynb").write_text(json.dumps(json.loads(notebook(ENGLISH_PAGE))), encoding="utf-8")
    (tmp_path / "a.md").write_text(ENGLISH_PAGE, encoding="utf-8")
    assert headings(tmp_path / "a.ipynb") == headings(tmp_path / "a.md") == ["The first $x$", "Alike", "Alike"]


def test_heading_is_plain_text() -> None:
    assert plain("The class `MetaSGD`, *twice*") == "The class MetaSGD, twice"
