"""Chapter 14's page in a browser: what a reader draws, presses and gets wrong.

The page is the chapter's own HTML and the files that ship with the book, without the rest of the site.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from math import cos, pi, sin

import pytest
import torch

from metasgd.tools.make_browser_examples import FILE, examples_script
from tests.book.notebooks import BOOK, cells, path_of

SERVED = BOOK
LIMIT = 20_000  # milliseconds after which a test gives up waiting: far more than the page needs on a busy machine

Stroke = Sequence[tuple[float, float]]
CIRCLE = [[(0.5 + 0.3 * cos(pi * k / 12), 0.5 + 0.3 * sin(pi * k / 12)) for k in range(25)]]
CROSS = [[(0.2, 0.2), (0.8, 0.8)], [(0.8, 0.2), (0.2, 0.8)]]
LINE = [[(0.5, 0.1), (0.5, 0.9)]]
SHAPES: list[list[Stroke]] = [CIRCLE, CROSS, LINE]


def html() -> str:
    """The part of the chapter that is HTML, as a page."""
    text = "\n".join(cell.source for cell in cells(path_of(14).stem))
    (body,) = re.findall(r"^```\{raw\} html\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
    return f"<!doctype html><html><head>{head}<title>page</title></head><body>{body}</body></html>"


@pytest.fixture
def visit(browser, address: str) -> Iterator[Callable]:
    """Open the page; whatever fails on it fails the test."""
    opened, problems = [], []

    def open_page(width: int = 1000, before: str = "", **options: object) -> "Page":
        context = browser.new_context(viewport={"width": width, "height": 1000}, **options)
        opened.append(context)
        if before:
            context.add_init_script(before)
        tab = context.new_page()
        tab.set_default_timeout(LIMIT)
        tab.route("**/page.html", lambda route: route.fulfill(body=html(), content_type="text/html"))
        tab.on("pageerror", lambda error: problems.append(f"a script fails: {error}"))
        tab.on("console", lambda line: problems.append(line.text) if line.type == "error" else None)
        tab.goto(address + "page.html")
        return Page(tab)

    yield open_page
    for context in opened:
        context.close()
    assert problems == []


class Page:
    """What a reader does on the page, and sees."""

    def __init__(self, tab) -> None:
        self.tab = tab

    def ready(self) -> "Page":
        """Wait for the first prediction."""
        self.tab.wait_for_selector("#adapt[data-shown][aria-busy=false]", state="attached")
        return self

    def draw(self, key: str, strokes: Sequence[Stroke], *, scale: float = 1.0, shift: float = 0.0) -> None:
        """Draw by the mouse, whose events are pointer events."""
        pad = self.tab.locator(f'canvas[data-key="{key}"]')
        pad.scroll_into_view_if_needed()
        box = pad.bounding_box()
        for stroke in strokes:
            for index, (x, y) in enumerate(stroke):
                place = [0.5 + scale * (value - 0.5) + shift for value in (x, y)]
                self.tab.mouse.move(box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"])
                if index == 0:
                    self.tab.mouse.down()
            self.tab.mouse.up()

    def draw_examples(self, shapes: Sequence[Sequence[Stroke]]) -> None:
        """Clear all, and draw one example of each symbol."""
        self.tab.click("#adapt-clear")
        for way, shape in enumerate(shapes):
            self.draw(f"{way}/0", shape)

    def probabilities(self, column: int = 2) -> list[float]:
        """The column's probabilities as numbers, once all is computed; 2 is the learned rates'."""
        self.settle()
        cells = self.tab.locator(f".adapt-results tbody td:nth-of-type({column})")
        return [float(share) for share in cells.evaluate_all("all => all.map((cell) => cell.dataset.share)")]

    def settle(self) -> None:
        """Wait until nothing is being computed."""
        self.tab.wait_for_selector("#adapt[aria-busy=false]", state="attached")

    def message(self) -> str:
        self.settle()
        return self.tab.inner_text(".adapt-message")

    def text(self) -> str:
        self.settle()
        return self.tab.inner_text("#adapt")


@pytest.mark.parametrize("width", [1000, 375])
def test_page_shows_a_prediction_at_once_and_fits_its_screen(visit, width: int) -> None:
    """It opens with ready digits; the one to classify is a 7, which is the second symbol."""
    page = visit(width).ready()
    page.tab.select_option("#adapt-shots", "5")
    page.tab.check("#adapt-layers-switch")
    assert page.probabilities()[1] == max(page.probabilities())
    assert page.tab.locator(".adapt-layer").first.is_visible()
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= width


def test_drawings_are_told_apart_after_one_step(visit) -> None:
    """A circle, a cross and a line: drawn again smaller and elsewhere, each is recognised, beyond a doubt."""
    page = visit().ready()
    page.draw_examples(SHAPES)
    for way, shape in enumerate(SHAPES):
        page.tab.click("#adapt-query-clear")
        page.draw("query", shape, scale=0.6, shift=0.1)
        after, before = page.probabilities(), page.probabilities(1)
        assert after[way] > 0.8
        assert sum(after) == pytest.approx(1, abs=1e-4)  # float32
        assert max(before) < 0.7


def test_undo_takes_back_one_stroke_or_a_clear(visit) -> None:
    page = visit().ready()
    page.draw_examples(SHAPES)
    page.draw("query", CROSS)
    seen = page.probabilities()
    page.draw("query", LINE)
    assert page.probabilities() != seen
    page.tab.click("#adapt-undo")
    assert page.probabilities() == seen
    page.tab.click("#adapt-clear")
    assert "All pads are empty" in page.message()
    page.tab.locator('canvas[data-key="query"]').focus()
    page.tab.keyboard.press("Control+z")
    assert page.probabilities() == seen


def test_other_numbers_of_symbols_and_reset(visit) -> None:
    page = visit().ready()
    for ways in ("5", "2", "4"):
        page.tab.select_option("#adapt-ways", ways)
        assert len(page.probabilities()) == int(ways)
    page.draw_examples(SHAPES)
    assert "Symbol D has no example yet" in page.message()
    page.tab.click("#adapt-reset")
    assert len(page.ready().probabilities()) == 3


def test_bad_input_gets_a_sentence_and_never_a_nan(visit) -> None:
    page = visit().ready()
    page.tab.click("#adapt-clear")
    assert "All pads are empty" in page.message()
    page.draw("0/0", LINE)
    assert "one symbol only" in page.message()
    page.draw("1/0", LINE)
    assert "Symbol C has no example yet" in page.message()
    page.draw("2/0", LINE)
    assert "All pads are identical" in page.message()
    page.draw("1/0", CROSS)
    page.draw("query", [[(0.5, 0.5)]])  # a dot
    assert "identical to one of another symbol" in page.message()
    assert sum(page.probabilities()) == pytest.approx(1, abs=1e-4)
    page.tab.click("#adapt-query-clear")
    assert "to be classified" in page.message()
    assert "NaN" not in page.text()


def test_the_keyboard_draws_and_fills_pads(visit) -> None:
    page = visit().ready()
    page.tab.click("#adapt-query-clear")
    page.tab.locator('canvas[data-key="query"]').focus()
    for key in ("Space", *["ArrowDown"] * 6, "Space"):
        page.tab.keyboard.press(key)
    assert sum(page.probabilities()) == pytest.approx(1, abs=1e-4)
    page.tab.keyboard.press("Delete")
    assert "to be classified" in page.message()
    page.tab.keyboard.press("Enter")
    assert sum(page.probabilities()) == pytest.approx(1, abs=1e-4)
    names = page.tab.eval_on_selector_all("#adapt canvas", "all => all.map((pad) => pad.getAttribute('aria-label'))")
    assert len(set(names)) == len(names) == 4


def test_leaving_while_it_computes_does_no_harm(visit) -> None:
    page = visit().ready()
    here = page.tab.url
    page.tab.select_option("#adapt-ways", "5")
    page.tab.select_option("#adapt-shots", "5")
    page.tab.click("#adapt-ready")
    page.tab.goto("about:blank")
    page.tab.goto(here)
    assert len(page.ready().probabilities()) == 3


def test_without_workers_the_page_computes_the_same_itself(visit) -> None:
    """Both take the same digits and the same backend, so that all digits shown agree."""
    shown = visit().ready().probabilities()
    page = visit(before="delete window.Worker").ready()
    assert page.probabilities() == pytest.approx(shown, abs=1e-5)


def test_without_webassembly_it_computes_in_javascript(visit) -> None:
    page = visit(before="delete window.WebAssembly; delete window.Worker").ready()
    assert page.tab.get_attribute("#adapt", "data-backend") == "cpu"
    assert sum(page.probabilities()) == pytest.approx(1, abs=1e-4)


def test_without_scripts_the_page_says_why_and_leads_to_the_recorded_figure(visit) -> None:
    page = visit(java_script_enabled=False)
    assert "Scripts are off" in page.tab.inner_text("body")


def test_a_drawing_becomes_a_picture_as_in_training(visit) -> None:
    """Wherever it is and however large: the ink, by the pen that measures, fits 20 pixels, its mass in the middle.

    Ink is compared by half a pixel, which the raster of 28 pixels can be off, and so can a bound by one on each side.
    """
    page = visit().ready()

    def picture(strokes: Sequence[Stroke]) -> torch.Tensor:
        pixels = page.tab.evaluate("strokes => Array.from(metaSgdSketch.toPicture(strokes))", strokes)
        return torch.tensor(pixels).reshape(28, 28)

    for shape in (CIRCLE, CROSS, [[(0.1, 0.1), (0.1, 0.7), (0.5, 0.7)]]):
        drawn = picture(shape)
        elsewhere = picture([[(3 * x - 7, 3 * y + 2) for x, y in stroke] for stroke in shape])
        torch.testing.assert_close(drawn, elsewhere, atol=1e-3, rtol=0)
        ink = (drawn >= 0.5).nonzero().float()
        assert 19 <= (ink.amax(0) - ink.amin(0)).amax() + 1 <= 22
        assert (ink.mean(0) - 13.5).abs().max() < 0.7


def test_ready_digits_are_those_of_the_sample() -> None:
    assert (BOOK / "_static" / "adapt" / FILE).read_text() == examples_script()
