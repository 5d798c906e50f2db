"""What a browser would set wrongly by itself: the full stop after a formula, Chinese passages, folded boxes."""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from metasgd.sphinx_extension.words import EXERCISES, language_of, say

# What belongs to the formula before it: a browser may break the line between the two.
AFTER_FORMULA = re.compile(r"^(?:[,.;:!?)\]”’…，。；：！？、）》]+|['’]s\b|-(?:th|fold|way|shot)\b)+")
BEFORE_FORMULA = re.compile(r"[(\[“‘（《]+$")
CHINESE = "[\u3000-\u303f\u3400-\u4dbf\u4e00-\u9fff\uff00-\uffef]"
# A passage begins and ends with a Chinese character, and may hold a foreign word or a number.
PASSAGE = re.compile(rf"{CHINESE}(?:[^\n]{{0,20}}?{CHINESE})*")
LANGUAGE = "language-zh-Hans"  # docutils turns this class into the attribute lang="zh-Hans"


def connect(app: Sphinx) -> None:
    """Register the transforms of this module."""
    app.add_transform(KeepPunctuation)
    app.add_transform(MarkChinese)
    app.add_transform(NameFoldedBoxes)


class KeepPunctuation(SphinxTransform):
    """Keep a formula, the bracket before it and the mark after it in one line."""

    default_priority = 850

    def apply(self, **options: Any) -> None:
        """Put each formula that a mark follows, or a bracket opens, into one box with it."""
        for formula in list(self.document.findall(nodes.math)):
            parent = formula.parent
            place = parent.index(formula)
            before, after = parent[max(place - 1, 0)], parent[min(place + 1, len(parent) - 1)]
            opening = BEFORE_FORMULA.search(before) if isinstance(before, nodes.Text) else None
            mark = AFTER_FORMULA.match(after) if isinstance(after, nodes.Text) else None
            if not opening and not mark:
                continue
            box = nodes.inline(classes=["together"])
            parent.replace(formula, box)
            if opening:
                parent.replace(before, nodes.Text(before[: opening.start()]))
                box += nodes.Text(opening[0])
            box += formula
            if mark:
                parent.replace(after, nodes.Text(after[mark.end() :]))
                box += nodes.Text(mark[0])


class MarkChinese(SphinxTransform):
    """Say which passages are Chinese, for screen readers, and so that a browser chooses the right shapes."""

    default_priority = 860

    def apply(self, **options: Any) -> None:
        """Mark a paragraph that is Chinese for the most part as a whole, and elsewhere the passages."""
        if language_of(self.app) == "zh":  # as the whole page is
            return
        for text in list(self.document.findall(nodes.Text)):
            if not re.search(CHINESE, text) or isinstance(
                text.parent, nodes.FixedTextElement | nodes.literal | nodes.raw
            ):
                continue
            paragraph = text.parent
            while not isinstance(paragraph, nodes.paragraph | nodes.title | nodes.document):
                paragraph = paragraph.parent
            if LANGUAGE in paragraph.get("classes", []):
                continue
            words = paragraph.astext()
            if isinstance(paragraph, nodes.paragraph) and 2 * len(re.findall(CHINESE, words)) > len(words):
                paragraph["classes"].append(LANGUAGE)
            else:
                text.parent.replace(text, list(marked(text)))


def marked(text: str) -> list[nodes.Node]:
    """Return the pieces of a text, of which the Chinese ones say that they are."""
    pieces: list[nodes.Node] = []
    end = 0
    for passage in PASSAGE.finditer(text):
        if passage.start() > end:
            pieces.append(nodes.Text(text[end : passage.start()]))
        pieces.append(nodes.inline("", passage[0], classes=[LANGUAGE]))
        end = passage.end()
    return pieces + ([nodes.Text(text[end:])] if end < len(text) else [])


class NameFoldedBoxes(SphinxTransform):
    """Let a folded cell say what it holds: the set-up of the page, the code of a figure, a solution."""

    default_priority = 870

    def apply(self, **options: Any) -> None:
        """Write what is in the box where MyST-NB has only "cell source" or "cell content"."""
        for cell in self.document.findall(nodes.container):
            if cell.get("nb_element") == "cell_code" and cell.get("hide_mode"):
                contents = self.contents(cell)
                cell["prompt_show"] = say(self.app, "show", contents=contents)
                cell["prompt_hide"] = say(self.app, "hide", contents=contents)

    def contents(self, cell: nodes.container) -> str:
        """Return the words for what a cell holds."""
        metadata = cell.get("cell_metadata", {})
        if "set-up" in metadata.get("tags", []):
            return say(self.app, "set-up")
        if "figure" in metadata.get("mystnb", {}):
            return say(self.app, "figure")
        if cell["hide_mode"] != "all":
            return say(self.app, cell["hide_mode"])
        section = cell.parent
        while section is not None and not isinstance(section, nodes.section):
            section = section.parent
        is_exercise = section is not None and section.next_node(nodes.title).astext() in EXERCISES
        return say(self.app, "solution" if is_exercise else "cell")
