"""The Chinese edition in a browser, with the network off: what holds of the English pages, and what it adds.

Each page is opened twice, on a desktop in light and on a phone in dark colours. Skipped where it has not been built.
"""

import re

import pytest
from bs4 import BeautifulSoup

from tests.book.notebooks import CHAPTERS
from tests.book.test_site import (
    FORMULAS,
    SITE,
    Visit,
    fits_on_every_screen,
    is_light,
    nothing_for_axe,
    on_desktop,
    on_phone,
    visit,
    works,
)

__all__ = ["on_desktop", "on_phone", "visit"]  # fixtures
SERVED = SITE
ZH = SITE / "zh"
PAGES = sorted({path.stem for path in ZH.glob("*.html")} - {"index"})
SAME_TEXT = {"genindex", "py-modindex", "search", "404"}  # pages of the theme, which have no sections of ours

pytestmark = pytest.mark.skipif(not PAGES, reason="the book has not been built: jupyter-book build book/zh/")
on_every_page = pytest.mark.parametrize("name", PAGES)
DESKTOP = pytest.mark.parametrize("visit", [("desktop", "light")], indirect=True, ids=["desktop"])
ADDRESSES = [f"zh/{name}.html" for name in PAGES]
every_page_on_desktop = pytest.mark.parametrize("on_desktop", ADDRESSES, ids=PAGES, indirect=True, scope="module")
every_page_on_a_phone = pytest.mark.parametrize("on_phone", ADDRESSES, ids=PAGES, indirect=True, scope="module")


def html(edition: str, name: str) -> BeautifulSoup:
    return BeautifulSoup((SITE / edition / f"{name}.html").read_text(encoding="utf-8"), "html.parser")


@every_page_on_desktop
def test_page_works_and_fits_on_every_screen(on_desktop: Visit) -> None:
    works(on_desktop)
    fits_on_every_screen(on_desktop.page)
    nothing_for_axe(on_desktop)
    is_light(on_desktop)


@every_page_on_a_phone
def test_page_works_on_a_phone_in_the_dark(on_phone: Visit) -> None:
    works(on_phone)
    nothing_for_axe(on_phone)


@on_every_page
def test_page_says_its_language(name: str) -> None:
    assert html("zh", name).html["lang"] == "zh-Hans"


@pytest.mark.parametrize("name", [name for name in PAGES if name not in SAME_TEXT])
def test_sections_figures_and_equations_have_the_addresses_of_the_english_page(name: str) -> None:
    """In the same order, so that a link to a place of one edition leads to that place in the other."""
    english, chinese = (
        [
            tag["id"]
            for tag in html(edition, name).select("article :is(section, figure, div.math)[id], article span[id]")
        ]
        for edition in ("", "zh")
    )
    numbers = re.compile(r"id\d+|mystnb|.*-target")
    wanted = [one for one in english if not numbers.match(one)]
    assert [one for one in chinese if not numbers.match(one)] == wanted


@pytest.mark.parametrize("name", CHAPTERS)
def test_outputs_are_those_of_the_english_page(name: str) -> None:
    """Numbers in both editions are the same because they come from the same run."""
    english, chinese = (
        [tag.get_text() for tag in html(edition, name).select(".cell_output pre")] for edition in ("", "zh")
    )
    assert english == chinese
    when = [html(edition, name).select_one(".tested-on").text for edition in ("", "zh")]
    assert re.findall(r"(\d+) seconds\.$", when[0]) == re.findall(r"用时 (\d+) 秒。$", when[1])


@DESKTOP
@pytest.mark.parametrize(
    ("query", "chapter"),
    [("支持集", "07-tasks"), ("元梯度", "03-formulas"), ("集", "07-tasks"), ("MAML", "03-formulas")],
)
def test_search_finds_a_word_of_any_length(visit, query: str, chapter: str) -> None:
    page, problems = visit(f"zh/search.html?q={query}")
    page.wait_for_selector(f"#search-results li a[href*='{chapter}.html']")
    assert problems == []


PLACES = ["http", "file"]


@DESKTOP
@pytest.mark.parametrize("place", PLACES)
def test_switch_leads_to_the_same_section_and_back(visit, place: str) -> None:
    """On a server, and opened from disk."""
    page, _ = visit("03-formulas.html")
    if place == "file":
        page = page.context.browser.new_page()  # whose requests nobody looks at
        page.goto((SITE / "03-formulas.html").as_uri())
    page.evaluate(FORMULAS)
    sections = page.eval_on_selector_all("article section[id]", "all => all.map(section => section.id)")
    page.evaluate("id => document.getElementById(id).scrollIntoView({ behavior: 'instant' })", sections[3])
    place = page.evaluate("document.querySelector('a.metasgd-language').getBoundingClientRect()")
    page.mouse.click(place["x"] + 5, place["y"] + 5)  # a click of Playwright's own scrolls first
    page.wait_for_url(f"**/zh/03-formulas.html#{sections[3]}")
    assert page.evaluate("document.documentElement.lang") == "zh-Hans"
    assert page.locator(f"section[id='{sections[3]}']").count() == 1
    page.locator("a.metasgd-language").first.click()
    page.wait_for_url(re.compile(r"html/03-formulas\.html#|:\d+/03-formulas\.html#"))
