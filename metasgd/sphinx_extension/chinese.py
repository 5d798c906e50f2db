"""What a book in Chinese needs of Sphinx: search without a list of words, lines joined without a space, no English.

A dictionary would decide what is found, and that of Sphinx does not know 支持集. So every two neighbouring characters
are a word, in the index and in a query.
"""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.search import SearchLanguage
from sphinx.transforms import SphinxTransform

from metasgd.sphinx_extension.words import LANGUAGES, language_of, say

HAN = "\u3400-\u9fff\uf900-\ufaff"
MARKS = "\u2014\u2018-\u201d\u2026\u3000-\u303f\uff00-\uffef"  # of Chinese, beside which no space stands
DESCRIPTION = re.compile(r'<dl (?=class="py )')  # of a name in the reference, which is English

# What the theme and its companions say in English, or in Taiwan's words, even in a book in Simplified Chinese.
THEME = {
    'aria-label="Main"': 'aria-label="全书目录"',
    'aria-label="Page"': 'aria-label="本页目录"',
    'title="Toggle primary sidebar"': 'title="显示或隐藏全书目录"',
    'title="Toggle secondary sidebar"': 'title="显示或隐藏本页目录"',
    '="Color mode"': '="亮色或暗色"',
    'title="System Settings"': 'title="与系统一致"',
    'title="列印成 PDF"': 'title="打印为 PDF"',
    'title="Link to this heading"': 'title="本节的链接"',
    'title="Link to this definition"': 'title="这个定义的链接"',
    'title="Link to this term"': 'title="这个术语的链接"',
    'title="Link to this image"': 'title="这幅图的链接"',
    'title="Link to this table"': 'title="这张表的链接"',
    'title="Link to this code"': 'title="这段代码的链接"',
    'title="Link to this equation"': 'title="这个公式的链接"',
    "© Copyright ": "© ",
    "作者： ": "作者：",
}
COPY_BUTTON = "copybutton.js"  # knows Chinese by another name than that of the pages


class Pairs(SearchLanguage):
    """Split Chinese into pairs of neighbouring characters, and everything else into words."""

    lang = "zh"
    language_name = "Chinese"
    js_stemmer_code = "var Stemmer = function () { this.stemWord = (word) => word.toLowerCase(); };"
    js_splitter_code = r"""
    function splitQuery(query) {
      const han = "\u3400-\u9fff\uf900-\ufaff";
      const words = query.match(new RegExp(`[${han}]+|(?:(?![${han}])[\\p{L}\\p{N}_])+`, "gu")) ?? [];
      const pairs = (word) => Array.from({ length: word.length - 1 }, (_, start) => word.slice(start, start + 2));
      return words.flatMap((word) => (new RegExp(`^[${han}]{3,}`).test(word) ? pairs(word) : [word]));
    }
    """

    def split(self, text: str) -> list[str]:
        """Return the pairs and words of a text."""
        words = []
        for part in re.findall(f"[{HAN}]+|[^\\W{HAN}]+", text):
            if re.match(f"[{HAN}]", part):
                words += [part[start : start + 2] for start in range(max(1, len(part) - 1))]
                words += list(part) if len(part) > 1 else []
            else:
                words.append(part)
        return words

    def stem(self, word: str) -> str:
        """Return a word as it is indexed."""
        return word.lower()

    def word_filter(self, stemmed_word: str) -> bool:
        """Return whether a word is indexed: single Chinese characters are, single letters are not."""
        return len(stemmed_word) > 1 or bool(re.match(f"[{HAN}]", stemmed_word))


class JoinLines(SphinxTransform):
    """Leave out the end of a line beside a Chinese mark or between two characters: it would show as a space."""

    default_priority = 845

    def apply(self, **options: Any) -> None:
        """Remove the ends of lines, which are texts of their own."""
        for end in [text for text in self.document.findall(nodes.Text) if text == "\n"]:
            line = end.parent
            place = next(number for number, child in enumerate(line) if child is end)  # others are equal to it
            before = "".join(child.astext() for child in line[:place])
            after = "".join(child.astext() for child in line[place + 1 :])
            if before and after and is_joined(before[-1], after[0]):
                del line[place]


def is_joined(before: str, after: str) -> bool:
    """Return whether two characters follow each other without a space where a line ends between them."""
    if re.match(f"[{MARKS}]", before) or re.match(f"[{MARKS}]", after):
        return True
    return bool(re.match(f"[{HAN}]", before) and re.match(f"[{HAN}]", after))


def connect(app: Sphinx) -> None:
    """Connect the functions of this module to Sphinx's events; they do nothing in a book in another language."""
    app.connect("config-inited", prepare)
    app.connect("html-page-context", translate_page, priority=504)
    app.connect("build-finished", translate_theme, priority=940)  # before the editions are joined


def prepare(app: Sphinx, config: Any) -> None:
    """Choose the search and the words of the theme, and join lines."""
    if language_of(app) == "zh":
        app.add_search_language(Pairs)
        app.add_transform(JoinLines)
        config.html_theme_options = {**config.html_theme_options, "search_bar_text": say(app, "search")}


def translate_page(
    app: Sphinx, page: str, template: str, context: dict[str, Any], tree: nodes.document | None
) -> None:
    """Say that a page is in Simplified Chinese, and that descriptions made of docstrings in it are English."""
    if language_of(app) != "zh":
        return
    context["language"] = LANGUAGES["zh"]
    if "body" in context:
        context["body"] = DESCRIPTION.sub('<dl lang="en" ', context["body"])


def translate_theme(app: Sphinx, exception: Exception | None) -> None:
    """Put Chinese words in the place of those of the theme that have no translation."""
    if exception is not None or app.builder.format != "html" or language_of(app) != "zh":
        return
    for path in Path(app.outdir).glob("*.html"):
        text = path.read_text(encoding="utf-8")
        for english, chinese in THEME.items():
            text = text.replace(english, chinese)
        path.write_text(text, encoding="utf-8")
    script = Path(app.outdir, "_static", COPY_BUTTON)
    if script.is_file():
        text = script.read_text(encoding="utf-8").replace("'zh-CN'", f"'{LANGUAGES['zh']}'")
        script.write_text(text, encoding="utf-8")
