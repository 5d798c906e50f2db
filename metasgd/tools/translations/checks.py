"""All that can be said of a translated page by a program."""

import re
from collections.abc import Iterator

from metasgd.tools.translations import chinese, structure, terms
from metasgd.tools.translations.drafts import state
from metasgd.tools.translations.pages import code_differences, pairs, translated_path

BILINGUAL = {"glossary"}  # has the English terms beside the Chinese ones on purpose
ONLY_THERE = {("welcome", "untitled")}  # blocks that say to each language what the other edition is
REFERENCES = {"api", "internals", "changelog"}  # are made of the package's own English texts


# Headings and titles that every chapter has; the site knows them: solutions and references take no time to read.
FIXED = {
    r"^## Summary$": "## 本章小结",
    r"^## Exercises$": "## 习题",
    r"^## References$": "## 参考文献",
    r"^:{3,}\{admonition\} What you will learn$": "{admonition} 本章你将学到",
    r"^:{3,}\{admonition\} Solution$": "{admonition} 解答",
}


def states(page: str) -> dict[str, str]:
    """Return how each block of a page stands, by its name: "done", "behind" or "untranslated"."""
    return {english.name: state(english, translated) for english, translated in pairs(page)}


def not_up_to_date(page: str) -> Iterator[str]:
    """Yield a line for each block that is behind the English one or untranslated, and for each difference of code."""
    if not translated_path(page).is_file():
        yield "the page is missing"
        return
    yield from code_differences(page)
    for name, now in states(page).items():
        if now == "behind":
            yield f"{name}: the English text has changed since it was translated"
        elif now == "untranslated":
            yield f"{name}: not translated"


def problems(page: str) -> Iterator[str]:
    """Yield a line for each problem in the translated blocks of a page; those that are not done are left out."""
    every = [(english, translated) for english, translated in pairs(page) if state(english, translated) == "done"]
    for english, translated in every:
        assert translated is not None
        if translated.text.strip() == english.text.strip() or (page, english.name) in ONLY_THERE:
            continue
        found = list(structure.differences(english.text, translated.text))
        for heading, wanted in FIXED.items():
            if re.search(heading, english.text, re.MULTILINE) and wanted not in translated.text:
                found.append(f"the heading or title “{wanted}” is missing")
        found += chinese.problems(translated.text)
        yield from (f"{english.name}: {problem}" for problem in found)
    if page not in BILINGUAL | REFERENCES and all(now == "done" for now in states(page).values()):
        english_text = "\n\n".join(english.text for english, _ in every)
        chinese_text = "\n\n".join(translated.text for _, translated in every if translated)
        yield from terms.missing_terms(english_text, chinese_text)
