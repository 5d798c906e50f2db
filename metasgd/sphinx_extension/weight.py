"""Small pages: pictures that load when they come near, the few icons in use, the part of MathJax in use."""

import hashlib
import logging
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from docutils import nodes
from fontTools import subset
from fontTools.ttLib import TTFont
from PIL import Image
from sphinx.application import Sphinx
from sphinx.util.osutil import relative_uri

EMBEDDED = re.compile(r"data:image/svg\+xml,([^\"<>&\\]{1000,})")  # as metasgd.plotting.slider writes it
SIZE_OF_SVG = re.compile(r'<svg [^>]*?width="([\d.]+)pt" height="([\d.]+)pt"')
PIXELS_OF_POINT = 4 / 3  # as CSS has it
# Without the menu of MathJax, in which a formula can be copied: it is two thirds as large as all the rest, and makes a
# Tab stop of every formula. What screen readers read is there.
MATHJAX: dict[str, dict[str, Any]] = {
    "loader": {"load": ["input/tex", "output/chtml", "a11y/assistive-mml"]},
    "options": {"menuOptions": {"settings": {"inTabOrder": False}}},
}
FONTS = {"solid": "fa-solid-900", "regular": "fa-regular-400", "brands": "fa-brands-400"}
ICON_SCRIPT = "scripts/fontawesome.js"  # in _static: draws every icon there is, half a megabyte
ICON_STYLE = "icons.css"
ICON_RULE = re.compile(r'([^{}]*\.fa-[^{}]*)\{content:"(.)"\}')  # the character of an icon's name


def connect(app: Sphinx) -> None:
    """Connect the functions of this module to Sphinx's events."""
    app.connect("config-inited", leave_out_scripts_in_folders)
    app.connect("config-inited", load_part_of_mathjax)
    app.connect("builder-inited", add_icon_style)
    app.connect("doctree-resolved", move_pictures_into_files)
    app.connect("build-finished", keep_icons_in_use, priority=900)
    app.add_node(nodes.image, override=True, html=(visit_image, None))


def leave_out_scripts_in_folders(app: Sphinx, config: Any) -> None:
    """Remove scripts and styles in folders of ``_static`` from the list for all pages.

    Jupyter Book adds every script and style in ``_static`` to all pages. Those in a folder, such as ``adapt``, belong
    to something that readers touch in one chapter, and that chapter loads them by itself.
    """
    for name in ("html_js_files", "html_css_files"):
        files = [file for file in config[name] if "/" not in str(file) or "://" in str(file)]
        setattr(config, name, files)


def load_part_of_mathjax(app: Sphinx, config: Any) -> None:
    """Load the parts of MathJax that set formulas, where MathJax comes with the site."""
    if "mathjax_path" in config.values and config.mathjax_path == "mathjax/tex-chtml.js":
        config.mathjax_path = "mathjax/startup.js"
        settings = config.mathjax3_config or {}
        for part, value in MATHJAX.items():
            settings[part] = {**settings.get(part, {}), **value}
        config.mathjax3_config = settings


def visit_image(translator: Any, node: nodes.image) -> None:
    """Write a picture with its size, so that the page does not jump, and let it load when it comes near."""
    path = Path(translator.builder.srcdir, unquote(node["uri"]))
    type(translator).visit_image(translator, node)
    if translator.body[-1].startswith("<img "):
        translator.body[-1] = translator.body[-1].replace("<img ", f"<img {attributes(path)} ", 1)


def attributes(path: Path) -> str:
    """Return the attributes of a picture: that it loads late, and its size in pixels where a file says it."""
    size = ""
    if path.suffix in (".png", ".jpg", ".jpeg", ".gif", ".webp") and path.is_file():
        with Image.open(path) as picture:
            size = f' width="{picture.width}" height="{picture.height}"'
    elif path.suffix == ".svg" and path.is_file() and (found := SIZE_OF_SVG.search(path.read_text(encoding="utf-8"))):
        width, height = (round(PIXELS_OF_POINT * float(points)) for points in found.groups())
        size = f' width="{width}" height="{height}"'
    return f'loading="lazy" decoding="async"{size}'


def move_pictures_into_files(app: Sphinx, tree: nodes.document, page: str) -> None:
    """Move the pictures that are written into a page, those of a slider, into files of their own.

    A notebook holds them as text, because it has no files beside it. In a page they would all be loaded at once.
    """
    if app.builder.format != "html":
        return
    folder = relative_uri(app.builder.get_target_uri(page), "_images/")
    target = Path(app.outdir, "_images")
    for raw in tree.findall(nodes.raw):
        if raw["format"] == "html" and EMBEDDED.search(raw.astext()):
            target.mkdir(parents=True, exist_ok=True)
            text = EMBEDDED.sub(lambda found: folder + write_picture(found, target), raw.astext())
            text = re.sub(
                rf'<img src="{re.escape(folder)}(\w+\.\w+)"',
                lambda found: f'<img {attributes(target / found[1])} src="{folder}{found[1]}"',
                text,
            )
            raw.children = [nodes.Text(text)]
            raw.rawsource = text


def write_picture(found: re.Match[str], folder: Path) -> str:
    """Write an embedded picture into a folder, under a name that is made from its content, and return the name."""
    content = unquote(found[1]).encode()
    name = f"{hashlib.sha256(content).hexdigest()[:32]}.svg"
    (folder / name).write_bytes(content)
    return name


def add_icon_style(app: Sphinx) -> None:
    """Let every page load the style of the icons, which is written when all pages are there."""
    if app.builder.format == "html":
        app.add_css_file(ICON_STYLE)
        # Sphinx warns of a file in the way of one that it copies.
        Path(app.outdir, "_static", ICON_SCRIPT).unlink(missing_ok=True)


def keep_icons_in_use(app: Sphinx, exception: Exception | None) -> None:
    """Draw icons from small fonts that have those in use, and not by a script that has all of them.

    The style names the characters that each font has, so that a browser loads the theme's whole font for any other.
    """
    static = Path(app.outdir, "_static")
    if exception is not None or app.builder.format != "html" or not (static / ICON_SCRIPT).is_file():
        return
    styles = "".join(path.read_text(encoding="utf-8") for path in sorted((static / "styles").glob("*.css")))
    used = icons_in_use(Path(app.outdir), styles)
    rules = []
    for kind, name in FONTS.items():
        font = TTFont(static / "vendor" / "fontawesome" / "webfonts" / f"{name}.ttf")
        kept = sorted(used & font.getBestCmap().keys())
        if kept:
            write_font(font, kept, static / f"icons-{kind}.woff")
            characters = ", ".join(f"U+{one:x}" for one in kept)
            family, weight = ("Brands", 400) if kind == "brands" else ("Free", 900 if kind == "solid" else 400)
            rules.append(
                f'@font-face {{ font-family: "Font Awesome 6 {family}"; font-weight: {weight}; font-display: block; '
                f'src: url(icons-{kind}.woff) format("woff"); unicode-range: {characters} }}'
            )
    (static / ICON_STYLE).write_text("\n".join(rules) + "\n", encoding="utf-8")
    (static / ICON_SCRIPT).write_text("// The icons are characters of a font: icons.css\n", encoding="utf-8")


def icons_in_use(site: Path, styles: str) -> set[int]:
    """Return the characters of the icons that pages name, and of those that the styles write by themselves."""
    styles = re.sub(r"\\([ef][0-9a-f]{3})", lambda code: chr(int(code[1], 16)), styles)
    named: dict[str, int] = {}
    for selectors, character in ICON_RULE.findall(styles):
        named |= dict.fromkeys(re.findall(r"\.fa-([\w-]+):", selectors), ord(character))
    names = {name for page in site.glob("**/*.html") for name in re.findall(r"\bfa-([\w-]+)", page.read_text("utf-8"))}
    written = re.findall("[\ue000-\uf8ff]", ICON_RULE.sub("", styles))
    return {named[name] for name in names & named.keys()} | {ord(character) for character in written}


def write_font(font: TTFont, characters: list[int], path: Path) -> None:
    """Write a font with some of its characters alone, under no name: that of the whole font is reserved for it."""
    logging.getLogger("fontTools").setLevel(logging.WARNING)  # it tells of every table
    options = subset.Options(flavor="woff", name_IDs=[0, 13, 14], notdef_outline=True)
    part = subset.Subsetter(options)
    part.populate(unicodes=characters)
    part.subset(font)
    subset.save_font(font, path, options)
