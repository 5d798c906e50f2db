"""A slider that chooses among pictures drawn beforehand, and works in a page without a server (chapter 1)."""

import html
import io
import json
import uuid
from collections.abc import Mapping
from urllib.parse import quote

from matplotlib.figure import Figure

from metasgd.plotting.display import svg

# All pictures are part of the page, so that moving the slider loads nothing. The slider opens at its first position;
# where scripts are off, the last picture is shown.
TEMPLATE = """
<div class="frames" id="{key}">
  <img src="{last}" alt="{alt}">
  <div class="frames-control">
    <input type="range" min="0" max="{count}" value="0" step="1" aria-label="{control}" hidden>
    <output aria-live="polite">{label}</output>
  </div>
  <script>
    (() => {{
      const frames = {frames};
      const root = document.getElementById("{key}");
      const [picture, slider, output] = ["img", "input", "output"].map((tag) => root.querySelector(tag));
      const show = () => {{
        const [label, address] = frames[slider.value];
        picture.src = address;
        output.textContent = label;
        slider.setAttribute("aria-valuetext", label);
      }};
      slider.hidden = false;
      slider.value = 0;
      slider.addEventListener("input", show);
      show();
    }})();
  </script>
</div>
"""


class Slider:
    """A row of pictures of which a slider shows one at a time (chapter 1, ``fig-why-valley``).

    A notebook shows it where it is the value of a cell.

    Args:
        figures: by label, the figures in the order of the slider. The first one is shown at first; the last one is
            shown in a PDF and where scripts are off.
        control: what the slider changes, for screen readers.
        alt: what the pictures show, for readers who cannot see them.

    Raises:
        ValueError: there are fewer than two figures, or ``control`` or ``alt`` is empty.
    """

    def __init__(self, figures: Mapping[str, Figure], *, control: str, alt: str) -> None:
        if len(figures) < 2:
            raise ValueError(f"a slider over {len(figures)} figures moves nothing; give at least two")
        if not control.strip() or not alt.strip():
            raise ValueError("control and alt must say something: readers who do not see the figure rely on them")
        self.addresses = {label: address(svg(figure)) for label, figure in figures.items()}
        self.last = png(list(figures.values())[-1])
        self.control, self.alt = control, alt

    def _repr_png_(self) -> bytes:
        """Return the last picture as a PNG file, which notebooks put into a PDF."""
        return self.last

    def _repr_html_(self) -> str:
        """Return the slider with all its pictures as one piece of HTML that refers to no other file."""
        label, last = list(self.addresses.items())[-1]
        frames = [[name, address] for name, address in self.addresses.items()]
        return TEMPLATE.format(
            key=f"frames-{uuid.uuid5(uuid.NAMESPACE_OID, last).hex[:12]}",
            last=last,
            alt=html.escape(self.alt, quote=True),
            control=html.escape(self.control, quote=True),
            label=html.escape(label),
            count=len(frames) - 1,
            frames=script_safe(frames),
        )


def script_safe(value: object) -> str:
    """Return a value as a JavaScript literal that cannot end the ``<script>`` element in which it stands."""
    return json.dumps(value).replace("<", "\\u003c")


def address(drawing: str) -> str:
    """Return SVG as an address that stands for it, which compression makes small, as it would not the usual base64."""
    return "data:image/svg+xml," + quote(drawing, safe=" !'()*+,-./:;=?@")


def png(figure: Figure) -> bytes:
    """Return the bytes of a PNG file that shows a figure."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return buffer.getvalue()
