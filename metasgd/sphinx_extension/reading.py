"""What stands at the head and at the foot of a chapter: how long it takes, what it builds on, what it was run with.

Difficulty and prerequisites come from one file, ``reading.yml``, beside the chapters; the time is worked out from the
chapter's length; versions and date are those of the build.
"""

import platform
import re
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

from metasgd.sphinx_extension.translation import original_folder
from metasgd.sphinx_extension.words import DAY, EXERCISES, REFERENCES, language_of, say

DATA = "reading.yml"  # in the folder of the chapters
DIFFICULTIES = ("easy", "medium", "hard")
# A slow reader's pace, who follows the formulas and the code. Solutions are not counted.
WORDS_PER_MINUTE = 200
CHARACTERS_PER_WORD = 1.6  # of Chinese, in which the same text is read in about the same time
HAN = "[\u3400-\u9fff]"
SECONDS_PER_FORMULA = 30  # of those that stand in a line of their own
SECONDS_PER_LINE = 4  # of code that is not folded
ROUNDED_TO = 5  # minutes
PACKAGES = {"PyTorch": "torch", "NumPy": "numpy", "Matplotlib": "matplotlib"}


def connect(app: Sphinx) -> None:
    """Connect the functions of this module to Sphinx's events."""
    app.connect("env-get-outdated", read_again_with_data)
    app.connect("doctree-resolved", add_reading_aid)
    app.connect("doctree-resolved", add_versions)


def read_data(folder: Path) -> dict[str, dict[str, Any]]:
    """Return what ``reading.yml`` says of each chapter; nothing where there is no such file.

    Raises:
        ExtensionError: a chapter has other entries, or an unknown difficulty.
    """
    path = folder / DATA
    entries = yaml.safe_load(path.read_text(encoding="utf-8")) if path.is_file() else {}
    for page, entry in entries.items():
        if entry.keys() != {"difficulty", "builds on"} or entry["difficulty"] not in DIFFICULTIES:
            wanted = f"a 'difficulty' ({', '.join(DIFFICULTIES)}) and a list 'builds on'"
            raise ExtensionError(f"{DATA}, {page}: give {wanted}, not {entry}")
    return dict(entries)


def read_again_with_data(app: Sphinx, env: Any, added: set[str], changed: set[str], removed: set[str]) -> list[str]:
    """Name the pages that are to be made again because ``reading.yml`` has changed."""
    data = read_data(original_folder(app) or Path(app.srcdir))
    before, env.metasgd_reading = getattr(env, "metasgd_reading", data), data
    return [page for page in data if data[page] != before.get(page) and page in env.found_docs]


def minutes_to_read(tree: nodes.document) -> int:
    """Return the time that a page takes, rounded to five minutes, from its words, formulas and lines of code.

    Folded boxes, what code prints, exercises and references are not counted.
    """
    words, formulas, lines = 0.0, 0, 0
    skipped: set[int] = set()
    for node in tree.findall():
        if id(node.parent) in skipped or is_left_out(node):
            skipped.add(id(node))
        elif isinstance(node, nodes.literal_block):
            lines += len(node.astext().strip().splitlines())
            skipped.add(id(node))
        elif isinstance(node, nodes.math_block):
            formulas += 1
            skipped.add(id(node))
        elif isinstance(node, nodes.Text):
            characters = len(re.findall(HAN, node))
            words += len(re.findall(r"\w+", re.sub(HAN, " ", node))) + characters / CHARACTERS_PER_WORD
    seconds = 60 * words / WORDS_PER_MINUTE + SECONDS_PER_FORMULA * formulas + SECONDS_PER_LINE * lines
    return max(ROUNDED_TO, ROUNDED_TO * round(seconds / 60 / ROUNDED_TO))


def is_left_out(node: nodes.Node) -> bool:
    """Return whether a node is none of what one reads from beginning to end."""
    if isinstance(node, nodes.section):
        return node.next_node(nodes.title).astext() in EXERCISES + REFERENCES
    if not isinstance(node, nodes.Element):
        return False
    is_folded = "dropdown" in node.get("classes", []) or node.tagname == "HideCodeCellNode"
    return is_folded or node.get("nb_element") == "cell_code_output"


def add_reading_aid(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Put a line below the title of a chapter: the time that it takes, its difficulty, and what it builds on."""
    entry = app.env.metasgd_reading.get(page)  # type: ignore[attr-defined]  # since env-get-outdated
    title = tree.next_node(nodes.title)
    if entry is None or title is None:
        return
    line = nodes.paragraph(classes=["reading-aid"])
    line += nodes.Text(say(app, "minutes", minutes=minutes_to_read(tree), difficulty=say(app, entry["difficulty"])))
    needed = entry["builds on"]
    count = "some" if len(needed) > 1 else "one" if needed else "nothing"
    line += nodes.Text(say(app, f"builds on {count}"))
    for place, other in enumerate(needed):
        if place:
            line += nodes.Text(say(app, "and" if place == len(needed) - 1 else "comma"))
        name = app.env.titles[other].astext()
        address = app.builder.get_relative_uri(page, other)
        number = ".".join(map(str, app.env.toc_secnumbers.get(other, {}).get("", ()))) or name
        line += nodes.reference("", number, internal=True, refuri=address, reftitle=name)
    line += nodes.Text(say(app, "builds on end") if needed else "")
    title.parent.insert(title.parent.index(title) + 1, line)


def add_versions(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Put a line at the end of a page that was run: when, how long it took, and the versions that it was run with."""
    run = getattr(app.env, "nb_metadata", {}).get(page, {}).get("exec_data")
    section = tree.next_node(nodes.section)
    if not run or not run.get("succeeded") or section is None:
        return
    day = datetime.fromtimestamp(run["mtime"], timezone.utc)
    versions = [f"Python {platform.python_version()}"] + [f"{name} {version(key)}" for name, key in PACKAGES.items()]
    seconds = say(app, "in seconds", seconds=run["runtime"]) if run.get("runtime") else ""
    date = DAY[language_of(app)].format(day=day)
    listed = say(app, "comma").join(versions[:-1]) + say(app, "and") + versions[-1]
    sentence = say(app, "tested on", day=date, versions=listed, seconds=seconds)
    section += nodes.paragraph("", sentence, classes=["tested-on"])
