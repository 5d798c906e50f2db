"""What search engines and messengers are told of each page."""

import xml.etree.ElementTree as xml

import pytest
from bs4 import BeautifulSoup
from PIL import Image

from metasgd.sphinx_extension.sharing import LOGOS, PREVIEW_IMAGES, PREVIEW_SIZE
from tests.book.notebooks import BOOK
from tests.sphinx_extension.conftest import ADDRESS

PAGES = {
    "first.md": "# Learn to learn\n\nA *first* paragraph [1] with $x$.\n\n```{toctree}\nother\n```\n",
    "other.md": "# Another\n\nMore.\n",
}


def tags(page: BeautifulSoup) -> dict[str, str]:
    found = {tag.get("name") or tag.get("property"): tag["content"] for tag in page.find_all("meta", content=True)}
    canonical = page.find("link", rel="canonical")
    return found | ({"canonical": canonical["href"]} if canonical else {})


def read(path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


def test_every_page_says_what_a_preview_needs(build) -> None:
    site = build(PAGES, html_baseurl=ADDRESS)
    first, other = tags(read(site / "first.html")), tags(read(site / "other.html"))
    assert first["description"] == first["og:description"] == "A first paragraph with x."
    assert first["og:title"] == "Learn to learn"
    assert first["og:type"] == "website"
    assert first["og:site_name"] == "The book"
    assert first["canonical"] == first["og:url"] == f"{ADDRESS}/"
    assert first["twitter:card"] == "summary_large_image"
    assert first["og:image"] == f"{ADDRESS}/{PREVIEW_IMAGES['en']}"
    assert (first["og:image:width"], first["og:image:height"]) == ("1200", "630")
    assert other["canonical"] == other["og:url"] == f"{ADDRESS}/other.html"
    assert other["og:type"] == "article"


def test_preview_of_a_chinese_page_is_chinese(build) -> None:
    site = build(PAGES, html_baseurl=f"{ADDRESS}/zh/", language="zh_CN")
    first = tags(read(site / "first.html"))
    assert first["og:image"] == f"{ADDRESS}/zh/{PREVIEW_IMAGES['zh']}"
    assert first["og:image:alt"].startswith("Meta-SGD：从同一个起点出发")


@pytest.mark.parametrize("image", PREVIEW_IMAGES.values())
def test_preview_has_the_size_that_the_tags_say(image: str) -> None:
    with Image.open(BOOK / image) as picture:
        assert picture.size == PREVIEW_SIZE == (1200, 630)
    assert (BOOK / image).stat().st_size < 300_000  # some messengers take no larger one


def test_address_of_the_site_shows_the_first_page_itself(build) -> None:
    """With its title, description and canonical address, as no page that leads elsewhere would have."""
    site = build(PAGES, html_baseurl=ADDRESS)
    index = read(site / "index.html")
    assert "Learn to learn" in index.title.text
    assert tags(index) == tags(read(site / "first.html"))


def test_map_of_the_site_has_every_page_once(build) -> None:
    site = build(PAGES, html_baseurl=ADDRESS)
    tree = xml.parse(site / "sitemap.xml")
    addresses = [entry.text for entry in tree.iter("{http://www.sitemaps.org/schemas/sitemap/0.9}loc")]
    assert addresses == [f"{ADDRESS}/", f"{ADDRESS}/other.html"]
    assert f"Sitemap: {ADDRESS}/sitemap.xml" in (site / "robots.txt").read_text()


def test_page_for_wrong_addresses_works_in_every_folder(build) -> None:
    """It is shown at the wrong address, so its links start from that of the site."""
    page = read(build(PAGES, html_baseurl=ADDRESS) / "404.html")
    assert page.find("base")["href"] == f"{ADDRESS}/"
    assert tags(page)["robots"] == "noindex"
    assert page.find("article").find("a")["href"] == f"{ADDRESS}/"


def test_nothing_is_said_of_an_address_that_is_not_known(build) -> None:
    site = build(PAGES)
    first = tags(read(site / "first.html"))
    assert not first.keys() & {"og:image", "og:url", "canonical"}
    assert first["twitter:card"] == "summary"
    assert not (site / "sitemap.xml").exists()
    assert "Sitemap" not in (site / "robots.txt").read_text()
    assert read(site / "404.html").find("base") is None


def test_logo_has_a_light_and_a_dark_form_of_the_same_shape(build, tmp_path) -> None:
    shapes = []
    for file in LOGOS.values():
        parts = list(xml.parse(BOOK / file).getroot())
        shapes.append([(part.get("d"), part.get("cx"), part.get("r")) for part in parts])
        (tmp_path / "_static").mkdir(exist_ok=True)
        (tmp_path / file).write_bytes((BOOK / file).read_bytes())
    assert shapes[0] == shapes[1]
    page = read(build(PAGES) / "first.html")
    pictures = page.select(".navbar-brand img")
    assert [picture["src"] for picture in pictures] == list(LOGOS.values())
    assert [picture["alt"] for picture in pictures] == ["", ""]  # the title stands beside it
