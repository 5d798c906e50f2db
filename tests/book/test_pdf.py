"""The PDF of the book: three small pages joined and printed, and the whole book where it has been built.

What needs a browser is skipped where no Chromium is installed, and the whole book where it has not been built.
"""

import importlib.util
import io
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from bs4 import BeautifulSoup

from metasgd.tools.measure_browser_page import BROWSER
from tests.book.notebooks import BOOK, CHAPTERS, PAGES, ROOT, TOC

pikepdf = pytest.importorskip("pikepdf", reason="pikepdf is not installed")

from tests.book.reading_pdf import CUT, Drawn, bookmarks, drawn, empty_boxes, links, share_of_full_lines  # noqa: E402

TOOL = ROOT / ".ci" / "make_pdf.py"
SITE = BOOK / "_build" / "html"
MEGABYTES_AT_MOST = 10
SMALL_TOC = {"root": "first", "parts": [{"caption": "I. Part", "chapters": [{"file": "one"}, {"file": "two & more"}]}]}
SMALL_PAGES = {
    "first": """<section id="start"><h1>Book: a small one<a class="headerlink" href="#start">#</a></h1>
        <p>See <a id="out" href="one.html#goal">chapter one</a>, <a id="whole" href="two%20%26%20more.html">two</a>,
        <a id="own" href="#start">here</a>, <a id="far" href="https://example.org/x">elsewhere</a>
        and <a id="left" href="api.html#name">the reference</a>.</p></section>""",
    "one": """<section id="start"><h1>1. One</h1><script>late()</script><label for="goal">label</label>
        <div style="height: 290mm">a high box</div>
        <section id="second"><h2>1.1. Second</h2><p id="goal">THE GOAL</p>
        <details class="admonition"><summary>Solution</summary><p>inside the fold</p></details>
        <details class="admonition hide"><summary><p>Show code</p></summary><pre>code()</pre></details>
        <div class="cell tag_set-up">pip install</div></section></section>""",
    "two & more": """<section id="start"><h1>2. "Two"</h1><p>back to <a id="back" href="one.html#goal">the goal</a></p>
        </section>""",
}


def load_tool():
    """Import the script, which lies in no package."""
    spec = importlib.util.spec_from_file_location("make_pdf", TOOL)
    module = importlib.util.module_from_spec(spec)
    sys.modules["make_pdf"] = module  # where its records look up their annotations
    spec.loader.exec_module(module)
    return module


make_pdf = load_tool()


def small_site(folder: Path, head: str = "") -> Path:
    """Write the three small pages."""
    for name, body in SMALL_PAGES.items():
        page = f"<html><head>{head}</head><body><article class='bd-article'>{body}</article></body></html>"
        (folder / f"{name}.html").write_text(page, encoding="utf-8")
    return folder


@pytest.fixture
def joined(tmp_path: Path):
    return make_pdf.join_pages(small_site(tmp_path), SMALL_TOC, "<p>cover</p>")


@pytest.fixture
def page(joined) -> BeautifulSoup:
    return BeautifulSoup(joined.with_pages({}), "html.parser")


def test_every_id_stands_once_and_every_link_inside_leads_to_one(page: BeautifulSoup) -> None:
    ids = [tag["id"] for tag in page.find_all(id=True)]
    assert len(ids) == len(set(ids))
    inside = [a["href"][1:] for a in page.find_all("a", href=True) if a["href"].startswith("#")]
    assert set(inside) <= set(ids)
    assert page.find("label")["for"] == "one--goal"


@pytest.mark.parametrize(
    ("link", "goal"),
    [
        ("first--out", "#one--goal"),
        ("first--whole", "#two & more"),
        ("first--own", "#first--start"),
        ("first--far", "https://example.org/x"),
        ("first--left", None),
        ("two & more--back", "#one--goal"),
    ],
)
def test_link_leads_to_its_goal_in_the_joined_page(page: BeautifulSoup, link: str, goal: str | None) -> None:
    """The one to a page that is left out is plain text."""
    assert page.find(id=link).get("href") == goal


def test_link_to_a_page_that_is_left_out_leads_to_the_website_if_there_is_one(tmp_path: Path) -> None:
    head = '<link rel="canonical" href="https://someone.github.io/book/first.html">'
    joined = make_pdf.join_pages(small_site(tmp_path, head), SMALL_TOC, "")
    link = BeautifulSoup(joined.html, "html.parser").find(id="first--left")
    assert link["href"] == "https://someone.github.io/book/api.html#name"


def test_folds_are_open_and_what_is_of_no_use_on_paper_is_gone(page: BeautifulSoup) -> None:
    assert not page.select("details, summary, script, .headerlink, .tag_set-up")
    assert [tag.get_text() for tag in page.select(".opened-title")] == ["Solution"]
    assert "inside the fold" in page.get_text()
    assert "code()" in page.get_text()
    assert "Show code" not in page.get_text()


def test_contents_list_parts_chapters_and_sections_with_their_pages(joined) -> None:
    assert [(h.depth, h.text, h.place) for h in joined.headings] == [
        (1, "Book: a small one", "first"),
        (0, "I. Part", "one"),
        (1, "1. One", "one"),
        (2, "1.1. Second", "one--second"),
        (1, '2. "Two"', "two & more"),
    ]
    page = BeautifulSoup(joined.with_pages({"one": 4, "one--second": 5}), "html.parser")
    lines = [[span.get_text() for span in line.find_all("span")] for line in page.select(".contents p")]
    assert lines[1:4] == [["I. Part", "4"], ["1. One", "4"], ["1.1. Second", "5"]]


def test_headings_of_a_chapter_stand_below_its_part(page: BeautifulSoup) -> None:
    headings = [(tag.name, tag.get_text()) for tag in page.select(".chapter :is(h1, h2, h3)")]
    assert headings == [
        ("h1", "Book: a small one"),
        ("h1", "I. Part"),
        ("h2", "1. One"),
        ("h3", "1.1. Second"),
        ("h2", '2. "Two"'),
    ]


needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed")


@pytest.fixture(scope="module")
def small_pdf(tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("small")
    joined = make_pdf.join_pages(small_site(folder), SMALL_TOC, "<p class='title'>cover</p>")
    facts = {"title": "Book", "subtitle": "small", "author": "Ada", "copyright": "free", "imprint": "version 1, now"}
    make_pdf.finish(make_pdf.print_book(joined), folder / "small.pdf", joined, facts)
    with pikepdf.open(folder / "small.pdf") as pdf:
        yield pdf


@needs_browser
def test_small_pdf_has_bookmarks_and_links_to_the_right_pages(small_pdf) -> None:
    """Page 1 is the cover, page 2 the contents; the high box of chapter 1 fills page 4 and goes on."""
    marks = bookmarks(small_pdf)
    assert [(depth, title) for depth, title, _ in marks] == [
        (0, "Book: a small one"), (0, "I. Part"), (1, "1. One"), (2, "1.1. Second"), (1, '2. "Two"'),
    ]  # fmt: skip
    pages = {title: number for _, title, number in marks}
    assert pages["Book: a small one"] == 3
    assert pages["I. Part"] == pages["1. One"] == 4
    assert 4 < pages["1.1. Second"] < pages['2. "Two"'] == len(small_pdf.pages)
    of_first = [link.goal for link in links(small_pdf) if link.page == 3 and not link.uri]
    assert of_first == [pages["1.1. Second"], pages['2. "Two"'], 3]


@needs_browser
def test_small_pdf_is_tagged_and_says_what_it_is(small_pdf) -> None:
    assert small_pdf.Root.MarkInfo.Marked
    assert "/StructTreeRoot" in small_pdf.Root
    assert small_pdf.Root.Lang == "en"
    assert small_pdf.docinfo["/Title"] == "Book: small"
    assert small_pdf.docinfo["/Author"] == "Ada"
    assert {tuple(round(float(side)) for side in page.mediabox) for page in small_pdf.pages} == {(0, 0, 595, 842)}


def test_missing_characters_are_told_from_others(browser) -> None:
    """No font has the two numbers in the second pair, which are no characters."""
    page = browser.new_page()
    assert page.evaluate(make_pdf.DRAWS_APART, ["a", "b"])
    assert not page.evaluate(make_pdf.DRAWS_APART, ["\ufdd0", "\ufdd1"])


def test_what_is_wider_than_paper_is_found(browser) -> None:
    page = browser.new_page(viewport={"width": make_pdf.WIDTH, "height": 900})
    page.set_content("""<body style="margin: 0"><div class="contents">x</div><div class="chapter" id="one">
        <p>narrow</p><div style="overflow: auto"><p id="wide" style="width: 700px">wide</p></div></div>""")
    (found,) = page.evaluate(make_pdf.WIDER_THAN_PAPER)
    assert found.startswith('one: <p id="wide"')


# The whole book.


TOCS = {"en": TOC, "zh": yaml.safe_load((BOOK / "zh" / "_toc.yml").read_text(encoding="utf-8"))}


@pytest.fixture(scope="module", params=TOCS)
def language(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory, language: str) -> Iterator[tuple]:
    """The book's PDF in a language, and what the tool said while it made it."""
    folder = {"en": "book/", "zh": "book/zh/"}[language]
    if not (SITE / make_pdf.WORDS[language]["site"] / f"{PAGES[0]}.html").is_file():
        pytest.skip(f"the book has not been built: jupyter-book build {folder}")
    if BROWSER is None:
        pytest.skip("no Chromium is installed")
    target = tmp_path_factory.mktemp("book") / "book.pdf"
    command = [sys.executable, str(TOOL), str(SITE), str(target), "--language", language, "--release", "v0.0"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with pikepdf.open(target) as pdf:
        yield pdf, done, target


def test_book_is_printed_without_a_warning_and_is_small(printed) -> None:
    """Warnings tell of what is wider than the paper, and of Chinese without a font."""
    _, done, target = printed
    assert "WARNING: wider" not in done.stderr, done.stderr
    assert target.stat().st_size < MEGABYTES_AT_MOST * 1e6


def test_every_link_of_the_book_leads_to_a_place_in_it_or_to_the_web(printed) -> None:
    pdf, *_ = printed
    found = list(links(pdf))
    assert {link.uri.partition(":")[0] for link in found if link.uri} <= {"http", "https", "mailto"}
    assert sum(not link.uri for link in found) > 500
    assert all(0 <= link.top <= 850 for link in found if not link.uri)


def test_every_place_of_the_book_lies_in_its_chapter(printed) -> None:
    """Places are named by their chapter, in which the pages of the website stand in the order of the contents."""
    pdf, *_ = printed
    places = make_pdf.place_pages(pdf)
    names = [name for name in PAGES if name not in make_pdf.LEFT_OUT]
    starts = [places[name] for name in names]
    assert starts == sorted(set(starts))
    ranges = dict(zip(names, map(range, starts, [*starts[1:], len(pdf.pages) + 1]), strict=True))
    assert len(places) > 300
    for place, number in places.items():
        assert number in ranges[place.partition("--")[0]], place


def test_book_says_its_language_and_title(printed, language: str) -> None:
    pdf, *_ = printed
    assert pdf.Root.Lang == {"en": "en", "zh": "zh-Hans"}[language]
    assert str(pdf.docinfo["/Title"]).startswith({"en": "Meta-SGD: learn", "zh": "Meta-SGD: 从"}[language])


def test_bookmarks_are_the_parts_chapters_and_sections_in_their_order(printed, language: str) -> None:
    pdf, *_ = printed
    marks = bookmarks(pdf)
    top = [title for depth, title, _ in marks if depth == 0]
    assert top[1:] == [part["caption"] for part in TOCS[language]["parts"]]
    assert sum(depth == 1 and title[:1].isdigit() for depth, title, _ in marks) == len(CHAPTERS)
    numbers = [number for *_, number in marks]
    assert numbers == sorted(numbers)


def test_an_empty_box_is_seen(browser) -> None:
    found = []
    for inside in ("two<br>lines", ""):
        box = f"<div style='background: #f3f4f5; height: 100px'>{inside}</div>"
        html = f"<style>@page {{ size: A4; margin: 20mm }} body {{ margin: 0 }}</style><p class='contents'>a</p>{box}"
        with pikepdf.open(io.BytesIO(make_pdf.print_page(browser, html))) as pdf:
            found.append(len(empty_boxes(drawn(pdf.pages[0]))))
    assert found == [0, 1]


def test_lines_that_are_cut_are_seen() -> None:
    """Ten lines each, of words 40 points wide, that break as text does, and that go on to the edge where it is cut."""
    ends = {"broken": lambda row: 500 - 4 * row, "cut": lambda row: 534}
    pages = {
        name: Drawn([], [], [(x, 100 + 20 * row) for row in range(10) for x in (57, 300, end(row))])
        for name, end in ends.items()
    }
    assert share_of_full_lines(pages["broken"]) == 0
    assert share_of_full_lines(pages["cut"]) == 1


def test_no_box_of_the_book_is_empty_and_no_text_is_cut_off(printed) -> None:
    """A box that was folded, or whose content went to the next page, is pale and has nothing in it."""
    pdf, *_ = printed
    letters = boxes = 0
    first = make_pdf.place_pages(pdf)[
        TOC["root"]
    ]  # before it are the cover and the contents, all of whose lines are full
    for number, page in enumerate(pdf.pages, 1):
        marks = drawn(page)
        letters, boxes = letters + len(marks.letters), boxes + len(marks.boxes)
        assert not empty_boxes(marks), f"page {number}: an empty box, {empty_boxes(marks)}"
        assert share_of_full_lines(marks) <= CUT or number < first, (
            f"page {number}: lines that are cut off at the right"
        )
    assert letters > 100_000
    assert boxes > 500
