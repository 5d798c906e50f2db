"""The figures of the built book on a phone: sharp, and with letters that can be read.

Skipped where the book has not been built or no Chromium is installed; `.ci/run` builds it and then runs this file.
"""

import re
import xml.etree.ElementTree as ET
from urllib.parse import unquote

import pytest

from tests.book.notebooks import BOOK, CHAPTERS

SITE = SERVED = BOOK / "_build" / "html"
LETTERS = 11  # pixels, at least
# Pictures load when they are about to be seen; here all are.
LOAD_ALL = """async () => {
    const pictures = [...document.querySelectorAll("article figure img")];
    pictures.forEach((picture) => { picture.loading = "eager" });
    await Promise.all(pictures.map((picture) => picture.decode()));
}"""
PIXELS = 2  # of a picture for each pixel of a screen, at least
OVERLAP = 5  # units of a drawing, at most, as where figures are drawn with examples
# Pairs of texts in a drawing that lie on each other.
COLLISIONS = """(allowed) => {
    const drawing = document.documentElement;
    const scale = drawing.getBoundingClientRect().width / drawing.viewBox.baseVal.width;
    const texts = [...document.querySelectorAll("text")].map(e => [e.textContent.trim(), e.getBoundingClientRect()]);
    const overlap = (a, b) => Math.min(
        Math.min(a.right, b.right) - Math.max(a.left, b.left), Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top)
    ) / scale;
    return texts.flatMap(([text, box], i) => texts.slice(i + 1)
        .filter(([, other]) => overlap(box, other) > allowed).map(([other]) => [text, other]));
}"""
SVG = "{http://www.w3.org/2000/svg}"

pytestmark = pytest.mark.skipif(
    not (SITE / "welcome.html").is_file(), reason="the book has not been built: jupyter-book build book/"
)


def smallest_letters(drawing: str) -> float:
    """The size of the smallest letters of an SVG, in its own units; indices of formulas are smaller by nature."""
    sizes = []
    for text in ET.fromstring(drawing).iter(f"{SVG}text"):
        parts = [text, *text.iter(f"{SVG}tspan")]
        own = [float(size) for part in parts for size in re.findall(r"font-size: ([\d.]+)px", part.get("style", ""))]
        sizes += [max(own)] if own else []
    return min(sizes, default=float("inf"))


def test_letters_are_measured() -> None:
    drawing = (
        '<svg xmlns="http://www.w3.org/2000/svg"><text style="font-size: 12px">a</text>'
        '<text><tspan style="font-size: 9px">b</tspan><tspan style="font-size: 6px">1</tspan></text></svg>'
    )
    assert smallest_letters(drawing) == 9


@pytest.mark.parametrize("name", ["welcome", *CHAPTERS])
def test_figures_are_sharp_and_their_letters_can_be_read_on_a_phone(browser, address: str, name: str) -> None:
    page = browser.new_page(viewport={"width": 375, "height": 812})
    page.goto(f"{address}{name}.html", wait_until="load")
    page.evaluate(LOAD_ALL)
    pictures = page.eval_on_selector_all(
        "article figure img",
        "all => all.map(e => [e.src, e.getBoundingClientRect().width, e.naturalWidth, e.closest('figure').id])",
    )
    page.close()
    for source, shown, natural, figure in pictures:
        assert 0 < shown <= 375, figure
        if source.startswith("data:image/svg+xml,"):
            drawing = unquote(source.partition(",")[2])
        elif source.endswith(".svg"):
            drawing = (SITE / unquote(source.removeprefix(address))).read_text(encoding="utf-8")
        else:
            assert natural >= PIXELS * shown, f"{name}, {figure}: soft on a screen of {PIXELS} dots to a pixel"
            continue
        width = float(re.search(r'viewBox="0 0 ([\d.]+)', drawing)[1])
        letters = smallest_letters(drawing) * shown / width
        assert letters >= LETTERS, f"{name}, {figure}: letters of {letters:.1f} pixels"


@pytest.mark.parametrize("name", ["welcome", *CHAPTERS])
def test_no_two_texts_of_a_figure_lie_on_each_other(browser, address: str, name: str) -> None:
    """With the data of the book, and as a browser sets them."""
    text = (SITE / f"{name}.html").read_text(encoding="utf-8")
    drawings = sorted(set(re.findall(r'"([^" ]*(?:_images|_static)/[^" ]*\.svg)"', text)))
    page = browser.new_page()
    for drawing in drawings:
        page.goto(f"{address}{drawing}", wait_until="load")
        assert page.evaluate(COLLISIONS, OVERLAP) == [], f"{name}, {drawing}"
    page.close()
    assert drawings or name == "10-gpu"
