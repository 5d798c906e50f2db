"""How a notebook shows a figure: as a drawing with text that can be found."""

import re

import pytest
import torch

from metasgd.plotting import display
from metasgd.plotting.display import PAGE_FONTS, BookFigure, svg
from metasgd.plotting.style import figure


def drawn() -> BookFigure:
    with figure() as (fig, axes):
        axes.plot([0, 1], [0, 1])
        axes.set(xlabel=r"best rate $\alpha$ of all", ylabel="loss")
    return fig


def test_figure_of_the_book_is_shown_as_svg_and_as_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    ipython = pytest.importorskip("IPython.display", reason="IPython is not installed")
    shown = []
    monkeypatch.setattr(ipython, "display", lambda data, raw: shown.append((data, raw)))
    drawn()._ipython_display_()
    ((data, raw),) = shown
    assert raw
    assert sorted(data) == ["image/svg+xml", "text/plain"]
    assert data["image/svg+xml"] == svg(drawn())  # the same figure, the same text


def test_text_is_text_in_the_fonts_of_the_page() -> None:
    drawing = svg(drawn())
    assert ">loss</text>" in drawing
    assert f'font-family="{PAGE_FONTS}"' in drawing
    assert "font-family:" not in drawing


def test_letters_of_words_beside_a_formula_stand_together() -> None:
    words = re.findall("<tspan[^>]*>([^<]*)</tspan>", svg(drawn()))
    assert {word.replace("\xa0", " ").strip() for word in words} == {"best rate", "α", "of all"}


def test_prime_of_a_symbol_is_the_character_that_it_is() -> None:
    with figure() as (fig, axes):
        axes.set(xlabel=r"$\theta'_1$")
    words = "".join(re.findall("<tspan[^>]*>([^<]*)</tspan>", svg(fig)))
    assert sorted(words) == sorted("θ′1")


def test_parts_of_a_heavy_figure_are_pictures_and_its_text_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with figure() as (fig, axes):
        points = torch.randn(2, 3000, generator=torch.Generator().manual_seed(0))
        axes.scatter(*points.numpy())
        axes.set(xlabel="many")
    whole = svg(fig)
    assert "<image" not in whole
    monkeypatch.setattr(display, "MOST_BYTES", 100_000)
    light = svg(fig)
    assert len(light) < len(whole)
    assert "<image" in light
    assert ">many</text>" in light
    assert not any(part.get_rasterized() for part in fig.axes[0].collections)  # the figure itself is as it was
