"""The terms of the glossary: a page that uses an English term uses one of its Chinese names in the translation."""

import re
from collections.abc import Iterator
from functools import cache

from metasgd.experiments.how_made import book_folder
from metasgd.tools.translations.chinese import bare

ROW = re.compile(r"^\| \{term\}`(.+)` \| (.+) \|$", re.MULTILINE)
# Words that also have an everyday meaning, in which the glossary's name would be wrong.
EVERYDAY = {
    "adaptation", "bias", "body", "checkpoint", "chunk", "compilation", "convex", "feature", "fold", "head", "hook",
    "kernel", "leak", "loss", "median", "objective", "orientation", "policy", "return", "reward", "rotation", "seed",
    "slant", "start", "step", "validation", "weight", "yardstick", "first order", "second order", "advantage",
    "gradient", "curvature", "frozen part", "shots", "ways", "streams", "stream", "trajectory", "inner step", "state",
}  # fmt: skip


@cache
def glossary() -> dict[str, list[str]]:
    """Return the Chinese names of every term of the glossary, by its English name without what stands in brackets.

    Names stand outside and inside the brackets of the table, as in 少样本学习（小样本学习）; "不译" means that the
    English name stays.
    """
    table = (book_folder() / "glossary.md").read_text(encoding="utf-8")
    found = {}
    for english, chinese in ROW.findall(table):
        name = re.sub(r" ?\([^)]*\)", "", english)
        main, _, rest = chinese.partition("（")
        names = [main.strip(), *(part.strip() for part in re.split("[，、）]", rest))]
        if "不译" in chinese or re.search("[A-Z].*[A-Z]", name):  # such as MAML
            names.append(name)
        found[name] = [one for one in names if one and "不译" not in one]
    return found


def missing_terms(english: str, chinese: str) -> Iterator[str]:
    """Yield the terms that an English page uses and of which its translation has no name."""
    prose, translated = bare(english), bare(chinese)
    for term, names in glossary().items():
        if term in EVERYDAY or not re.search(rf"\b{re.escape(term)}(?:s|es)?\b", prose, re.IGNORECASE):
            continue
        if not any(name.lower() in translated.lower() for name in names):
            yield f"the term “{term}” is not translated as {' or '.join(names)}"
