"""What a Chinese typesetter would mark: punctuation, spaces, emphasis that does not close, sentences in English."""

import re
import unicodedata
from collections.abc import Iterator

HAN = "\u3400-\u4dbf\u4e00-\u9fff"
WIDE_MARKS = "，。；：！？、（）《》“”‘’…—"
# What stands for them in bare prose: a formula, code, a number of a figure or equation, a citation, a page's title.
FORMULA, CODE, REFERENCE, CITATION, TITLE = "\ue001", "\ue002", "\ue003", "\ue004", "\ue005"
LATIN = f"A-Za-z0-9%{FORMULA}{CODE}"
LONGEST_ENGLISH = 5  # words in a row; a term in brackets has fewer
KEPT_FENCES = ("{figure}", "{admonition}", "{note}", "{tip}", "{warning}", "{important}", "{glossary}", "{list-table}")

# Each pattern is found in bare prose, line by line, and means a mistake.
MISTAKES = {
    rf"[{HAN}][,.;:?!](?![\d.])": "a half-width mark after a Chinese character; write ，。；：？！",
    rf"[A-Za-z0-9)%{FORMULA}{CODE}{CITATION}][,;:?!] ?[{HAN}]": "a half-width mark before a Chinese character",
    rf"\([^()]*[{HAN}][^()]*\)|[{HAN}]\(|\)[{HAN}]": "half-width brackets around or beside Chinese; write （）",
    rf"[{HAN}{WIDE_MARKS}][\"']|[\"'][{HAN}]": "a straight quotation mark; write “ ”",
    rf"[{HAN}]\.\.\.|\.\.\.[{HAN}]": "an ellipsis of full stops; write ……",
    rf"[{HAN}]--|--[{HAN}]": "a dash of hyphens; write ——",
    "[「」『』]": "quotation marks of another region; write “ ”",
    rf"[{HAN}] +[{HAN}]": "a space between two Chinese characters",
    rf"[{HAN}][{LATIN}]|[{LATIN}][{HAN}]": "no space between Chinese and a Latin word, a number, a formula or code",
    rf"{REFERENCE}[{HAN}]": "no space after the number of a figure, a table or an equation",
    rf"[^\s\-|#.>{FORMULA}] +[，。；：！？、）》”]|[^\s\-|#.>:] +[（《]": "a space before a full-width mark",
    r"[，。；：！？、）》”（《“] +[^\s|]": "a space after a full-width mark",
    r"[，。；：？！、]{2,}": "two marks in a row",
}


def bare(text: str) -> str:
    """Return the prose of a Markdown text: without code, directives' options, links' targets, and emphasis.

    A formula, a code span, a reference and a citation are single characters in it; a title may have spaces around it.
    """
    text = re.sub(r"\A---\n.*?\n---\n+", "", text, flags=re.DOTALL)
    text = re.sub(r"^([ \t]*)(`{3,})([^\n]*)\n(.*?)^[ \t]*\2[ \t]*$", kept_fence, text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^\s*:{3,}(?:\{[\w:-]+\})?", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\s*:alt: ", "", text, flags=re.MULTILINE)
    text = re.sub(r"^\s*:[\w-]+:.*$|^\([\w-]+\)=$|^% .*$", "", text, flags=re.MULTILINE)
    text = re.sub(r"\$\$.*?\$\$(?: \([\w-]+\))?", "", text, flags=re.DOTALL)
    text = re.sub(r"\{(numref|eq)\}`[^`]*`", REFERENCE, text)
    text = re.sub(r"\{cite:\w+\}`[^`]*`", CITATION, text)
    text = re.sub(r"\{\w+\}`([^`<]*?)\s*<[^`>]*>`", r"\1", text)
    text = re.sub(r" *\{\w+\}`[^`]*` *", TITLE, text)
    text = re.sub(r"(`+)(?!`).+?(?<!`)\1(?!`)", CODE, text)
    text = re.sub(r"(?<![\\$])\$[^$]+?\$", FORMULA, text, flags=re.DOTALL)
    text = re.sub(r"!?\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = re.sub(rf"(?<=[{WIDE_MARKS}])\*+ +", "", text)  # after words in bold at the beginning of a paragraph
    text = re.sub(r"<[/a-zA-Z!][^>]*>", "", text)
    text = re.sub(r"https?://\S+", CODE, text)
    return text.replace("*", "").replace("_", "").replace("\\", "")


def kept_fence(found: re.Match[str]) -> str:
    """Return what a fence holds that is read as text: the inside of some directives, nothing of code."""
    kind, _, argument = found[3].strip().partition(" ")
    if kind not in KEPT_FENCES:
        return ""
    return ("" if kind == "{figure}" else argument) + "\n" + found[4]


def has_prose(text: str) -> bool:
    """Return whether an English text has words to be translated."""
    return re.search(r"[A-Za-z]{2}", re.sub(r"\bmetasgd(?:\.\w+)+", "", bare(text))) is not None


def problems(text: str) -> Iterator[str]:
    """Yield what is wrong in a Chinese text, with the place."""
    prose = bare(text)
    for line in prose.splitlines():
        for pattern, message in MISTAKES.items():
            for found in re.finditer(pattern, line):
                yield f"{message}: {excerpt(line, found.start(), found.end())}"
        for found in re.finditer(rf"[A-Za-z][\w'’-]*(?: [A-Za-z(][\w'’)-]*){{{LONGEST_ENGLISH},}}", line):
            yield f"left in English: {found[0][:80]}"
    yield from open_emphasis(text)


def excerpt(line: str, start: int, end: int) -> str:
    """Return the words around a place of bare prose, with signs that can be read for what was left out."""
    words = f"…{line[max(0, start - 8) : start]}⟦{line[start:end]}⟧{line[end : end + 8]}…"
    for sign, name in {FORMULA: "$…$", CODE: "`…`", REFERENCE: "{numref}", CITATION: "{cite}", TITLE: "{doc}"}.items():
        words = words.replace(sign, name)
    return words


def open_emphasis(text: str) -> Iterator[str]:
    """Yield the bold or slanted passages that Markdown does not see as such, because of a mark beside a character.

    ``**支持集（support set）**是`` shows its asterisks: the closing ones stand between a mark and a character.
    """
    text = re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"\$\$.*?\$\$", "", text, flags=re.DOTALL)
    for line in text.splitlines():
        for found in re.finditer(r"(?<![*\\])(\*{1,2})(?![*\s])(.+?)(?<![*\s\\])\1(?!\*)", line):
            before, after = line[found.start() - 1 : found.start()], line[found.end() : found.end() + 1]
            if (is_mark(found[2][-1]) and is_letter(after)) or (is_mark(found[2][0]) and is_letter(before)):
                yield f"Markdown does not see this emphasis; put marks and brackets outside of it: {found[0][:40]}"


def is_mark(character: str) -> bool:
    """Return whether a character is punctuation or a sign, as Markdown counts them."""
    return unicodedata.category(character)[0] in "PS"


def is_letter(character: str) -> bool:
    """Return whether there is a character, and it is neither a space nor a mark."""
    return bool(character.strip()) and not is_mark(character)
