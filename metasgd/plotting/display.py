"""How a notebook shows a figure of the book: as a drawing that is sharp at any size, with text in the page's font."""

import io
import re
import xml.etree.ElementTree as ET
from itertools import pairwise
from typing import Any

import matplotlib as mpl
from matplotlib.artist import Artist
from matplotlib.collections import Collection
from matplotlib.figure import Figure

# The fonts of the website, which are those of the reader's system, and then the one by which Matplotlib measures.
PAGE_FONTS = "-apple-system, BlinkMacSystemFont, 'Segoe UI', 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"
MOST_BYTES = 400_000  # of a drawing; beyond that, its many small parts are one picture each
DOTS_PER_INCH = 216  # of pictures in a drawing: enough for screens with two and a quarter dots to a pixel
SVG = "http://www.w3.org/2000/svg"


class BookFigure(Figure):
    """A figure that a notebook shows as SVG, whatever formats it has been set to."""

    def _ipython_display_(self) -> None:
        """Show the figure; IPython calls this where the figure is the value of a cell."""
        from IPython.display import display  # which only a notebook has

        shown: dict[str, Any] = {"image/svg+xml": svg(self), "text/plain": repr(self)}
        display(shown, raw=True)  # type: ignore[no-untyped-call]


def svg(figure: Figure) -> str:
    """Return a figure as SVG.

    Text is text, in the fonts of the website, so that it can be found and read aloud. A figure of more than
    ``MOST_BYTES`` has its fields of arrows, clouds of points and the like drawn as pictures, which are sharp on a
    screen of twice the ordinary density. The same figure gives the same text.
    """
    drawing = _save(figure)
    if len(drawing) > MOST_BYTES:
        heavy: list[Artist] = [part for part in figure.findobj(Collection) if not part.get_rasterized()]
        for part in heavy:
            part.set_rasterized(True)
        drawing = _save(figure)
        for part in heavy:
            part.set_rasterized(False)
    return drawing


def _save(figure: Figure) -> str:
    """Return a figure as SVG, with text as text."""
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "metasgd", "path.simplify_threshold": 0.2}):
        figure.savefig(buffer, format="svg", dpi=DOTS_PER_INCH, metadata={"Date": None, "Creator": None})
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")
    root = ET.fromstring(buffer.getvalue().decode())
    for text in root.iter(f"{{{SVG}}}text"):
        _write_primes(text)
        _join_letters(text)
    root.set("font-family", PAGE_FONTS)
    drawing = ET.tostring(root, encoding="unicode")
    drawing = re.sub(r"font-family: [^;\"]*(; )?", "", drawing)
    return re.sub(r"(\.\d\d)\d+", r"\1", drawing)  # a hundredth of a point cannot be seen


def _write_primes(text: ET.Element) -> None:
    """Write the prime of a symbol as the character that it is.

    Matplotlib takes it from a font of its own, in which it has the place of a 0, and raises it as no other font needs.
    """
    for part in text:
        if "cmsy10" in part.get("style", "") and part.text == "0":
            symbol = text[0]
            part.text = "′"
            part.attrib.update({name: symbol.get(name, "") for name in ("style", "y")})


def _join_letters(text: ET.Element) -> None:
    """Let the letters of a word in a text with formulas stand together.

    Matplotlib gives each of them a place of its own, by the widths of its own font, so that they would stand apart in
    a narrower one. Letters are joined that have the same style and height and no other letter between them.
    """
    letters = [part for part in text if part.tag == f"{{{SVG}}}tspan"]
    in_order = sorted(letters, key=lambda part: float(part.get("x", "0").split()[0]))
    for left, right in pairwise(in_order):
        if left.get("y") == right.get("y") and left.get("style") == right.get("style"):
            right.text = (left.text or "") + (right.text or "")
            right.set("x", left.get("x", "0"))
            text.remove(left)
