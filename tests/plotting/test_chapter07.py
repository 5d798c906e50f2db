"""The figures of chapter 7 show the data they are given."""

import pytest
import torch

from metasgd import plotting
from tests.plotting.reading import curve, curves, legend, level, texts, tick_names


def test_fold_table_marks_the_held_out_digits() -> None:
    (axes,) = plotting.fold_table([(0, 9), (3,)]).axes
    marked = {text.get_position() for text in axes.texts if text.get_text() == "test"}
    assert marked == {(0, 0), (9, 0), (3, 1)}
    assert len(axes.texts) == 20
    orange = [patch.get_center().tolist() for patch in axes.patches if patch.get_facecolor()[:3] != (1, 1, 1)]
    assert orange == [[0, 0], [9, 0], [3, 1]]


def test_place_shares_draw_a_line_for_each_place() -> None:
    shares = {"first": torch.tensor([[0.5, 0.25], [0.75, 0.0]]), "second": torch.tensor([[0.5, 0.5], [0.5, 0.5]])}
    figure = plotting.place_shares(shares, expected=0.5)
    left, right = figure.axes
    assert curves(left) == {"place 1": [[0, 0.5], [1, 0.25]], "place 2": [[0, 0.75], [1, 0]]}
    assert [left.get_title(), right.get_title()] == ["first", "second"]
    assert [level(panel.lines[-1]) for panel in (left, right)] == [0.5, 0.5]
    assert legend(figure) == ["place 1", "place 2"]
    assert left.get_ylim()[0] == 0


def test_interval_check_draws_coverage_and_the_law_of_the_half_width() -> None:
    left, right = plotting.interval_check(
        [10, 20, 40], {"normal": [0.9, 0.92, 0.94], "Student": [0.95] * 3}, [0.05, 0.03, 0.02]
    ).axes
    assert curve(left, "normal").get_ydata() == pytest.approx([90, 92, 94])
    assert level(left.lines[-1]) == 95
    assert curve(right, "half-width").get_ydata() == pytest.approx([5, 3, 2])
    law = curve(right, "∝ 1/√T").get_ydata()
    assert law == pytest.approx([4, 2 * 2**0.5, 2])  # through the last point; half of it at four times the tasks
    assert tick_names(right, "x") == ["10", "40"]


def test_turned_digits_frames_the_kept_turns() -> None:
    kept = torch.zeros(3, 10, dtype=torch.bool)
    kept[1, 4] = True
    closest = torch.arange(30).reshape(3, 10)
    axes = plotting.turned_digits(torch.full((3, 10), 0.75), closest, kept).axes[0]
    (frame,) = axes.patches
    assert frame.get_center() == pytest.approx((4, 1))
    assert texts(axes) == [f"75\n({digit})" for digit in range(30)]


def test_selection_bias_shades_the_gap_between_both_curves() -> None:
    (axes,) = plotting.selection_bias([10, 100], reported=[0.9, 0.8], fresh=[0.7, 0.75]).axes
    assert curve(axes, "on the tasks that chose it").get_ydata() == pytest.approx([90, 80])
    assert curve(axes, "on fresh tasks").get_ydata() == pytest.approx([70, 75])
    (gap,) = axes.collections
    bounds = gap.get_paths()[0].get_extents()
    assert [bounds.x0, bounds.x1, bounds.y0, bounds.y1] == pytest.approx([10, 100, 70, 90])
    assert axes.get_xscale() == "log"
