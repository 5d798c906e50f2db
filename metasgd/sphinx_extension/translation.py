"""A translated page takes from the English one what is not text: outputs, and the addresses of its sections.

Captions and descriptions of figures belong to code cells, which are those of the English notebook, so that both share
what was run. Their translations stand in the metadata of the translated notebook, under ``metasgd``.
"""

import json
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from markdown_it import MarkdownIt
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform
from sphinx.util.docutils import SphinxDirective

KEY = "metasgd"  # of a notebook's metadata
DIRECTIVE = "metasgd-caption"
CACHE = Path("_build", ".jupyter_cache")  # of a book, as Jupyter Book has it
FENCE = re.compile(r"^\s*(`{3,}|~{3,}|:{3,})(.*)$")
HEADING = re.compile(r"^#{1,6} +(.*)$")


def connect(app: Sphinx) -> None:
    """Connect the functions of this module to Sphinx's events."""
    app.add_config_value("metasgd_original", None, "env", [str, type(None)])
    app.connect("config-inited", share_cache, priority=100)
    app.add_directive(DIRECTIVE, Caption)
    app.add_transform(TranslateFigures)
    app.add_transform(KeepAnchors)
    app.connect("source-read", take_figure_texts)


def original_folder(app: Sphinx) -> Path | None:
    """Return the folder of the book of which this one is a translation, None for one that is none."""
    return (Path(app.srcdir) / app.config.metasgd_original).resolve() if app.config.metasgd_original else None


def share_cache(app: Sphinx, config: Any) -> None:
    """Let a translation take what was run from the cache of the English book."""
    if (folder := original_folder(app)) is not None:
        config.nb_execution_cache_path = str(folder / CACHE)


def original_of(app: Sphinx, page: str) -> Path:
    """Return the file of the page that a page translates, or of the page itself where it translates none."""
    path = Path(app.env.doc2path(page))
    folder = original_folder(app)
    counterpart = folder / path.relative_to(Path(app.srcdir)) if folder else path
    return counterpart if counterpart.is_file() else path


def take_figure_texts(app: Sphinx, page: str, source: list[str]) -> None:
    """Take the translated texts of figures out of a notebook's metadata: captions become text at its end.

    There MyST reads them, and ``TranslateFigures`` puts them into their figures.
    """
    if original_folder(app) is None or not app.env.doc2path(page).endswith(".ipynb"):
        return
    notebook = json.loads(source[0])
    texts = {name: entry["text"] for name, entry in notebook["metadata"].pop(KEY, {}).get("figures", {}).items()}
    app.env.temp_data[KEY] = texts
    captions = {name: text for name, text in texts.items() if name.endswith(".caption")}
    text = "\n\n".join(f"`````{{{DIRECTIVE}}} {name}\n{text}\n`````" for name, text in captions.items())
    if text:
        notebook["cells"].append({"cell_type": "markdown", "id": "captions", "metadata": {}, "source": text})
    source[0] = json.dumps(notebook)


class CaptionNode(nodes.General, nodes.Element):  # type: ignore[misc]  # docutils has no types
    """A caption on its way to its figure."""


class Caption(SphinxDirective):
    """The translated caption of the figure whose name with ".caption" is the argument."""

    required_arguments = 1
    has_content = True

    def run(self) -> list[nodes.Node]:
        """Return the parsed caption."""
        node = CaptionNode(figure=self.arguments[0].removesuffix(".caption"))
        self.state.nested_parse(self.content, self.content_offset, node)
        return [node]


class TranslateFigures(SphinxTransform):
    """Give figures their translated captions, and the pictures in them their translated descriptions."""

    default_priority = 205

    def apply(self, **options: Any) -> None:
        """Move each caption into the figure of its name."""
        texts = self.env.temp_data.pop(KEY, {})
        captions = {node["figure"]: node for node in list(self.document.findall(CaptionNode))}
        for figure in self.document.findall(nodes.figure):
            name = next(iter(figure["names"]), "")
            if name in captions and (caption := figure.next_node(nodes.caption)) is not None:
                paragraph = captions[name].next_node(nodes.paragraph)
                caption.children = []
                caption += paragraph.children
            for image in figure.findall(nodes.image) if f"{name}.alt" in texts else ():
                image["alt"] = texts[f"{name}.alt"]
        for node in captions.values():
            node.parent.remove(node)


class KeepAnchors(SphinxTransform):
    """Give sections addresses that are the same in both languages: made from the English headings, none by number.

    Sections of a file that is included, which is the same in both, have their own headings.
    """

    default_priority = 206

    def apply(self, **options: Any) -> None:
        """Name each section by the English heading in its place; leave all as they are if there are more or fewer."""
        sections = list(self.document.findall(nodes.section))
        original = original_of(self.app, self.env.docname)
        page = Path(self.env.doc2path(self.env.docname))
        titles = [section.next_node(nodes.title).astext() for section in sections]
        if original != page:
            own = [number for number, section in enumerate(sections) if Path(section.source or page) == page]
            english = headings(original)
            if len(english) != len(own):
                return
            for number, title in zip(own, english, strict=True):
                titles[number] = title
        used: set[str] = set()
        for section, name in zip(sections, map(nodes.make_id, titles), strict=True):
            wanted = name or "section"
            number = 2
            while wanted in used:
                wanted, number = f"{name or 'section'}-{number}", number + 1
            used.add(wanted)
            self.rename(section, wanted)

    def rename(self, section: nodes.section, wanted: str) -> None:
        """Replace the first id of a section, which was made from its title, unless another thing has the new one."""
        old = section["ids"][0]
        if old != wanted and self.document.ids.get(wanted) is None:
            section["ids"][0] = wanted
            self.document.ids[wanted] = self.document.ids.pop(old)
            for name, known in self.document.nameids.items():
                if known == old:
                    self.document.nameids[name] = wanted


def headings(path: Path) -> list[str]:
    """Return the headings of a notebook or a Markdown file as plain text."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells)
    found, fence = [], ""
    for line in text.splitlines():
        if mark := FENCE.match(line):
            if not fence:
                fence = mark[1]
            elif not mark[2].strip() and mark[1].startswith(fence):
                fence = ""
        elif not fence and (heading := HEADING.match(line)):
            found.append(plain(heading[1]))
    return found


def plain(heading: str) -> str:
    """Return a heading's words without marks of Markdown."""
    (inline,) = [token for token in MarkdownIt("commonmark").parse(f"# {heading}") if token.type == "inline"]
    return "".join(token.content for token in inline.children or [] if token.type in ("text", "code_inline"))
