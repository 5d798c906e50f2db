"""Make one PDF of the built book: a cover, a table of contents with page numbers, then every chapter as it prints.

    python .ci/make_pdf.py book/_build/html meta-sgd.pdf [--language zh] [--release v1.2] [--date 2026-11-28]

The pages of the site are joined into one page, whose links lead to places in it, and Chromium prints that page. So
links and tags for screen readers are the browser's own. It prints twice, as only the first print says on
which page a chapter lies. Folded parts, solutions among them, are printed open. The API reference, the list of every
single run, and the cell that sets a chapter up in Colab are left to the website.

Needs a Chromium, fonts with the Chinese characters (`fonts-noto-cjk`), and `pip install playwright pikepdf`.
"""

import argparse
import datetime
import io
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import pikepdf
import yaml
from bs4 import BeautifulSoup, Tag
from playwright.sync_api import Browser, sync_playwright

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "google-chrome", "chromium-browser")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
STYLE = Path(__file__).with_name("make_pdf.css")
LEFT_OUT = {"api", "internals", "changelog"}  # references are a website by nature, and news come with a release
# What has no use on paper: scripts, buttons, marks for links to headings, the cell that sets a chapter up in Colab.
UNPRINTABLE = "script, noscript, button, input, a.headerlink, .tag_set-up, template"
# Hundreds of rows for those who look one up, of which the first place says where they are.
TOO_LONG = "details.metasgd-runs"
# What the tool itself says, and where the site, the table of contents and the settings of a language are.
WORDS = {
    "en": {
        "lang": "en",
        "site": "",
        "book": "",
        "contents": "Contents",
        "website": "<p><em>The website also lists every single run of every file, and when it was made.</em></p>",
        "version": "version {version}, {date}",
    },
    "zh": {
        "lang": "zh-Hans",
        "site": "zh",
        "book": "book/zh",
        "contents": "目录",
        "website": "<p>网站上还列出了每个文件的每一次运行，以及运行的时间。</p>",
        "version": "版本 {version}，{date}",
    },
}
REFERS_TO_IDS = ("for", "aria-labelledby", "aria-describedby", "aria-controls")
LONG_CELL = 15  # lines; a cell with more may be broken between pages
# The browser's own sign for a missing character looks alike for all of them.
DRAWS_APART = """([one, other]) => {
    const draw = (character) => {
        const canvas = Object.assign(document.createElement("canvas"), { width: 40, height: 40 });
        const pen = canvas.getContext("2d");
        pen.font = "30px sans-serif";
        pen.fillText(character, 2, 32);
        return canvas.toDataURL();
    };
    return draw(one) !== draw(other);
}"""
# Printing cuts off what reaches beyond the text's width.
WIDER_THAN_PAPER = """() => {
    const right = document.querySelector(".contents").getBoundingClientRect().right + 1;
    const found = [...document.querySelectorAll(".chapter *")].filter((box) => {
        const { right: end, width } = box.getBoundingClientRect();
        return width > 0 && end > right && !box.closest("mjx-assistive-mml, .visually-hidden");
    });
    const outermost = found.filter((box) => !found.includes(box.parentElement));
    return outermost.map((box) => `${box.closest(".chapter").id}: ${box.outerHTML.slice(0, 300)}`);
}"""
WIDTH = 642  # of the text on A4, in CSS pixels: 170 mm
READY = "async () => { if (window.MathJax?.startup) await MathJax.startup.promise; await document.fonts.ready }"


@dataclass
class Heading:
    """An entry of the table of contents: its depth (0: a part, 1: a chapter), its text, the id to which it leads."""

    depth: int
    text: str
    place: str


@dataclass
class Joined:
    """The book as one page of HTML, and the entries of its table of contents."""

    html: str
    headings: list[Heading]

    def with_pages(self, pages: dict[str, int]) -> str:
        """Return the page with a table of contents that says on which page each heading stands (none: left blank)."""
        lines = [
            f'<p class="depth-{heading.depth}"><a href="#{heading.place}"><span>{escape(heading.text)}</span>'
            f"<span>{pages.get(heading.place, '')}</span></a></p>"
            for heading in self.headings
        ]
        return self.html.replace("<!-- contents -->", "\n".join(lines))


def toc_parts(toc: dict[str, Any]) -> Iterator[tuple[str, list[str]]]:
    """Yield the name of each part and its pages; the first page stands in a part without a name."""
    yield "", [toc["root"]]
    for part in toc["parts"]:
        yield part["caption"], [chapter["file"] for chapter in part["chapters"] if chapter["file"] not in LEFT_OUT]


def localise(address: str, name: str, names: set[str], site: Path, website: str) -> str | None:
    """Return where a link of page ``name`` leads in the PDF.

    Args:
        address: as the page has it.
        name: the page on which the link stands, without ``.html``.
        names: the pages in the PDF.
        site: the folder of the built site.
        website: where the site is published, or "".

    Returns:
        A place in the PDF, an address elsewhere, or None if the goal is neither in the PDF nor published.
    """
    parts = urlsplit(address)
    if parts.scheme or parts.netloc:
        return address
    page = unquote(parts.path).removesuffix(".html") if parts.path else name
    if page in names:
        return f"#{page}--{unquote(parts.fragment)}" if parts.fragment else f"#{page}"
    return urljoin(website, address) if website else None


def adopt(article: Tag, name: str, names: set[str], site: Path, website: str, language: str = "en") -> None:
    """Make a page's article part of one long page: unique ids, links inside, files by full address, nothing folded."""
    for tag in article.select(UNPRINTABLE):
        tag.decompose()
    for number, tag in enumerate(article.select(TOO_LONG)):
        tag.replace_with(*[] if number else BeautifulSoup(WORDS[language]["website"], "html.parser").contents)
    for tag in article.find_all(id=True):
        tag["id"] = f"{name}--{tag['id']}"
    for attribute in REFERS_TO_IDS:
        for tag in article.find_all(attrs={attribute: True}):
            tag[attribute] = " ".join(f"{name}--{key}" for key in tag[attribute].split())
    for link in article.find_all("a", href=True):
        goal = localise(link["href"], name, names, site, website)
        if goal is None:
            link.name = "span"
            del link["href"]
        else:
            link["href"] = goal
    for tag, attribute in [("img", "src"), ("link", "href"), ("source", "srcset")]:
        for found in article.find_all(tag, attrs={attribute: True}):
            if not urlsplit(found[attribute]).scheme:
                found[attribute] = (site / unquote(urlsplit(found[attribute]).path)).resolve().as_uri()
            found.attrs.pop("loading", None)  # one that is loaded when it is scrolled to would miss in print
    for fold in article.find_all("details"):
        summary = fold.find("summary", recursive=False)
        if "hide" in fold.get("class", []):  # the code of a cell needs no heading that says so
            if summary:
                summary.decompose()
            fold["class"] = ["opened-code"]
        elif summary:
            summary.name = "p"
            summary["class"] = ["opened-title"]
            fold["class"] = [*fold.get("class", []), "opened"]
        fold.name = "div"
        fold.attrs.pop("open", None)
    for box in article.select("div.cell_input, div.cell_output"):
        if box.get_text().count("\n") > LONG_CELL:
            box["class"] = [*box.get("class", []), "long"]


def shift_headings(article: Tag, by: int) -> None:
    """Lower the headings of an article, as a chapter stands below its part; ``level-1`` remembers what was an h1."""
    for tag in article.find_all(re.compile("^h[1-6]$")):
        level = int(tag.name[1])
        tag["class"] = [*tag.get("class", []), f"level-{level}"]
        tag.name = f"h{min(6, level + by)}"


def words(tag: Tag) -> str:
    """Return the text of a heading on one line."""
    return " ".join(tag.get_text().split())


def join_pages(site: Path, toc: dict[str, Any], cover: str, language: str = "en") -> Joined:
    """Join the pages of the table of contents, in its order, after a cover.

    Args:
        site: the folder of the built site.
        toc: as ``_toc.yml`` has it.
        cover: HTML of the first page.
        language: of the book, "en" or "zh".
    """
    parts = list(toc_parts(toc))
    names = {name for _, pages in parts for name in pages}
    first = BeautifulSoup((site / f"{toc['root']}.html").read_text(encoding="utf-8"), "html.parser")
    canonical = first.find("link", rel="canonical")
    website = canonical["href"] if canonical else ""
    headings, chapters, rules = [], [], []
    for caption, pages in parts:
        for number, name in enumerate(pages):
            soup = BeautifulSoup((site / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
            article = soup.find("article")
            adopt(article, name, names, site, website, language)
            title = article.find("h1")
            for heading in article.find_all(["h1", "h2"]):
                section = heading.find_parent("section")
                place = name if heading is title or section is None else section["id"]
                if heading is title and caption and number == 0:
                    headings.append(Heading(0, caption, name))
                headings.append(Heading(int(heading.name[1]), words(heading), place))
            shift_headings(article, by=1 if caption else 0)
            part = f'<h1 class="part">{escape(caption)}</h1>' if caption and number == 0 else ""
            chapters.append(
                f'<div class="chapter" id="{name}" style="page: {page_name(name)}">{part}{article}</div>'
            )  # fmt: skip
            rules.append(f"@page {page_name(name)} {{ @top-right {{ content: {css_string(words(title))} }} }}")
    html = PAGE.format(
        language=WORDS[language]["lang"],
        contents=WORDS[language]["contents"],
        head=head_of(first, site),
        style=STYLE.read_text(encoding="utf-8") + "\n".join(rules),
        cover=cover,
        chapters="\n".join(chapters),
    )
    return Joined(html, headings)


PAGE = """<!doctype html>
<html lang="{language}" data-theme="light" data-mode="light">
<head>{head}<style>{style}</style></head>
<body>
<div class="cover">{cover}</div>
<div class="contents" id="contents"><h1>{contents}</h1>
<!-- contents -->
</div>
<div class="bd-content"><div class="bd-article-container">
{chapters}
</div></div>
</body></html>
"""


def page_name(name: str) -> str:
    """Return a page's name as CSS accepts it."""
    return "page-" + re.sub(r"\W", "-", name)


def css_string(text: str) -> str:
    """Return a text as a string of CSS."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def head_of(page: BeautifulSoup, site: Path) -> str:
    """Return what the joined page needs of a page's head: its styles, and MathJax with its settings."""
    kept = ['<meta charset="utf-8">']
    for tag in page.head.find_all(["link", "script"]):
        source = tag.get("href") if tag.name == "link" else tag.get("src")
        is_style = tag.name == "link" and "stylesheet" in tag.get("rel", [])
        is_formulas = tag.name == "script" and ("mathjax" in (source or "").lower() or "MathJax" in tag.get_text())
        if not is_style and not is_formulas:
            continue
        if source and not urlsplit(source).scheme:
            tag["href" if is_style else "src"] = (site / urlsplit(source).path).resolve().as_uri()
        kept.append(str(tag))
    return "\n".join(kept)


def cover_page(site: Path, facts: dict[str, str]) -> str:
    """Return the HTML of the cover: title, what the book is about, authors, licence, version and date."""
    picture = site / "_static" / "headline.svg"
    image = f'<img src="{picture.resolve().as_uri()}" alt="">' if picture.is_file() else ""
    lines = [facts["author"], facts["copyright"], facts["imprint"]]
    below = "".join(f"<p>{escape(line)}</p>" for line in lines)
    return (
        f'<p class="title">{escape(facts["title"])}</p><p class="subtitle">{escape(facts["subtitle"])}</p>'
        f'{image}<div class="imprint">{below}</div>'
    )


def place_pages(pdf: pikepdf.Pdf) -> dict[str, int]:
    """Return the page, counted from 1, of every place in a PDF to which a link leads."""
    numbers = {page.objgen: number for number, page in enumerate(pdf.pages, 1)}
    places = pdf.Root.get("/Dests", {})  # [page, /XYZ, left, top, zoom]
    return {unquote(name.removeprefix("/")): numbers[place[0].objgen] for name, place in places.items()}


def print_page(browser: Browser, html: str) -> bytes:
    """Print a page of HTML as a PDF, in the size that its style names, when its formulas and fonts are there."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "book.html"
        path.write_text(html, encoding="utf-8")
        viewport = {"width": WIDTH, "height": 900}
        context = browser.new_context(color_scheme="light", reduced_motion="reduce", viewport=viewport)
        page = context.new_page()
        page.set_default_timeout(600_000)
        page.goto(path.as_uri(), wait_until="load")
        page.emulate_media(media="print")
        page.evaluate(READY)
        for box in page.evaluate(WIDER_THAN_PAPER):
            print(f"WARNING: wider than the paper: {box}", file=sys.stderr)
        if re.search("[\u4e00-\u9fff]", html) and not page.evaluate(DRAWS_APART, ["学", "习"]):
            print("WARNING: no font here has Chinese characters, which print as empty boxes; install fonts-noto-cjk",
                  file=sys.stderr)  # fmt: skip
        printed: bytes = page.pdf(prefer_css_page_size=True, print_background=True, tagged=True)
        context.close()
    return printed


def print_book(joined: Joined) -> bytes:
    """Print the joined page with the right page numbers in its table of contents."""
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        raise SystemExit(f"no browser was found; install one of {', '.join(BROWSERS)}")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path, args=QUIET)
        blank = {heading.place: 888 for heading in joined.headings}  # as wide as the numbers to come
        pages = place_pages(pikepdf.open(io.BytesIO(print_page(browser, joined.with_pages(blank)))))
        printed = print_page(browser, joined.with_pages(pages))
        browser.close()
    if place_pages(pikepdf.open(io.BytesIO(printed))) != pages:
        raise SystemExit("the second print has its headings on other pages than the first")
    return printed


def write_bookmarks(pdf: pikepdf.Pdf, headings: list[Heading]) -> None:
    """Give a PDF a bookmark for every heading; those of chapters stand below their part."""
    places = {unquote(name.removeprefix("/")): place for name, place in pdf.Root.Dests.items()}
    with pdf.open_outline() as outline:
        above = {-1: outline.root}  # by depth, where the headings below go
        for heading in headings:
            parent = above[max(depth for depth in above if depth < heading.depth)]
            item = pikepdf.OutlineItem(heading.text, places[heading.place])
            item.is_closed = heading.depth > 0
            parent.append(item)
            above = {depth: items for depth, items in above.items() if depth < heading.depth}
            above[heading.depth] = item.children


def finish(printed: bytes, target: Path, joined: Joined, facts: dict[str, str]) -> int:
    """Write the PDF with its bookmarks, title, authors and version, packed, and return the number of its pages."""
    pikepdf.settings.set_flate_compression_level(9)  # the smallest
    with pikepdf.open(io.BytesIO(printed)) as pdf:
        write_bookmarks(pdf, joined.headings)
        with pdf.open_metadata() as metadata:
            metadata["dc:title"] = f"{facts['title']}: {facts['subtitle']}"
            metadata["dc:creator"] = [facts["author"]]
            metadata["dc:language"] = [str(pdf.Root.get("/Lang", "en"))]
            metadata["dc:rights"] = facts["copyright"]
            metadata["dc:description"] = facts["imprint"]
            metadata["xmp:CreatorTool"] = "Jupyter Book and Chromium"
        pdf.Root.ViewerPreferences = pikepdf.Dictionary(DisplayDocTitle=True)
        pdf.Root.PageMode = pikepdf.Name.UseOutlines  # a viewer shows the bookmarks
        pdf.save(target, object_stream_mode=pikepdf.ObjectStreamMode.generate, recompress_flate=True)
        return len(pdf.pages)


def book_facts(site: Path, toc: dict[str, Any], release: str, date: str, language: str = "en") -> dict[str, str]:
    """Return what the cover says: of ``_config.yml``, and of the title of the first page."""
    config = yaml.safe_load((ROOT / WORDS[language]["book"] / "_config.yml").read_text(encoding="utf-8"))
    first = BeautifulSoup((site / f"{toc['root']}.html").read_text(encoding="utf-8"), "html.parser")
    for mark in first.select("a.headerlink"):
        mark.decompose()
    subtitle = words(first.find("article").find("h1")).removeprefix(config["title"]).lstrip(":： ")
    names = ("title", "author", "copyright")
    imprint = WORDS[language]["version"].format(version=release, date=date)
    return {name: config[name] for name in names} | {"subtitle": subtitle, "imprint": imprint}


def main() -> None:
    """Read the command line and make the PDF."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=Path, help="the folder of the built site, with all its languages")
    parser.add_argument("target", type=Path, help="the PDF to write")
    parser.add_argument("--language", default="en", choices=WORDS, help="of the book (default: en)")
    parser.add_argument("--release", default="", help="on the cover (default: the version of the package)")
    parser.add_argument("--date", default=datetime.date.today().isoformat(), help="on the cover (default: today)")
    options = parser.parse_args()
    version = re.search('__version__ = "(.*)"', (ROOT / "metasgd/_core/version.py").read_text(encoding="utf-8"))[1]
    language = WORDS[options.language]
    toc = yaml.safe_load((ROOT / language["book"] / "_toc.yml").read_text(encoding="utf-8"))
    site = options.site / language["site"]
    facts = book_facts(site, toc, options.release or version, options.date, options.language)
    joined = join_pages(site, toc, cover_page(site, facts), options.language)
    pages = finish(print_book(joined), options.target, joined, facts)
    print(f"{options.target}: {pages} pages, {options.target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
