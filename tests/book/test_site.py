"""The built book in a browser, with the network off: every page, on a desktop and on a phone, light and dark.

Skipped where the book has not been built or no Chromium is installed; `.ci/run` builds it and then runs this file.
"""

import gzip
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.book.elements import violations
from tests.book.notebooks import BOOK

SITE = SERVED = BOOK / "_build" / "html"
PAGES = sorted({path.name for path in SITE.glob("*.html")} - {"index.html"})  # a copy of the first page
SCREENS = {"desktop": (1280, 900), "phone": (375, 812)}
CONTROL = ":is(a, button, input, label, select, summary, [onclick], [role=button], [tabindex])"  # can be clicked
HEADER = ":is(header, .bd-header, .bd-header-article)"

pytestmark = pytest.mark.skipif(not PAGES, reason="the book has not been built: jupyter-book build book/")
every_page_on_desktop = pytest.mark.parametrize("on_desktop", PAGES, indirect=True, scope="module")
in_both_colours = pytest.mark.parametrize("scheme", ["light", "dark"])
every_page_on_a_phone = pytest.mark.parametrize("on_phone", PAGES, indirect=True, scope="module")


class Visit:
    """A page on one screen, and everything that went wrong on it.

    Attributes:
        page: the tab.
        problems: what went wrong, one line each; a page has none.
        loaded: the paths of the files of the site that were loaded, so far.
        at_first: those that were when the page had just been opened.
    """

    def __init__(self, context, address: str) -> None:
        self.address = address
        self.problems: list[str] = []
        self.loaded: set[str] = set()
        self.at_first: set[str] = set()
        context.route("**/*", self.only_this_site)
        self.page = page = context.new_page()
        page.on("pageerror", lambda error: self.problems.append(f"a script fails: {error}"))
        page.on(
            "console", lambda line: self.problems.append(f"console: {line.text}") if line.type == "error" else None
        )
        page.on("response", self.note)
        page.on("requestfailed", lambda r: self.problems.append(f"request fails: {r.url}"))

    def only_this_site(self, route) -> None:
        if route.request.url.startswith((self.address, "data:", "blob:")):
            route.continue_()
        else:
            self.problems.append(f"asks another server: {route.request.url}")
            route.abort()

    def note(self, response) -> None:
        self.loaded.add(response.url.removeprefix(self.address).split("?")[0])
        if response.status >= 400:
            self.problems.append(f"status {response.status}: {response.url}")

    def open(self, name: str, until: str = "load"):
        """Open a page of the site, and return the tab and the list of problems."""
        self.page.goto(self.address + name, wait_until=until, timeout=120_000)  # the reference is long
        return self.page, self.problems


@contextmanager
def visited(browser, address: str, screen: str, scheme: str) -> Iterator[Visit]:
    """A visit by someone who has not seen the site before, on one screen, in light or dark colours."""
    width, height = SCREENS[screen]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    yield Visit(context, address)
    context.close()


@pytest.fixture(params=[(screen, scheme) for screen in SCREENS for scheme in ("light", "dark")], ids="-".join)
def visit(request: pytest.FixtureRequest, browser, address: str) -> Iterator[Callable[[str], tuple[Any, list[str]]]]:
    """Open a page on one screen, and return it with everything that went wrong on it."""
    with visited(browser, address, *request.param) as one:
        yield one.open


# All that is asked of every page is asked at the same two visits: to load a page takes longer than to test it.


@pytest.fixture(scope="module")
def on_desktop(request: pytest.FixtureRequest, browser, address: str) -> Iterator[Visit]:
    """A page on a desktop; every test finds it 1280 pixels wide, and leaves it so."""
    with visited(browser, address, "desktop", "light") as one:
        one.open(request.param, until="networkidle")
        one.page.evaluate("async () => { await document.fonts.ready }")
        one.at_first = set(one.loaded)
        yield one


@pytest.fixture(scope="module")
def on_phone(request: pytest.FixtureRequest, browser, address: str) -> Iterator[Visit]:
    """A page on a phone, opened in dark colours."""
    with visited(browser, address, "phone", "dark") as one:
        one.open(request.param)
        yield one


FORMULAS = "async () => { if (window.MathJax?.startup) await MathJax.startup.promise }"


def works(visit: Visit) -> None:
    """All formulas are set, nothing is wider than the screen, and nothing went wrong."""
    page = visit.page
    page.evaluate(FORMULAS)
    raw = page.eval_on_selector_all(".math", "all => all.filter(e => !e.querySelector('mjx-container')).length")
    assert raw == 0, f"{raw} formulas are not set"
    assert page.locator("mjx-merror").count() == 0
    does_not_scroll_sideways(page)
    assert visit.problems == []


def in_colours(visit: Visit, scheme: str) -> None:
    """Let the reader's system be light or dark; the page follows."""
    visit.page.emulate_media(color_scheme=scheme)
    visit.page.wait_for_function("scheme => document.documentElement.dataset.theme === scheme", arg=scheme)


def does_not_scroll_sideways(page) -> None:
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"the page scrolls sideways, by {wide} pixels"


@every_page_on_desktop
@in_both_colours
def test_page_works_alone(on_desktop: Visit, scheme: str) -> None:
    """No error, no request that fails or leaves the site, every formula set, nothing wider than the screen."""
    in_colours(on_desktop, scheme)
    works(on_desktop)


@every_page_on_a_phone
@in_both_colours
def test_page_works_alone_on_a_phone(on_phone: Visit, scheme: str) -> None:
    in_colours(on_phone, scheme)
    works(on_phone)


@pytest.mark.parametrize("visit", [("desktop", "light")], indirect=True)
def test_address_of_the_site_shows_the_first_page(visit) -> None:
    page, problems = visit("index.html")
    assert page.locator("article h1").inner_text().startswith("Meta-SGD: learn to learn")
    assert page.title().startswith("Meta-SGD")
    assert problems == []


def test_theme_follows_the_reader(visit, request: pytest.FixtureRequest) -> None:
    """The page is dark where the system is."""
    page, _ = visit("welcome.html")
    scheme = request.node.callspec.params["visit"][1]
    assert page.evaluate("document.documentElement.dataset.theme") == scheme


@pytest.mark.parametrize("visit", [("desktop", "light")], indirect=True)
def test_search_finds_a_word(visit) -> None:
    """The search works from the site's own index."""
    page, problems = visit("search.html?q=preconditioner")
    page.wait_for_selector("#search-results li a")
    assert problems == []


BESIDE_THE_SCREEN = """(link) => {
    const { left, right } = link.getBoundingClientRect();
    return left >= innerWidth || right <= 0;
}"""


def opens_a_sidebar(page, button, links: str) -> None:
    """The sidebar with these links comes in (one that is there is first sent away), and the last link works."""
    link = page.locator(links).last
    same = link.element_handle()  # wherever in the document the theme moves it
    if not same.evaluate(BESIDE_THE_SCREEN):
        button.click()
        page.wait_for_function(BESIDE_THE_SCREEN, arg=same)
    button.click()
    page.wait_for_function(f"link => !({BESIDE_THE_SCREEN})(link)", arg=same)
    goal = link.evaluate("a => a.href")
    link.click()
    page.wait_for_url(lambda url: url == goal)


def opens_the_table_of_contents(page, button) -> None:
    opens_a_sidebar(page, button, ".bd-sidebar-primary .toctree-l1 > a:not([href='#'])")


def opens_the_contents_of_the_page(page, button) -> None:
    opens_a_sidebar(page, button, ".bd-sidebar-secondary .toc-h2 > a")


def changes_the_theme(page, button) -> None:
    """Two clicks: from light to dark and back, or the other way round."""
    background = "getComputedStyle(document.body).backgroundColor"
    for _ in range(2):
        before = page.evaluate(background)
        button.click()
        page.wait_for_function(f"before => {background} !== before", arg=before)


def searches(page, button) -> None:
    """The field is shown and takes what is typed."""
    button.click()
    page.locator("dialog input[name=q]:focus").wait_for()
    page.keyboard.type("preconditioner")
    page.keyboard.press("Enter")
    page.wait_for_url("**/search.html?q=preconditioner*")


def fills_the_screen(page, button) -> None:
    """The first click fills the screen, the second gives it back."""
    button.click()
    page.wait_for_function("document.fullscreenElement !== null")
    button.click()
    page.wait_for_function("document.fullscreenElement === null")


# What an entry of a menu does, noted instead of done: some lead to other servers.
NOTE = """() => {
    window.print = () => { window.done = "print" };
    addEventListener("click", (event) => {
        const link = event.target.closest("a");
        if (link) { event.preventDefault(); window.done = link.href }
    });
}"""


def opens_a_menu(page, button) -> None:
    """Each entry shows once the menu is open and leads somewhere; a file of this site is there."""
    page.evaluate(NOTE)
    entries = button.locator(f":scope + .dropdown-menu {CONTROL}").all()
    assert entries, "the menu is empty"
    for entry in entries:
        entry.wait_for(state="hidden")
        button.click()
        entry.click()
        done = page.wait_for_function("window.done").json_value()
        if done.startswith(page.evaluate("location.origin")):
            assert page.request.get(done).ok, f"there is no {done}"
        page.evaluate("delete window.done")


def changes_the_language(page, link) -> None:
    """To the same page in the other language, and there is a way back."""
    name = page.url.rpartition("/")[2]
    link.click()
    page.wait_for_url(f"**/zh/{name}*")
    page.locator("a.metasgd-language").first.click()
    page.wait_for_url(lambda url: "/zh/" not in url and name in url)


BUTTONS = {
    ".primary-toggle": opens_the_table_of_contents,
    ".secondary-toggle": opens_the_contents_of_the_page,
    ".theme-switch-button": changes_the_theme,
    ".search-button__button": searches,
    ".btn-fullscreen-button": fills_the_screen,
    ".dropdown-toggle": opens_a_menu,
}
if (SITE / "zh").is_dir():  # the Chinese edition has been built, too
    BUTTONS["a.metasgd-language"] = changes_the_language
# On a desktop the page's contents stand beside the text, and the search field in the other sidebar.
ONLY_ON_A_PHONE = {".secondary-toggle", ".search-button__button"}
# A page of text, and a notebook that brings scripts of its own; both have every button.
TWO_PAGES = pytest.mark.parametrize("name", ["welcome.html", "14-in-your-browser.html"])
LIGHT = pytest.mark.parametrize("visit", [(screen, "light") for screen in SCREENS], ids="-".join, indirect=True)


@LIGHT
@TWO_PAGES
def test_every_button_of_the_header_is_known(visit, name: str) -> None:
    """The test below has something to say on whatever can be clicked in the header."""
    page, _ = visit(name)
    kinds = "(button, kinds) => kinds.filter(kind => button.matches(kind)).length"
    for button in page.locator(f"{HEADER} {CONTROL}:visible").all():
        known = button.evaluate(kinds, list(BUTTONS))
        assert known == 1, f"what is this button for? {button.evaluate('e => e.outerHTML')}"


@LIGHT
@TWO_PAGES
@pytest.mark.parametrize("kind", BUTTONS)
def test_button_of_the_header_works(visit, name: str, kind: str, request: pytest.FixtureRequest) -> None:
    """Every button that the header shows, clicked, does what it is for."""
    page, problems = visit(name)
    page.set_default_timeout(10_000)
    screen = request.node.callspec.params["visit"][0]
    buttons = page.locator(f"{HEADER} {kind}:visible")
    count = buttons.count()
    assert count or (screen == "desktop" and kind in ONLY_ON_A_PHONE), "the header has no such button"
    for number in range(count):
        if number:
            visit(name)  # afresh: the button before may have led elsewhere
        BUTTONS[kind](page, buttons.nth(number))
    # A page that is left drops what it was still loading.
    assert [problem for problem in problems if not problem.startswith("request fails")] == []


# What fits: code, formulas and their marks, and everything on a very small phone.


def at_width(page, width: int) -> None:
    """Give the page another width, and wait until formulas and scripts have settled."""
    page.set_viewport_size({"width": width, "height": 800})
    page.evaluate(FORMULAS)
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


DESKTOP = pytest.mark.parametrize("visit", [("desktop", "light")], indirect=True, ids=["desktop"])
PHONE = pytest.mark.parametrize("visit", [("phone", "light")], indirect=True, ids=["phone"])
CUT_LINES = """() => [...document.querySelectorAll(".bd-article pre")]
    .filter(pre => pre.scrollWidth > pre.clientWidth)
    .map(pre => [...pre.textContent.split("\\n")].reduce((a, b) => a.length > b.length ? a : b))"""


LOST_MARKS = """() => [...document.querySelectorAll(".bd-article span.math")].filter(formula => {
    const next = formula.nextSibling;
    if (next?.nodeType !== Node.TEXT_NODE || !/^[,.;:!?)]/.test(next.data)) return false;
    const mark = document.createRange();
    mark.setStart(next, 0);
    mark.setEnd(next, 1);
    const place = mark.getBoundingClientRect();
    return place.width > 0 && place.left < formula.getBoundingClientRect().right - 1;
}).map(formula => formula.parentElement.textContent.slice(0, 80))"""


# An element that scrolls sideways, and that neither takes the focus nor lies in one that does.
OUT_OF_REACH = """() => [...document.querySelectorAll(".bd-article *")].filter(part =>
    part.checkVisibility() && part.clientWidth > 0 && part.scrollWidth > part.clientWidth + 1
    && ["auto", "scroll"].includes(getComputedStyle(part).overflowX) && !part.closest("[tabindex='0']")
).map(part => part.outerHTML.slice(0, 200))"""


def fits_on_every_screen(page) -> None:
    """Its lines of code, its marks after formulas, the Tab key's way to what scrolls, and all on a small phone."""
    at_width(page, 1280)
    assert page.evaluate(CUT_LINES) == [], "lines of code are cut off"
    at_width(page, 375)
    assert page.evaluate(LOST_MARKS) == [], "a mark stands at the start of a line after its formula"
    for _ in range(20):  # scripts look at all parts some time after a change of width
        if not page.evaluate(OUT_OF_REACH):
            break
        page.wait_for_timeout(100)
    assert page.evaluate(OUT_OF_REACH) == [], "the Tab key does not reach what scrolls sideways"
    at_width(page, 320)
    does_not_scroll_sideways(page)
    at_width(page, 1280)


@every_page_on_desktop
def test_page_fits_on_every_screen(on_desktop: Visit) -> None:
    fits_on_every_screen(on_desktop.page)


# The keyboard.


@PHONE
def test_a_wide_formula_is_a_tab_stop_and_scrolls_and_no_other_formula_is_one(visit) -> None:
    page, _ = visit("03-formulas.html")
    at_width(page, 320)
    page.wait_for_selector("mjx-container[data-scrolls]")
    stops = page.locator(".bd-article :is(.math, mjx-container)[tabindex]")
    assert stops.evaluate_all("all => all.every(stop => stop.scrollWidth > stop.clientWidth)")
    assert stops.count() < page.locator("mjx-container").count() / 4
    formula = page.locator("mjx-container[data-scrolls]").first
    assert "formula" in formula.get_attribute("aria-label")
    formula.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("formula => formula.scrollLeft > 0", arg=formula.element_handle())


@DESKTOP
def test_focus_shows_on_every_button_of_the_header(visit) -> None:
    page, _ = visit("08-mnist.html")
    page.keyboard.press("Tab")  # from here on the browser shows where the focus is
    for button in page.locator(f"{HEADER} :is(button, a, label):visible").all():
        if button.evaluate("e => e.tabIndex < 0"):
            continue
        button.focus()
        shown = button.evaluate("e => { const s = getComputedStyle(e); return [s.outlineStyle, s.outlineWidth] }")
        assert shown == ["solid", "3px"], button.evaluate("e => e.outerHTML")


def test_nothing_moves_for_readers_who_asked_for_less_motion(browser, address: str) -> None:
    context = browser.new_context(reduced_motion="reduce")
    page = context.new_page()
    page.goto(address + "03-formulas.html", wait_until="load")
    page.evaluate("document.querySelectorAll('details').forEach(box => { box.open = true })")
    moving = page.evaluate(
        """() => [...document.querySelectorAll("body *")].filter(e => {
            const style = getComputedStyle(e);
            return style.animationName !== "none" || style.transitionDuration !== "0s";
        }).map(e => e.outerHTML.slice(0, 100))"""
    )
    context.close()
    assert moving == []


@DESKTOP
def test_keys_do_what_the_welcome_page_says(visit) -> None:
    """Ctrl+K, Escape, the first Tab, Enter on a folded box, arrows on a slider."""
    page, _ = visit("welcome.html")
    said = page.locator("#keys").inner_text()
    for key in ("Tab", "Enter", "Ctrl", "K", "Esc", "arrow keys"):
        assert key in said
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to main content"
    page.keyboard.press("Control+k")
    page.locator("dialog input[name=q]:focus").wait_for()
    page.keyboard.press("Escape")
    page.locator("dialog input[name=q]").wait_for(state="hidden")
    visit("01-why-learn-to-learn.html")
    page.locator(".bd-article details summary").first.focus()
    page.keyboard.press("Enter")
    assert page.locator(".bd-article details").first.evaluate("box => box.open")
    slider = page.locator(".frames input").first
    slider.focus()
    before = page.locator(".frames output").first.inner_text()
    for key in ("ArrowRight", "ArrowLeft"):
        page.keyboard.press(key)
        if page.locator(".frames output").first.inner_text() != before:
            break
    else:
        pytest.fail("the slider does not move")


# Weight, as a server sends it, compressed.

FIRST_VISIT, NEXT_VISIT = 600_000, 150_000  # bytes
HEAVY = {
    *("14-in-your-browser.html", "zh/14-in-your-browser.html"),  # has a network, its library and examples
    "zh/search.html",  # has an index of single characters
}


def compressed(path: Path) -> int:
    """The bytes of a file as a server sends it: pictures and fonts are compressed already."""
    content = path.read_bytes()
    packed = path.suffix in (".png", ".jpg", ".woff", ".woff2", ".wasm")
    return len(content) if packed else len(gzip.compress(content))


def is_light(visit: Visit) -> None:
    """A page is, at the first visit with all that it loads, and at the next with what no other page has brought."""
    weights = {path: compressed(SITE / path) for path in visit.at_first if (SITE / path).is_file()}
    address = visit.page.url.removeprefix(visit.address)
    assert address in weights
    assert not any("fontawesome" in path and path.endswith(("woff2", "ttf")) for path in weights), "a whole icon font"
    assert f"{address.removesuffix(Path(address).name)}_static/icons-solid.woff" in weights
    if address in HEAVY:
        return
    own = {path: weight for path, weight in weights.items() if "_static/" not in path}
    assert sum(weights.values()) < FIRST_VISIT, sorted(weights.items(), key=lambda item: -item[1])[:8]
    assert sum(own.values()) < NEXT_VISIT, sorted(own.items(), key=lambda item: -item[1])[:8]


@every_page_on_desktop
def test_page_is_light(on_desktop: Visit) -> None:
    is_light(on_desktop)


# Accessibility, by axe-core. What the theme and its companions do wrong is mended, so no rule is left out.

EXTRA_RULES = {"label-content-name-mismatch": {"enabled": True}}  # which axe-core does not yet have on by default


def nothing_for_axe(visit: Visit) -> None:
    """axe-core finds nothing in the page as it is."""
    visit.page.evaluate(FORMULAS)
    assert violations(visit.page, EXTRA_RULES) == []


@every_page_on_desktop
@in_both_colours
def test_axe_finds_nothing(on_desktop: Visit, scheme: str) -> None:
    in_colours(on_desktop, scheme)
    nothing_for_axe(on_desktop)
