"""What tests of pages in a browser share: a chapter's interactive elements as a page, and what every page must hold.

Such a page is the chapter's own HTML and the files that ship with the book, without the rest of the site.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest

from tests.book.notebooks import cells, path_of

LIMIT = 60_000  # milliseconds after which a test gives up waiting: far more than a page needs on a busy machine
# Those of what is not drawn, such as the inside of a folded box, would never end.
AFTER_TRANSITIONS = """() => Promise.all(document.getAnimations()
    .filter((one) => one instanceof CSSTransition && one.effect.target.checkVisibility())
    .map((one) => one.finished.catch(() => null))).then(() => null)"""
# The colours of the book's theme, light and dark.
THEME = """
html { --pst-color-text-base: #323232; --pst-color-background: #fff; --pst-color-surface: #f3f4f5;
  --pst-color-border: #d1d5da }
html[data-theme=dark] { --pst-color-text-base: #ced6dd; --pst-color-background: #14181e;
  --pst-color-surface: #29313d; --pst-color-border: #48566b }
html { background: var(--pst-color-background); color: var(--pst-color-text-base) }
"""


def elements(chapter: int) -> list[str]:
    """Return the parts of a chapter that are HTML, in their order."""
    text = "\n".join(cell.source for cell in cells(path_of(chapter).stem))
    return re.findall(r"^```\{raw\} html\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def page_of(*parts: str, language: str = "en", theme: str = "light") -> str:
    """Return parts that are HTML as one page, in a language and in the colours of the book's theme."""
    head = (
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width"><link rel="icon" href="data:,">'
        f"<title>page</title><style>{THEME}</style>"
    )
    root = f'<html lang="{language}" data-theme="{theme}">'
    body = "".join(parts)
    return f"<!doctype html>{root}<head>{head}</head><body><main><h1>page</h1>{body}</main></body></html>"


@contextmanager
def visits(browser, address: str) -> Iterator[Callable[..., Any]]:
    """Give a function that opens a page; whatever fails on one, or asks another server, fails the test in the end.

    The function takes the parts of the page that are HTML, and returns its tab. Its other arguments are:

    - ``ending``: of the page's address, from a question mark or a hash on;
    - ``language``, ``theme``: as in ``page_of``;
    - ``width``, ``height``: of the screen, in pixels;
    - ``before``: a script that runs before those of the page;
    - ``prepare``: a function that is told the browser's context before there is a tab in it;
    - ``expected``: a part of the errors that are meant to be on the console;
    - any option of the context.
    """
    opened, problems = [], []

    def open_tab(
        *parts: str,
        ending: str = "",
        language: str = "en",
        theme: str = "light",
        width: int = 1000,
        height: int = 1000,
        before: str = "",
        prepare: Callable[[Any], object] | None = None,
        expected: str | None = None,
        **options: Any,
    ) -> Any:
        html = page_of(*parts, language=language, theme=theme)
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        opened.append(context)
        if before:
            context.add_init_script(before)
        if prepare:
            prepare(context)
        tab = context.new_page()
        tab.set_default_timeout(LIMIT)
        tab.route("**/page.html*", lambda route: route.fulfill(body=html, content_type="text/html; charset=utf-8"))
        tab.on("request", lambda one: None if own(one.url) else problems.append(f"asks another server: {one.url}"))
        tab.on("pageerror", lambda error: problems.append(f"a script fails: {error}"))
        tab.on("console", lambda line: problems.append(line.text) if is_problem(line, expected) else None)
        tab.goto(address + "page.html" + ending)
        return tab

    def own(url: str) -> bool:
        return url.startswith((address, "data:", "blob:", "about:"))

    def is_problem(line: Any, expected: str | None) -> bool:
        return line.type == "error" and (expected is None or expected not in line.text)

    yield open_tab
    for context in opened:
        context.close()
    assert problems == []


def middle(part) -> tuple[float, float]:
    """Return where the middle of an element is on the screen."""
    box = part.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def swipe(tab, *places: tuple[float, float]) -> None:
    """Put a finger on the first of some places, move it over the others, and lift it, as on a phone."""
    session = tab.context.new_cdp_session(tab)
    kinds = ["touchStart", *["touchMove"] * (len(places) - 1)]
    for kind, (x, y) in zip(kinds, places, strict=True):
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y}]})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})


def violations(tab, rules: Mapping[str, Any] | None = None) -> list[tuple[str, list[Any]]]:
    """Return the rules of axe-core that a page breaks, each with three elements that do; skip where there is no axe.

    ``rules`` are axe-core's settings of single rules.
    """
    axe = pytest.importorskip("axe_playwright_python.base", reason="axe-playwright-python is not installed")
    tab.evaluate(AFTER_TRANSITIONS)  # colours on their way to those of a dark page have too little contrast
    tab.evaluate(axe.AXE_FILE_PATH.read_text(encoding="utf-8"))
    found = tab.evaluate("rules => axe.run(document, { rules, resultTypes: ['violations'] })", dict(rules or {}))
    assert found["testEngine"]["name"] == "axe-core"
    return [(one["id"], [node["target"] for node in one["nodes"]][:3]) for one in found["violations"]]


def same_words(tab, table: str) -> dict[str, dict[str, str]]:
    """Hold that a table of words says the same in both languages, with the same values to fill in, and return it."""
    words = tab.evaluate(table)
    english, chinese = (
        {key: sorted(re.findall(r"\{\w+\}", text)) for key, text in words[language].items()}
        for language in ("en", "zh")
    )
    assert english == chinese
    assert len(words) == 2
    return words
