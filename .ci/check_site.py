"""Check a built book in both languages: every page of the tables of contents is there, and nothing on it is broken.

python .ci/check_site.py book/_build/html
"""

import posixpath
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).resolve().parents[1]


EDITIONS = {"": "_toc.yml", "zh/": "book/zh/_toc.yml"}  # the folder on the site, and the table of contents


def toc_pages() -> list[str]:
    """Return the names of all pages in the tables of contents, those of the Chinese edition with its folder."""
    names = []
    for folder, file in EDITIONS.items():
        toc = yaml.safe_load((ROOT / file).read_text(encoding="utf-8"))
        pages = [toc["root"]] + [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
        names += [folder + page for page in pages]
    return names


def problems(site: Path) -> list[str]:
    """Return one line for every missing page, failed cell, warning, undescribed picture and dead internal link."""
    names = toc_pages()
    found = [f"{name}: the page is missing" for name in names if not (site / f"{name}.html").is_file()]
    if found:
        return found
    pages = {
        path.relative_to(site).as_posix(): BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")
        for folder in EDITIONS
        for path in (site / folder).glob("*.html")
    }
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
            if not urlsplit(image["src"]).scheme and not (site / name).parent.joinpath(image["src"]).is_file():
                found.append(f"{name}: a missing picture: {image['src']}")
        for link in page.find_all("a", href=True):
            target = urlsplit(link["href"])
            if target.scheme or target.netloc:
                continue
            anchor, file = unquote(target.fragment), f"{name}.html"
            if target.path:
                file = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(target.path)))
            if not (site / file).is_file() or (anchor and anchor not in anchors.get(file, {anchor})):
                found.append(f"{name}: a dead link: {link['href']}")
    return found


if __name__ == "__main__":
    lines = problems(Path(sys.argv[1]))
    print(*lines, sep="\n", file=sys.stderr)
    print(f"{len(toc_pages())} pages checked, {len(lines)} problems")
    sys.exit(bool(lines))
