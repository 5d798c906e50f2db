"""Make one PDF of the built book, by the browser: each page as it prints, with bookmarks.

    python .github/pdf.py book/_build/html meta-sgd.pdf

Needs a Chromium and `pip install playwright pypdf`. Folded parts, solutions among them, are printed open.
"""

import io
import shutil
import sys
from pathlib import Path

import yaml
from playwright.sync_api import sync_playwright
from pypdf import PdfReader, PdfWriter

ROOT = Path(__file__).resolve().parents[1]
BROWSERS = ("chromium", "google-chrome", "chromium-browser")
OPEN = "document.querySelectorAll('details').forEach(e => { e.open = true })"
OPEN += "; document.querySelectorAll('.toggle-hidden').forEach(e => e.classList.remove('toggle-hidden'))"
READY = "async () => { if (window.MathJax?.startup) await MathJax.startup.promise; await document.fonts.ready }"


def make_pdf(site: Path, target: Path) -> None:
    """Print the pages of the table of contents, in its order, and join them."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    browser_path = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser_path is None:
        raise SystemExit(f"no browser was found; install one of {', '.join(BROWSERS)}")
    writer = PdfWriter()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=browser_path, args=["--no-sandbox"])
        page = browser.new_page(color_scheme="light")

        def add(name: str, parent: object = None) -> None:
            page.goto((site / f"{name}.html").resolve().as_uri())
            page.evaluate(READY)
            page.evaluate(OPEN)
            margin = dict.fromkeys(("top", "bottom", "left", "right"), "18mm")
            printed = page.pdf(format="A4", margin=margin, print_background=True, scale=0.75)
            first = len(writer.pages)
            writer.append(io.BytesIO(printed), import_outline=False)
            title = page.locator("article h1").first.inner_text().rstrip("#").strip()
            writer.add_outline_item(title=title, page_number=first, parent=parent)

        add(toc["root"])
        for part in toc["parts"]:
            heading = writer.add_outline_item(title=part["caption"], page_number=len(writer.pages) - 1)
            for chapter in part["chapters"]:
                add(chapter["file"], heading)
        browser.close()
    writer.compress_identical_objects()
    writer.add_metadata({"/Title": "Meta-SGD"})
    writer.write(target)
    print(f"{target}: {len(PdfReader(target).pages)} pages, {target.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    make_pdf(Path(sys.argv[1]), Path(sys.argv[2]))
