"""Chapter 14's page in a browser: what a reader draws, presses and gets wrong.

The page is the chapter's own HTML and the files that ship with the book, without the rest of the site.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from math import cos, pi, sin

import numpy as np
import pytest
import torch
from PIL import Image

from metasgd.tools.make_browser_choices import FILE as CHOICES
from metasgd.tools.make_browser_choices import choices_script
from metasgd.tools.make_browser_examples import FILE, examples_script
from tests.book.elements import elements, middle, page_of, same_words, swipe, violations, visits
from tests.book.notebooks import BOOK

SERVED = BOOK
BROWSERS = ["chromium", "firefox"]
Stroke = Sequence[tuple[float, float]]
CIRCLE = [[(0.5 + 0.3 * cos(pi * k / 12), 0.5 + 0.3 * sin(pi * k / 12)) for k in range(25)]]
CROSS = [[(0.2, 0.2), (0.8, 0.8)], [(0.8, 0.2), (0.2, 0.8)]]
LINE = [[(0.5, 0.1), (0.5, 0.9)]]
LADDER = [[(x, 0.15), (x, 0.85)] for x in (0.3, 0.7)] + [[(0.3, y), (0.7, y)] for y in (0.15, 0.38, 0.62, 0.85)]
RING_WITH_GAP = [[(0.5 + 0.3 * cos(pi * k / 12), 0.5 + 0.3 * sin(pi * k / 12)) for k in range(20)]]
SQUARE = [[(0.2, 0.2), (0.8, 0.2), (0.8, 0.8), (0.2, 0.8), (0.2, 0.2)]]
SHAPES: list[list[Stroke]] = [CIRCLE, CROSS, LINE]


@pytest.fixture
def visit(browser, address: str) -> Iterator[Callable]:
    """Open the page; whatever fails on it fails the test."""
    with visits(browser, address) as open_tab:
        yield lambda width=1000, **options: Page(open_tab(elements(14)[0], width=width, **options))


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

    def probabilities(self, column: str = "learned") -> list[float]:
        """The column's probabilities as numbers, once all is computed."""
        self.settle()
        cells = self.tab.locator(f".adapt-results tbody td[data-column={column}]")
        return [float(share) for share in cells.evaluate_all("all => all.map((cell) => cell.dataset.share)")]

    def open_more(self) -> None:
        """Open the fold, with all columns, and wait until the loss is drawn along the whole step."""
        self.tab.click("#adapt-more summary")
        self.tab.check("#adapt-compare")
        self.whole_loss()

    def whole_loss(self) -> None:
        self.settle()
        self.tab.wait_for_selector('.adapt-along-box[data-parts="21"]')

    def verdict(self) -> str:
        self.settle()
        return self.tab.inner_text(".adapt-verdict")

    def settle(self) -> None:
        """Wait until nothing is being computed."""
        self.tab.wait_for_selector("#adapt[aria-busy=false]", state="attached")

    def message(self) -> str:
        self.settle()
        return self.tab.inner_text(".parts-message")

    def text(self) -> str:
        self.settle()
        return self.tab.inner_text("#adapt")


@pytest.mark.parametrize("width", [1000, 375, 320])
def test_page_shows_a_prediction_at_once_and_fits_its_screen(visit, width: int) -> None:
    """It opens with ready digits; the one to classify is a 7, which is the second symbol."""
    page = visit(width).ready()
    page.open_more()
    page.tab.select_option("#adapt-shots", "5")
    assert page.probabilities()[1] == max(page.probabilities())
    assert page.tab.locator(".adapt-layer").first.is_visible()
    assert page.tab.evaluate("document.documentElement.scrollWidth") <= width


def test_drawings_are_told_apart_after_one_step(visit) -> None:
    """A circle, a cross and a line: drawn again smaller and elsewhere, each is recognised, beyond a doubt."""
    page = visit().ready()
    page.open_more()
    page.draw_examples(SHAPES)
    for way, shape in enumerate(SHAPES):
        page.tab.click("#adapt-query-clear")
        page.draw("query", shape, scale=0.6, shift=0.1)
        after, before = page.probabilities(), page.probabilities("before")
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
    page.open_more()
    for ways in ("5", "2", "4"):
        page.tab.select_option("#adapt-ways", ways)
        assert len(page.probabilities()) == int(ways)
    page.draw_examples(SHAPES)
    assert "Now draw a symbol on D" in page.message()
    page.tab.click("#adapt-reset")
    assert len(page.ready().probabilities()) == 3


def test_bad_input_gets_a_sentence_and_never_a_nan(visit) -> None:
    page = visit().ready()
    page.tab.click("#adapt-clear")
    assert "All pads are empty" in page.message()
    page.draw("0/0", LINE)
    assert "another symbol on B" in page.message()
    page.draw("1/0", LINE)
    assert "Now draw a symbol on C" in page.message()
    page.draw("2/0", LINE)
    assert "All pads are identical" in page.message()
    page.draw("1/0", CROSS)
    page.draw("query", [[(0.5, 0.5)]])  # a dot
    assert "identical to one of another symbol" in page.message()
    assert sum(page.probabilities()) == pytest.approx(1, abs=1e-4)
    page.tab.click("#adapt-query-clear")
    assert "draw one of your symbols again" in page.message()
    assert "NaN" not in page.text()


def test_the_keyboard_draws_and_fills_pads(visit) -> None:
    page = visit().ready()
    page.tab.click("#adapt-query-clear")
    page.tab.locator('canvas[data-key="query"]').focus()
    for key in ("Space", *["ArrowDown"] * 6, "Space"):
        page.tab.keyboard.press(key)
    assert sum(page.probabilities()) == pytest.approx(1, abs=1e-4)
    page.tab.keyboard.press("Delete")
    assert "draw one of your symbols again" in page.message()
    page.tab.keyboard.press("Enter")
    assert sum(page.probabilities()) == pytest.approx(1, abs=1e-4)
    names = page.tab.eval_on_selector_all(
        "#adapt .adapt-pad", "all => all.map((pad) => pad.getAttribute('aria-label'))"
    )
    assert len(set(names)) == len(names) == 4


def test_leaving_while_it_computes_does_no_harm(visit) -> None:
    page = visit().ready()
    here = page.tab.url
    page.open_more()
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


@pytest.mark.chromium_only
def test_without_scripts_the_page_says_why_and_leads_to_the_recorded_figure(visit) -> None:
    page = visit(java_script_enabled=False)
    assert "Scripts are off" in page.tab.inner_text("body")
    assert "first figure below" in page.tab.inner_text("body")


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


def test_what_the_page_sets_beside_the_step_is_what_the_experiment_chose() -> None:
    assert (BOOK / "_static" / "adapt" / CHOICES).read_text() == choices_script()


def test_the_first_stroke_puts_the_digits_away_and_each_message_says_what_is_next(visit) -> None:
    """From the opening to an answer by drawing alone: nothing has to be pressed."""
    page = visit().ready()
    assert "Draw on A" in page.message()
    for way, (shape, next_step) in enumerate(zip(SHAPES, ("on B", "on C", "on the large pad"), strict=True)):
        page.draw(f"{way}/0", shape)
        assert next_step in page.message()
    page.draw("query", CROSS)
    assert page.message() == ""
    assert page.verdict().startswith("It is B")
    assert page.tab.locator(".adapt-thumb").count() == 3


@pytest.mark.parametrize("width", [1000, 375, 320])
def test_pads_stay_where_they_are_while_somebody_draws(visit, width: int) -> None:
    """Also at the first stroke, which puts the opening's digits and its message away; and they are square."""
    page = visit(width).ready()
    for key, shape in (("0/0", LINE), ("1/0", CROSS), ("2/0", CIRCLE), ("query", LINE)):
        pad = page.tab.locator(f'canvas[data-key="{key}"]')
        pad.scroll_into_view_if_needed()
        before = pad.bounding_box()
        assert before["width"] == pytest.approx(before["height"], abs=1)
        page.draw(key, shape)
        page.settle()
        assert pad.bounding_box() == before


@pytest.mark.chromium_only
def test_a_finger_draws(visit) -> None:
    """Touches come as pointer events from the browser itself, as on a phone."""
    page = visit(has_touch=True, is_mobile=True, width=375).ready()
    page.tab.click("#adapt-query-clear")
    pad = page.tab.locator('canvas[data-key="query"]')
    pad.scroll_into_view_if_needed()
    (x, y), height = middle(pad), pad.bounding_box()["height"]
    swipe(page.tab, *((x, y + share * height) for share in (-0.3, 0, 0.3)))
    assert sum(page.probabilities()) == pytest.approx(1, abs=1e-4)


def test_the_network_sees_28_by_28_pixels_of_the_same_size(visit) -> None:
    """A small ring and a large one look the same to it, up to the pixels of the screen."""
    page = visit().ready()
    page.draw_examples(SHAPES)
    seen = []
    for scale in (1.2, 0.4):
        page.tab.click("#adapt-query-clear")
        page.draw("query", CIRCLE, scale=scale)
        page.settle()
        values = page.tab.evaluate(
            "Array.from(document.querySelector('.adapt-seen').getContext('2d').getImageData(0, 0, 28, 28).data)"
        )
        seen.append(torch.tensor(values).reshape(28, 28, 4)[..., 3] / 255)
    assert seen[0].sum() > 20
    assert (seen[0] - seen[1]).abs().mean() < 0.03


def test_a_stranger_is_none_of_these_and_a_given_symbol_is_not(visit) -> None:
    """Circle, cross and bar are given. A ladder is a circle rather than the others, and still too little like it."""
    page = visit().ready()
    page.draw_examples(SHAPES)
    page.draw("query", CROSS, scale=0.7)
    assert page.verdict().startswith("It is B")
    page.tab.click("#adapt-query-clear")
    page.draw("query", LADDER)
    assert page.verdict() == "None of these, it seems."
    assert max(page.probabilities()) > 0.9  # so the probability would not have said it
    likeness = page.tab.inner_text(".adapt-likeness")
    cosine, line = (float(number) for number in re.findall(r"0\.\d\d", likeness))
    assert cosine < line


def test_a_square_passes_for_a_circle_until_it_is_given(visit) -> None:
    """Where likeness fails, as the chapter says: a stranger that is enough like a given symbol."""
    page = visit().ready()
    page.draw_examples(SHAPES)
    page.draw("query", SQUARE)
    assert page.verdict().startswith("It is A")
    page.open_more()
    page.tab.select_option("#adapt-ways", "4")
    page.draw("3/0", SQUARE)
    assert page.verdict().startswith("It is D")
    page.tab.click("#adapt-query-clear")
    page.draw("query", CIRCLE)
    assert page.verdict().startswith("It is A")


def test_it_works_from_a_disk(browser, tmp_path) -> None:
    """Without a server there is no worker and no WebAssembly, and the answer is the same."""
    (tmp_path / "page.html").write_text(page_of(elements(14)[0]), encoding="utf-8")
    (tmp_path / "_static").symlink_to(BOOK / "_static")
    tab = browser.new_page()
    problems: list[str] = []
    tab.on("pageerror", lambda error: problems.append(str(error)))
    tab.goto((tmp_path / "page.html").as_uri())
    page = Page(tab).ready()
    assert page.verdict().startswith("It is B")
    assert tab.get_attribute("#adapt", "data-backend") == "cpu"
    page.tab.click("#adapt-share")
    assert page.tab.url.startswith("file:")
    assert "#pads=" in page.tab.url
    assert problems == []
    tab.close()


def test_who_comes_by_keyboard_sees_how_to_draw(visit) -> None:
    page = visit().ready()
    keys = page.tab.locator("#adapt-keys")
    assert not keys.is_visible()
    while page.tab.evaluate("document.activeElement.dataset.key") != "0/0":
        page.tab.keyboard.press("Tab")
    assert keys.is_visible()
    assert page.tab.evaluate("document.activeElement.getAttribute('aria-describedby')") == "adapt-keys"


def test_the_score_counts_what_the_reader_says(visit) -> None:
    page = visit().ready()
    page.draw_examples(SHAPES)
    for shape, truth in ((CROSS, "1"), (CIRCLE, "0"), (LINE, "1"), (LADDER, "none")):
        page.draw("query", shape)  # after a drawing that is named, a stroke begins a new one
        page.settle()
        page.tab.click(f'[data-truth="{truth}"]')
        assert page.tab.get_attribute(f'[data-truth="{truth}"]', "aria-pressed") == "true"
    assert page.tab.inner_text(".adapt-score").startswith("Right so far: Meta-SGD 3,")
    assert "of 4." in page.tab.inner_text(".adapt-score")
    page.tab.click('[data-truth="2"]')  # a reader may change their mind, and then it counts once
    assert "of 4." in page.tab.inner_text(".adapt-score")


def test_the_slider_changes_the_single_rate_alone(visit) -> None:
    """It starts at the likeliest rate; with a tenth of it, the same answer is less sure."""
    page = visit().ready()
    page.open_more()
    assert "the likeliest" in page.tab.get_attribute("#adapt-rate", "aria-valuetext")
    learned, single = page.probabilities(), page.probabilities("scalar")
    page.tab.locator("#adapt-rate").focus()
    page.tab.keyboard.press("Home")
    assert page.probabilities() == learned
    assert max(page.probabilities("scalar")) < max(single)


def test_the_loss_is_drawn_along_the_step(visit) -> None:
    """Both curves begin at log 3, where all is guessed, and at the whole step have the losses that the page names."""
    page = visit().ready()
    page.open_more()
    page.draw_examples([CIRCLE, LINE, RING_WITH_GAP])
    page.draw("query", RING_WITH_GAP)
    page.settle()
    page.tab.click('[data-truth="2"]')
    page.tab.wait_for_selector(".adapt-curve-query.adapt-curve-learned[points*=' ']", state="attached")
    page.whole_loss()
    label = page.tab.get_attribute(".adapt-along", "aria-label")
    start, learned, scalar = (float(number) for number in re.findall(r"\d+\.\d\d", label)[:3])
    assert start == pytest.approx(1.1, abs=0.1)
    facts = page.tab.inner_text("#adapt-more")
    after, single = re.search(
        r"before the step, (under 0.001|[\d.]+) after.*?, (under 0.001|[\d.]+) with", facts
    ).groups()
    for drawn, said in ((learned, after), (scalar, single)):
        assert drawn == pytest.approx(0 if said.startswith("under") else float(said), abs=0.01)


def test_an_address_brings_the_drawings_back(visit) -> None:
    """To the precision of the address: half of 1.5 / 255 of a pad, and points that lie 0.006 beside a line."""
    page = visit().ready()
    page.open_more()
    page.tab.select_option("#adapt-ways", "2")
    page.draw_examples(SHAPES[:2])
    page.draw("query", CROSS)
    shown = page.probabilities()
    page.tab.click("#adapt-share")
    address = page.tab.input_value(".adapt-address")
    page.tab.wait_for_selector("[role=status]:has-text('holds your drawings')")
    assert page.tab.url == address
    assert len(address) < 500
    other = visit(ending="#" + address.split("#")[1]).ready()
    assert "came with the address" in other.message()
    assert other.probabilities() == pytest.approx(shown, abs=0.05)
    assert other.verdict() == page.verdict()
    assert len(shown) == 2


def test_an_address_that_is_damaged_is_refused_with_a_sentence(visit) -> None:
    for fragment in ("#pads=", "#pads=1", "#pads=9AwEJAQaA", "#pads=1AwEJAQaARKKw", "#pads=1%%%"):
        page = visit(ending=fragment).ready()
        assert "cannot be read" in page.message()
        assert len(page.probabilities()) == 3


def test_digits_are_shared_too_and_a_new_address_is_taken_at_once(visit) -> None:
    page = visit().ready()
    shown = page.probabilities()
    page.tab.click("#adapt-share")
    fragment = "#" + page.tab.url.split("#")[1]
    page.tab.click("#adapt-clear")
    page.tab.evaluate("location.hash = ''")
    page.tab.evaluate("fragment => { location.hash = fragment }", fragment)
    page.tab.wait_for_selector("#adapt[data-shown]", state="attached")
    assert page.probabilities() == shown


@pytest.mark.chromium_only
def test_everything_is_saved_as_a_picture(visit, tmp_path) -> None:
    page = visit().ready()
    with page.tab.expect_download() as download:
        page.tab.click("#adapt-save")
    assert download.value.suggested_filename == "one-step-of-meta-sgd.png"
    download.value.save_as(tmp_path / "saved.png")
    with Image.open(tmp_path / "saved.png") as picture:
        assert picture.format == "PNG"
        dark = np.asarray(picture.convert("L")) < 40
    assert dark.sum() > 3 * 100 * 100  # three pads of examples and the large one are nearly black


@pytest.mark.chromium_only
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_nothing_keeps_a_screen_reader_out(visit, theme: str) -> None:
    """axe-core finds nothing, with the fold open and all columns shown, and where the answer is none of these."""
    page = visit(theme=theme, reduced_motion="reduce").ready()
    page.open_more()
    page.draw_examples(SHAPES)
    page.draw("query", LADDER)
    page.whole_loss()
    page.tab.click("#adapt-share")
    assert violations(page.tab) == []


def test_the_page_speaks_the_language_of_the_book(visit) -> None:
    page = visit(language="zh-CN").ready()
    assert page.verdict() == "这是 B，概率 >99%。"
    assert not re.findall(r"[A-Za-z]{4,}", page.text().replace("Meta-SGD", ""))


def test_both_languages_have_the_same_words_with_the_same_places_for_values(visit) -> None:
    same_words(visit().ready().tab, "metaSgdAdaptWords")
