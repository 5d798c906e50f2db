"""The figures of chapter 11 show the data they are given."""

import pytest
import torch

from metasgd import plotting
from tests.plotting.examples import distance
from tests.plotting.reading import colour, curve, curves, legend, level, texts, tick_names


def test_rate_densities_count_negative_rates_in_red_and_others_in_blue() -> None:
    rates = {"first": torch.tensor([[-0.25, 0.05], [0.05, 0.25]]), "last": torch.tensor([0.5])}
    (axes,) = plotting.rate_densities(rates, limit=0.6).axes  # bins of 0.02
    bars = [bar for bar in axes.patches if bar.get_height() > 0]
    found = sorted((bar.get_y(), round(float(bar.get_x()), 2), round(float(bar.get_height()), 3)) for bar in bars)
    assert found == [(-1, 0.5, 0.85), (0, -0.26, 0.425), (0, 0.04, 0.85), (0, 0.24, 0.425)]  # 0.85: the fullest bin
    red = [bar for bar in bars if bar.get_facecolor()[0] > bar.get_facecolor()[2]]
    assert [bar.get_x() < -0.2 for bar in red] == [True]
    assert texts(axes) == ["25% negative", "0% negative"]
    assert tick_names(axes, "y") == ["first", "last"]
    assert axes.get_xlim() == pytest.approx((-0.6, 0.6))


def test_rate_ranges_draw_one_bar_a_run_and_the_mean_share_of_negative_rates() -> None:
    def run(low: float, middle: float, high: float, negative: float) -> dict[str, float]:
        return {"low": low, "middle": middle, "high": high, "negative": negative}

    rows = {"first": [run(-0.1, 0.1, 0.2, 0.5), run(0.0, 0.1, 0.3, 0.25)], "last": [run(0.1, 0.2, 0.3, 0.0)]}
    (axes,) = plotting.rate_ranges(rows, start=0.15).axes
    ranges = [line.get_xdata().tolist() if len(line.get_xdata()) == 2 else None for line in axes.lines[:6:2]]
    assert ranges == [[-0.1, 0.2], [0.0, 0.3], [0.1, 0.3]]
    assert [line.get_xdata()[0] for line in axes.lines[1:6:2]] == [0.1, 0.1, 0.2]
    assert [line.get_ydata()[0] for line in axes.lines[:6:2]] == pytest.approx([-0.11, 0.11, 1])
    assert [level(line, "x") for line in axes.lines[6:]] == [0, 0.15]
    assert texts(axes) == ["38%", "0%"]
    assert [colour(text) for text in axes.texts] == ["red", "grey"]
    assert tick_names(axes, "y") == ["first", "last"]


def test_scaled_steps_draw_each_kind_of_rates_and_the_error_without_a_step() -> None:
    (axes,) = plotting.scaled_steps([0, 1], {"as learned": [3.0, 0.5], "clipped": [3.0, 1.5]}, untouched=3.0).axes
    drawn = curves(axes)
    assert drawn["as learned"] == [[0, 3], [1, 0.5]]
    assert drawn["clipped"] == [[0, 3], [1, 1.5]]
    assert level(curve(axes, "no step")) == 3
    assert colour(curve(axes, "as learned")) == "blue"
    assert axes.get_yscale() == "log"


def test_rate_plane_greys_negative_rates_and_marks_the_points() -> None:
    places = {"best": [1.0, -0.5], "clipped": [1.0, 0.0], "other": [0.5, 0.5]}
    points = {name: torch.tensor(place) for name, place in places.items()}
    figure = plotting.rate_plane(lambda rates: distance(rates) - 1, points)
    (axes,) = figure.axes
    assert curves(axes) == {name: [place] for name, place in places.items()}
    below, left = axes.patches
    assert below.get_y() + below.get_height() == pytest.approx(0)
    assert left.get_x() + left.get_width() == pytest.approx(0)
    assert legend(figure) == list(points)
