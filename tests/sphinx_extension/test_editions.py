"""Two editions on one site: whichever is built last, each page leads to its counterpart, where there is one."""

from pathlib import Path

import pytest
from bs4 import BeautifulSoup
from sphinx.application import Sphinx

from metasgd.sphinx_extension.editions import join
from tests.sphinx_extension.conftest import ADDRESS, THEME

ENGLISH = {"first.md": "# First\n\n```{toctree}\nonly\n```\n", "only.md": "# Only in English\n"}
CHINESE = {"first.md": "# 第一\n"}


def build(folder: Path, pages: dict[str, str], **settings: object) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "conf.py").write_text(
        f'extensions = ["sphinx.ext.autodoc", "myst_nb", "metasgd.sphinx_extension"]\n{THEME}'
    )
    for name, text in pages.items():
        (folder / name).write_text(text, encoding="utf-8")
    settings = {"nb_execution_mode": "off", "exclude_patterns": ["zh", "_build"]} | settings
    out = folder / "_build"
    Sphinx(folder, folder, out / "html", out / "trees", "html", settings, status=None, freshenv=True).build()


def build_english(folder: Path) -> None:
    build(folder, ENGLISH, html_baseurl=ADDRESS)


def build_chinese(folder: Path) -> None:
    settings = {"language": "zh_CN", "metasgd_original": "..", "html_baseurl": f"{ADDRESS}/zh"}
    build(folder / "zh", CHINESE, **settings)


def page(folder: Path, name: str) -> BeautifulSoup:
    return BeautifulSoup((folder / "_build" / "html" / name).read_text(encoding="utf-8"), "html.parser")


@pytest.fixture(params=["English first", "Chinese first", "English again"])
def book(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Both editions, built in one order or another."""
    orders = {
        "English first": (build_english, build_chinese),
        "Chinese first": (build_chinese, build_english),
        "English again": (build_english, build_chinese, build_english),
    }
    for one in orders[request.param]:
        one(tmp_path)
    return tmp_path


def test_each_page_leads_to_the_other_language_once(book: Path) -> None:
    for name in ("first.html", "index.html", "search.html"):
        (to_chinese,) = page(book, name).select("header a.metasgd-language, .bd-header-article a.metasgd-language")
        (to_english,) = page(book, f"zh/{name}").select("a.metasgd-language")
        assert to_chinese["href"] == f"zh/{name}"
        assert to_english["href"] == f"../{name}"


def test_link_is_right_for_those_who_hear_it(book: Path) -> None:
    """It says in its own language where it leads, and the name that is read begins with the word that is seen."""
    link = page(book, "first.html").select_one("a.metasgd-language")
    assert (link["lang"], link["hreflang"]) == ("zh-Hans", "zh-Hans")
    assert link["aria-label"].startswith(link.text)
    back = page(book, "zh/first.html").select_one("a.metasgd-language")
    assert (back["lang"], back["hreflang"]) == ("en", "en")
    assert back["aria-label"].startswith(back.text)


def test_page_in_one_language_has_no_link(book: Path) -> None:
    assert not page(book, "only.html").select("a.metasgd-language")
    assert not page(book, "404.html").select("a.metasgd-language")


def test_search_engines_are_told_of_both(book: Path) -> None:
    for name in ("first.html", "zh/first.html"):
        found = {link["hreflang"]: link["href"] for link in page(book, name).select('link[rel="alternate"][hreflang]')}
        assert found == {"en": f"{ADDRESS}/", "zh-Hans": f"{ADDRESS}/zh/"}
    robots = (book / "_build" / "html" / "robots.txt").read_text(encoding="utf-8")
    assert [line for line in robots.splitlines() if line.startswith("Sitemap")] == [
        f"Sitemap: {ADDRESS}/sitemap.xml",
        f"Sitemap: {ADDRESS}/zh/sitemap.xml",
    ]


def test_english_book_alone_has_no_link(tmp_path: Path) -> None:
    build_english(tmp_path)
    assert not page(tmp_path, "first.html").select("a.metasgd-language")
    assert not (tmp_path / "_build" / "html" / "zh").exists()


def test_link_goes_with_the_translated_page(book: Path) -> None:
    """A page that is no longer translated loses its link when the editions are joined again."""
    translated = book / "zh" / "_build" / "html"
    (translated / "first.html").unlink()
    join(book / "_build" / "html", translated)
    assert not page(book, "first.html").select("a.metasgd-language")
    assert page(book, "index.html").select("a.metasgd-language")


def test_small_site_elsewhere_is_left_alone(tmp_path: Path) -> None:
    """A book that is built into a folder of another name is not joined."""
    build_english(tmp_path)
    build_chinese(tmp_path)
    (tmp_path / "conf.py").write_text(
        f'extensions = ["sphinx.ext.autodoc", "myst_nb", "metasgd.sphinx_extension"]\n{THEME}'
    )
    Sphinx(tmp_path, tmp_path, tmp_path / "out", tmp_path / "trees", "html", {"nb_execution_mode": "off",
           "exclude_patterns": ["zh", "_build", "out"]}, status=None).build()  # fmt: skip
    assert not (tmp_path / "out" / "zh").exists()
