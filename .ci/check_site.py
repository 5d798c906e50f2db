"""Check a built book: every page of the table of contents is there, and nothing on it is broken.

python .ci/check_site.py book/_build/html
"""

import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[1]


def toc_pages() -> list[str]:
    """Return the names of all pages in the table of contents."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    return [toc["root"]] + [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]


def problems(site: Path) -> list[str]:
    """Return one line for every missing page, failed cell, warning, undescribed picture and dead internal link."""
    names = toc_pages()
    found = [f"{name}: the page is missing" for name in names if not (site / f"{name}.html").is_file()]
    if found:
        return found
    pages = {path.name: BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser") for path in site.glob("*.html")}
    anchors = {name: {tag["id"] for tag in page.find_all(id=True)} for name, page in pages.items()}
    for name in names:
        page = pages[f"{name}.html"]
        article = page.find("article")
        if (ROOT / "book" / f"{name}.ipynb").is_file() and not article.select(".cell_output"):
            found.append(f"{name}: no cell has an output")
        found += [f"{name}: a cell failed: {tag.text.strip()}" for tag in article.select(".traceback")]
        for tag in article.select(".stderr"):
            if "Warning" in tag.text:
                found.append(f"{name}: a cell warned: {tag.text.strip()}")
        for image in article.find_all("img"):
            if not image.get("alt", "").strip() or image["alt"].startswith("_images/"):
                found.append(f"{name}: a picture without a description: {image['src']}")
            if not urlsplit(image["src"]).scheme and not (site / image["src"]).is_file():
                found.append(f"{name}: a missing picture: {image['src']}")
        for link in page.find_all("a", href=True):
            target = urlsplit(link["href"])
            if target.scheme or target.netloc:
                continue
            file, anchor = unquote(target.path) or f"{name}.html", unquote(target.fragment)
            if not (site / file).is_file() or (anchor and anchor not in anchors.get(file, {anchor})):
                found.append(f"{name}: a dead link: {link['href']}")
    return found


if __name__ == "__main__":
    lines = problems(Path(sys.argv[1]))
    print(*lines, sep="\n", file=sys.stderr)
    print(f"{len(toc_pages())} pages checked, {len(lines)} problems")
    sys.exit(bool(lines))
