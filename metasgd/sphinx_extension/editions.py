"""Two editions of the book on one site: the translation in a folder of its own, a switch in the header of every page.

Whichever is built last puts both together: the translated site is copied into the folder ``zh`` of the English one,
and each page that is there in both languages gets a link to the other. A page in one language has none.
"""

import html
import re
import shutil
from pathlib import Path
from typing import NamedTuple

from sphinx.application import Sphinx

from metasgd.sphinx_extension.sharing import NOT_FOUND
from metasgd.sphinx_extension.translation import original_folder
from metasgd.sphinx_extension.words import LANGUAGES

TRANSLATION = "zh"  # the folder of the translation, beside the English pages and on the site
SITE = Path("_build", "html")  # of a book, as Jupyter Book has it
SWITCH = re.compile(r'<a class="[^"]*metasgd-language.*?</a>|<link rel="alternate" hreflang[^>]*>\n?', re.DOTALL)
BUTTONS = '<div class="article-header-buttons">'
CANONICAL = re.compile(r'<link rel="canonical" href="([^"]*)"')


class Edition(NamedTuple):
    """How an edition is named in the switch that leads to it."""

    language: str
    name: str
    label: str


ENGLISH = Edition(LANGUAGES["en"], "English", "English: this page in English")
CHINESE = Edition(LANGUAGES["zh"], "中文", "中文：本页的中文版")


def connect(app: Sphinx) -> None:
    """Connect the functions of this module to Sphinx's events."""
    app.connect("build-finished", join_editions, priority=950)  # when index.html and the map of the site are there


def join_editions(app: Sphinx, exception: Exception | None) -> None:
    """Put both editions together when one has been built and the other is there."""
    if exception is not None or app.builder.name != "html":
        return
    english = original_folder(app) or Path(app.srcdir)
    translated = english / TRANSLATION / SITE
    is_one_of_both = Path(app.outdir).resolve() in (translated.resolve(), (english / SITE).resolve())
    if is_one_of_both and (english / SITE).is_dir() and translated.is_dir():
        join(english / SITE, translated)


def join(site: Path, translated: Path) -> None:
    """Copy a translated site into the folder ``zh`` of the English site, and link each page with its counterpart.

    Args:
        site: of the English edition, whose pages are changed.
        translated: which stays as it is.
    """
    target = site / TRANSLATION
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(translated, target, ignore=shutil.ignore_patterns(".buildinfo", "reports", "robots.txt"))
    for path in sorted(site.glob("*.html")):
        counterpart = target / path.name
        is_there = counterpart.is_file() and path.stem != NOT_FOUND  # which is shown at any address
        texts = [one.read_text(encoding="utf-8") for one in ((path, counterpart) if is_there else (path,))]
        addresses = [found[1] if (found := CANONICAL.search(text)) else "" for text in texts]
        path.write_text(
            linked(texts[0], CHINESE, f"{TRANSLATION}/{path.name}", addresses)
            if is_there
            else SWITCH.sub("", texts[0]),
            encoding="utf-8",
        )
        if is_there:
            counterpart.write_text(linked(texts[1], ENGLISH, f"../{path.name}", addresses), encoding="utf-8")
    name_both_maps(site)


def linked(page: str, other: Edition, address: str, addresses: list[str]) -> str:
    """Return a page with a link to its counterpart in the header, and the addresses of both for search engines.

    Args:
        page: as HTML.
        other: the edition to which the link leads.
        address: of the counterpart, relative to the page.
        addresses: the full ones of the English and the Chinese page, or nothing where they are not known.
    """
    page = SWITCH.sub("", page)
    switch = (
        f'<a class="btn btn-sm metasgd-language" href="{html.escape(address)}" lang="{other.language}" '
        f'rel="alternate" hreflang="{other.language}" '
        f'aria-label="{other.label}" title="{other.label}">{other.name}</a>'
    )
    page = page.replace(BUTTONS, f"{BUTTONS}\n{switch}", 1)
    if all(addresses):
        alternates = "".join(
            f'<link rel="alternate" hreflang="{language}" href="{html.escape(one)}" />\n'
            for language, one in zip(LANGUAGES.values(), addresses, strict=True)
        )
        page = page.replace("</head>", f"{alternates}</head>", 1)
    return page


def name_both_maps(site: Path) -> None:
    """Let ``robots.txt`` name the map of the translated site, too, where the address of the site is known."""
    robots = site / "robots.txt"
    if robots.is_file() and (site / TRANSLATION / "sitemap.xml").is_file():
        text = robots.read_text(encoding="utf-8")
        line = re.search(r"^Sitemap: (.*/)sitemap\.xml$", text, re.MULTILINE)
        if line and f"{line[1]}{TRANSLATION}/" not in text:
            robots.write_text(f"{text}Sitemap: {line[1]}{TRANSLATION}/sitemap.xml\n", encoding="utf-8")
