"""The built book in a browser, with the network off: every page, on a desktop and on a phone, light and dark.

Skipped where the book has not been built or no Chromium is installed; `.ci/run` builds it and then runs this file.
"""

import pytest

from tests.book.notebooks import BOOK

SITE = SERVED = BOOK / "_build" / "html"
PAGES = sorted({path.name for path in SITE.glob("*.html")} - {"index.html"})  # which leads to the first page
SCREENS = {"desktop": (1280, 900), "phone": (375, 812)}

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
def test_address_of_the_site_leads_to_the_first_page(visit) -> None:
    page, problems = visit("index.html")
    page.wait_for_url("**/welcome.html")
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
