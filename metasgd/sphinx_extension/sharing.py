"""What search engines, messengers and visitors with a wrong address see of the book.

Full addresses need that of the site, ``html_baseurl``, which the publishing workflow writes into ``_config.yml``.
"""

import html
import re
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

from metasgd.sphinx_extension.translation import original_folder
from metasgd.sphinx_extension.words import language_of, say

PREVIEW_IMAGES = {"en": "_static/preview.png", "zh": "_static/preview-zh.png"}  # in the preview of a link to the book
PREVIEW_SIZE = (1200, 630)  # pixels
LOGOS = {"image_light": "_static/logo.svg", "image_dark": "_static/logo-dark.svg"}
NOT_FOUND = "404"  # the page that GitHub Pages shows for an address that it does not know
NOT_FOUND_TEXT = "<section><h1>{title}</h1>\n<p>{text}</p></section>"
NOT_INDEXED = ("search", "genindex", "py-modindex", NOT_FOUND)


def connect(app: Sphinx) -> None:
    """Connect the functions of this module to Sphinx's events."""
    app.connect("config-inited", add_logo)
    app.connect("html-page-context", add_description)
    app.connect("html-collect-pages", not_found_page)
    # sphinx_external_toc writes an index.html that leads to the first page, if there is none.
    app.connect("build-finished", write_index, priority=900)
    app.connect("build-finished", write_site_map, priority=900)


def add_logo(app: Sphinx, config: Any) -> None:
    """Show the logo beside the title, where the book has one."""
    folder = original_folder(app) or Path(app.srcdir)
    if all((folder / file).is_file() for file in LOGOS.values()):
        config.html_theme_options["logo"] = LOGOS | {"text": config.html_title, "alt_text": ""}


def site_address(app: Sphinx) -> str:
    """Return the address of the site with a slash at its end, or nothing where it is not known."""
    address = str(app.config.html_baseurl or "")
    return address.rstrip("/") + "/" if address else ""


def page_address(app: Sphinx, page: str) -> str:
    """Return the one full address of a page: that of the first page is the address of the site."""
    return site_address(app) + ("" if page == app.config.root_doc else app.builder.get_target_uri(page))


def description(tree: nodes.document) -> str:
    """Return the beginning of a page's first paragraph, without formulas' signs and citations."""
    paragraphs = (node.astext() for node in tree.findall(nodes.paragraph) if "reading-aid" not in node["classes"])
    first = next((text for text in paragraphs if text.strip()), "")
    return textwrap.shorten(re.sub(r" ?\[\d+\]|[\\${}]", "", first), 200, placeholder=" ...")


def add_description(
    app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None
) -> None:
    """Add tags to a page with its description and its preview, for search engines and messengers.

    A preview's picture and the page's one address need the address of the site.
    """
    tags = []
    if page in NOT_INDEXED:
        tags.append('<meta name="robots" content="noindex" />')
    if page == NOT_FOUND and site_address(app):  # it is shown at any address, also in a folder that does not exist
        tags.append(f'<base href="{html.escape(site_address(app))}" />')
    if tree is None:  # a page without a source, such as the index or the search
        context["metatags"] = context.get("metatags", "") + "\n".join(tags)
        return
    summary, title = description(tree), re.sub("<[^>]*>", "", context["title"])
    properties = {
        "og:type": "website" if page == app.config.root_doc else "article",
        "og:site_name": app.config.html_title,
        "og:title": html.unescape(title),
        "og:description": summary,
    }
    names = {"description": summary, "twitter:card": "summary"}
    if site_address(app):
        context["pageurl"] = page_address(app, page)  # the theme writes it as rel="canonical"
        properties |= {
            "og:url": page_address(app, page),
            "og:image": site_address(app) + PREVIEW_IMAGES[language_of(app)],
            "og:image:width": str(PREVIEW_SIZE[0]),
            "og:image:height": str(PREVIEW_SIZE[1]),
            "og:image:alt": say(app, "preview"),
        }
        names["twitter:card"] = "summary_large_image"
    tags += [f'<meta name="{name}" content="{html.escape(value)}" />' for name, value in names.items()]
    tags += [f'<meta property="{name}" content="{html.escape(value)}" />' for name, value in properties.items()]
    context["metatags"] = context.get("metatags", "") + "\n".join(tags)


def not_found_page(app: Sphinx) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield the page for wrong addresses, which looks like the others."""
    root = app.builder.get_target_uri(app.config.root_doc)
    title, text = say(app, "not found"), say(app, "not found text", root=site_address(app) or root)
    yield NOT_FOUND, {"title": title, "body": NOT_FOUND_TEXT.format(title=title, text=text)}, "page.html"


def write_index(app: Sphinx, exception: Exception | None) -> None:
    """Let the address of the site show the first page itself, with its title and preview, and not lead there."""
    first = Path(app.outdir, f"{app.config.root_doc}.html")
    if exception is None and app.builder.format == "html" and app.config.root_doc != "index" and first.is_file():
        shutil.copyfile(first, Path(app.outdir, "index.html"))


def write_site_map(app: Sphinx, exception: Exception | None) -> None:
    """Write ``robots.txt``, and ``sitemap.xml`` with the addresses of all pages where that of the site is known."""
    if exception is not None or app.builder.name not in ("html", "dirhtml"):
        return
    robots = "User-agent: *\nAllow: /\n"
    if site_address(app):
        addresses = sorted(page_address(app, page) for page in app.env.found_docs)
        entries = "".join(f"  <url><loc>{html.escape(address)}</loc></url>\n" for address in addresses)
        head = '<?xml version="1.0" encoding="utf-8"?>\n<urlset xmlns="http://www.sitemaps.org/schemas/sitemap/0.9">\n'
        Path(app.outdir, "sitemap.xml").write_text(f"{head}{entries}</urlset>\n", encoding="utf-8")
        robots += f"Sitemap: {site_address(app)}sitemap.xml\n"
    Path(app.outdir, "robots.txt").write_text(robots, encoding="utf-8")
