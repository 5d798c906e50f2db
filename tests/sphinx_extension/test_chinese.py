"""A page in Chinese: its language, its lines, its words, and a search that finds them."""

import re

import pytest
from bs4 import BeautifulSoup

from metasgd.sphinx_extension.chinese import Pairs, is_joined
from metasgd.sphinx_extension.words import WORDS

ZH = {"language": "zh_CN", "html_title": "书"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("支持集", ["支持", "持集", "支", "持", "集"]),
        ("集", ["集"]),
        ("Meta-SGD 的\\alpha，x_1", ["Meta", "SGD", "的", "alpha", "x_1"]),
    ],
)
def test_chinese_is_indexed_by_pairs_and_single_characters(text: str, words: list[str]) -> None:
    assert Pairs({}).split(text) == words


def test_single_letters_are_not_indexed_and_single_characters_are() -> None:
    search = Pairs({})
    assert [word for word in ("集", "支持", "a", "Meta") if search.word_filter(word)] == ["集", "支持", "Meta"]
    assert search.stem("Meta") == "meta"


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("的", "学", True),
        ("，", "M", True),
        ("D", "（", True),
        ("的", "M", False),
        ("a", "b", False),
        ("”", "学", True),
    ],
)
def test_lines_are_joined_between_chinese_and_beside_its_marks(before: str, after: str, expected: bool) -> None:
    assert is_joined(before, after) is expected


def test_page_says_its_language_and_joins_its_lines(build) -> None:
    site = build({"first.md": "# 第一\n\n支持\n集，\nMAML\n的**元**\n梯度\n"}, **ZH)
    page = BeautifulSoup((site / "first.html").read_text(encoding="utf-8"), "html.parser")
    assert page.html["lang"] == "zh-Hans"
    assert page.select_one("article p").get_text() == "支持集，MAML\n的元梯度"


def test_passages_of_a_chinese_page_are_not_marked_and_descriptions_are_english(build) -> None:
    pages = {"first.md": "# 第一\n\nA word 学习。\n\n```{eval-rst}\n.. autofunction:: metasgd.show_messages\n```\n"}
    page = BeautifulSoup((build(pages, **ZH) / "first.html").read_text(encoding="utf-8"), "html.parser")
    assert [tag.name for tag in page.select("article [lang]")] == ["dl"]
    assert page.select_one("dl.py")["lang"] == "en"


def test_theme_speaks_chinese(build) -> None:
    """No button, landmark or title has an English word; in an English book the same ones have."""
    page = {"first.md": "# 第一\n\n## 第二\n\n$$\nx\n$$ (eq-a)\n"}
    spoken = {}
    for language, settings in {"zh": ZH, "en": {}}.items():
        html = (build(page, **settings) / "first.html").read_text(encoding="utf-8")
        tags = BeautifulSoup(html, "html.parser").body.find_all(True)
        words = [tag.get(name, "") for tag in tags for name in ("title", "aria-label", "placeholder", "data-bs-title")]
        spoken[language] = [word for word in words if re.search("[A-Za-z]{4}", word)]
    assert spoken["zh"] == []
    assert {"Main", "Link to this heading", "Search this book..."} & set(spoken["en"])


def test_both_languages_have_the_same_words_with_the_same_values() -> None:
    assert WORDS["en"].keys() == WORDS["zh"].keys()
    for key, text in WORDS["en"].items():
        assert set(re.findall(r"\{(\w+)", text)) == set(re.findall(r"\{(\w+)", WORDS["zh"][key])), key


def test_extension_says_its_own_lines_in_chinese(build) -> None:
    data = "first: {difficulty: easy, builds on: []}\nother: {difficulty: hard, builds on: [first]}\n"
    pages = {
        "first.md": "# 第一\n\n" + "学" * 3200 + "\n\n```{toctree}\nother\n```\n",
        "other.md": "# 第二\n\n短。\n\n## 习题\n\n" + "学" * 3200,
        "reading.yml": data,
    }
    site = build(pages, **ZH)
    lines = [
        BeautifulSoup((site / f"{name}.html").read_text(encoding="utf-8"), "html.parser")
        .select_one(".reading-aid")
        .text
        for name in ("first", "other")
    ]
    assert lines == ["阅读约需 10 分钟 · 容易 · 不需要先读其他章", "阅读约需 5 分钟 · 较难 · 先读第 第一 章"]
    assert "没有这个页面" in (site / "404.html").read_text(encoding="utf-8")
