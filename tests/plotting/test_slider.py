"""Sliders over pictures: complete in one piece of HTML, described, and of use without a script."""

import re

import pytest
from matplotlib.figure import Figure

from metasgd.plotting.slider import Slider


def pictures(count: int) -> dict[str, Figure]:
    return {f"<step> {index}": Figure(figsize=(0.5 + index / 10, 0.5)) for index in range(count)}


def test_slider_holds_every_picture_and_its_label() -> None:
    slider = Slider(pictures(3), control='the "step"', alt="a square")
    text = slider._repr_html_()
    assert len(set(re.findall(r'"(data:image/svg\+xml,[^"]+)"', text))) == 3
    assert 'aria-label="the &quot;step&quot;"' in text
    assert 'max="2" value="0"' in text
    script = re.search(r"<script>(.*?)</script>", text, re.DOTALL)[1]
    assert "\\u003cstep> 0" in script  # a label cannot end the script
    assert '<output aria-live="polite">&lt;step&gt; 2</output>' in text


def test_last_picture_shows_without_scripts_and_in_a_pdf() -> None:
    slider = Slider(pictures(2), control="step", alt="a square")
    picture = re.search(r'<img src="([^"]+)" alt="a square">', slider._repr_html_())[1]
    assert f'["\\u003cstep> 1", "{picture}"]' in slider._repr_html_()
    assert slider._repr_png_().startswith(b"\x89PNG")
    assert 'type="range"' in slider._repr_html_()
    assert re.search(r"<input[^>]* hidden>", slider._repr_html_())  # the script shows it


def test_two_sliders_on_a_page_do_not_meet() -> None:
    texts = [Slider(pictures(count), control="step", alt="a square")._repr_html_() for count in (2, 3)]
    assert len({re.search(r'id="([^"]+)"', text)[1] for text in texts}) == 2


@pytest.mark.parametrize(
    ("count", "control", "alt", "message"),
    [
        (1, "step", "a square", "over 1 figures"),
        (2, " ", "a square", "say something"),
        (2, "step", "", "say something"),
    ],
)
def test_slider_that_is_of_no_use_is_refused(count: int, control: str, alt: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Slider(pictures(count), control=control, alt=alt)
