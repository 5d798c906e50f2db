"""The built book in a browser, with the network off: every page, on a desktop and on a phone, light and dark.

Skipped where the book has not been built or no Chromium is installed; `.ci/run` builds it and then runs this file.
"""

import pytest

from tests.book.notebooks import BOOK

SITE = SERVED = BOOK / "_build" / "html"
PAGES = sorted({path.name for path in SITE.glob("*.html")} - {"index.html"})  # a copy of the first page
SCREENS = {"desktop": (1280, 900), "phone": (375, 812)}
CONTROL = ":is(a, button, input, label, select, summary, [onclick], [role=button], [tabindex])"  # can be clicked
HEADER = ":is(header, .bd-header, .bd-header-article)"

pytestmark = pytest.mark.skipif(not PAGES, reason="the book has not been built: jupyter-book build book/")


@pytest.fixture(params=[(screen, scheme) for screen in SCREENS for scheme in ("light", "dark")], ids="-".join)
def visit(request: pytest.FixtureRequest, browser, address: str):
    """Open a page on one screen, and return it with everything that went wrong on it."""
    screen, scheme = request.param
    width, height = SCREENS[screen]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    problems: list[str] = []

    def only_this_site(route) -> None:
        if route.request.url.startswith((address, "data:", "blob:")):
            route.continue_()
        else:
            problems.append(f"asks another server: {route.request.url}")
            route.abort()

    context.route("**/*", only_this_site)
    page = context.new_page()
    page.on("pageerror", lambda error: problems.append(f"a script fails: {error}"))
    page.on("console", lambda line: problems.append(f"console: {line.text}") if line.type == "error" else None)
    page.on("response", lambda r: problems.append(f"status {r.status}: {r.url}") if r.status >= 400 else None)
    page.on("requestfailed", lambda r: problems.append(f"request fails: {r.url}"))

    def opened(name: str):
        page.goto(address + name, wait_until="load")
        return page, problems

    yield opened
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_page_works_alone(visit, name: str) -> None:
    """No error, no request that fails or leaves the site, every formula set, nothing wider than the screen."""
    page, problems = visit(name)
    page.evaluate("async () => { if (window.MathJax?.startup) await MathJax.startup.promise }")
    raw = page.eval_on_selector_all(".math", "all => all.filter(e => !e.querySelector('mjx-container')).length")
    assert raw == 0, f"{raw} formulas are not set"
    assert page.locator("mjx-merror").count() == 0
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"the page scrolls sideways, by {wide} pixels"
    assert problems == []


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


BUTTONS = {
    ".primary-toggle": opens_the_table_of_contents,
    ".secondary-toggle": opens_the_contents_of_the_page,
    ".theme-switch-button": changes_the_theme,
    ".search-button__button": searches,
    ".btn-fullscreen-button": fills_the_screen,
    ".dropdown-toggle": opens_a_menu,
}
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
