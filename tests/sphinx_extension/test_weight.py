"""Pictures that load when they come near, and the few icons and parts of MathJax in use."""

import base64
import io
import json
import re
from urllib.parse import unquote

import pytest
from bs4 import BeautifulSoup
from fontTools.ttLib import TTFont
from matplotlib.figure import Figure

from metasgd.plotting.slider import Slider
from metasgd.sphinx_extension.weight import ICON_SCRIPT, icons_in_use


def figure(size: float) -> Figure:
    drawn = Figure((size, 1), dpi=100)
    drawn.add_subplot().plot([0, size])
    return drawn


def test_pictures_of_a_slider_become_files(build) -> None:
    """The page holds none of them, all are there byte by byte, and the one that is shown first says its size."""
    slider = Slider({"1": figure(2), "2": figure(3)}, control="size", alt="A line.")
    markdown = f"# First\n\n```{{raw}} html\n{slider._repr_html_()}\n```\n"
    site = build({"first.md": markdown})
    text = (site / "first.html").read_text(encoding="utf-8")
    assert "data:image/svg" not in text
    (frames,) = re.findall(r"const frames = (.*);", text)
    addresses = dict(json.loads(frames))
    written = {label: (site / path).read_text(encoding="utf-8") for label, path in addresses.items()}
    assert written == {label: unquote(address).partition(",")[2] for label, address in slider.addresses.items()}
    shown = BeautifulSoup(text, "html.parser").select_one(".frames img")
    assert shown["src"] == addresses["2"]
    assert (shown["loading"], shown["width"], shown["height"]) == ("lazy", "288", "96")


def test_a_picture_loads_late_and_says_its_size(build, tmp_path) -> None:
    """Its size keeps the page from jumping when it comes."""
    figure(2).savefig(tmp_path / "one.png")
    site = build({"first.md": "# First\n\n![A line](one.png)\n"})
    picture = BeautifulSoup((site / "first.html").read_text(encoding="utf-8"), "html.parser").select_one("article img")
    assert (picture["loading"], picture["width"], picture["height"]) == ("lazy", "200", "100")
    assert picture["alt"] == "A line"


def test_small_pictures_stay_in_the_page(build) -> None:
    dot = base64.b64encode(b"small").decode()
    site = build({"first.md": f'# First\n\n```{{raw}} html\n<img alt="" src="data:image/png;base64,{dot}">\n```\n'})
    assert dot in (site / "first.html").read_text(encoding="utf-8")


def test_icons_are_those_that_pages_name_and_that_the_style_writes(tmp_path) -> None:
    (tmp_path / "page.html").write_text('<i class="fa-solid fa-bars fa-lg"></i>')
    style = r'.fa-lg{font-size:2em}.fa-bars:before,.fa-nav:before{content:"\f0c9"}.fa-sun:before{content:"\f185"}'
    assert icons_in_use(tmp_path, style + r'.bell:after{content:"\f0f3"}') == {0xF0C9, 0xF0F3}


@pytest.mark.parametrize("kind", ["solid", "brands"])
def test_fonts_of_icons_are_small_and_have_the_icons(build, kind: str) -> None:
    site = build({"first.md": "# First\n"})
    content = (site / "_static" / f"icons-{kind}.woff").read_bytes()
    assert len(content) < 10_000
    font = TTFont(io.BytesIO(content))
    characters = {f"U+{code:x}" for code in font.getBestCmap()}
    style = (site / "_static" / "icons.css").read_text()
    ranges = [set(codes.split(", ")) for codes in re.findall(rf"{kind}\.woff.*?unicode-range: ([^}}]*?) }}", style)]
    assert ranges == [characters]
    assert {"solid": "U+f0c9", "brands": "U+f09b"}[kind] in characters  # the table of contents; GitHub
    assert not font["name"].getDebugName(1)  # the name is reserved for the whole font
    assert (site / "_static" / ICON_SCRIPT).stat().st_size < 1000


def test_formulas_load_the_parts_that_set_them_and_are_no_tab_stops(build) -> None:
    site = build({"first.md": "# First\n\n$x$\n"}, mathjax_path="mathjax/tex-chtml.js")
    text = (site / "first.html").read_text(encoding="utf-8")
    (settings,) = re.findall(r"window\.MathJax = (\{.*?\})</script>", text)
    assert "mathjax/startup.js" in text
    assert json.loads(settings)["loader"]["load"] == ["input/tex", "output/chtml", "a11y/assistive-mml"]
    assert json.loads(settings)["options"]["menuOptions"] == {"settings": {"inTabOrder": False}}
    assert "processHtmlClass" in json.loads(settings)["options"]  # of MyST, for which formulas are to be set
