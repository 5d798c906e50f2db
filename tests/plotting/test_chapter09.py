"""The figures of chapter 9 show the data they are given."""

from typing import Any

import matplotlib as mpl
import pytest

from metasgd import plotting
from tests.plotting.reading import curves, tick_names


def test_call_costs_marks_the_fixed_cost_in_microseconds() -> None:
    (axes,) = plotting.call_costs([1, 10, 100], [1e-6, 2e-6, 9e-6], {"here": 10}).axes
    curve, level, mark = axes.lines
    assert list(curve.get_ydata()) == pytest.approx([1, 2, 9])
    assert level.get_ydata()[0] == pytest.approx(1)
    assert mark.get_xdata()[0] == 10


def test_seconds_by_tasks_divides_by_the_number_of_tasks() -> None:
    panels = {"a": {"loop": {1: 0.5, 4: 2.0}}, "b": {"loop": {1: 0.1}, "batched": {1: 0.2}}}
    left, right = plotting.seconds_by_tasks(panels).axes
    assert list(left.lines[0].get_ydata()) == pytest.approx([500, 500])
    assert [line.get_label() for line in right.lines] == ["loop", "batched"]
    assert [left.get_title(), right.get_title()] == ["a", "b"]


def test_error_against_rate_draws_a_line_for_each_way_on_logarithmic_axes() -> None:
    (axes,) = plotting.error_against_rate([1, 2, 4], {"first": [3.0, 2.0, 1.0], "second": [1.0, 1.5, 1.0]}).axes
    assert curves(axes) == {"first": [[1, 3], [2, 2], [4, 1]], "second": [[1, 1], [2, 1.5], [4, 1]]}
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_saved_memory_draws_a_line_for_each_way_from_zero_on() -> None:
    (axes,) = plotting.saved_memory([1, 2, 4], {"first": [3.0, 2.0, 1.0], "second": [1.0, 1.5, 1.0]}).axes
    assert curves(axes) == {"first": [[1, 3], [2, 2], [4, 1]], "second": [[1, 1], [2, 1.5], [4, 1]]}
    assert tick_names(axes, "x") == ["1", "2", "4"]
    assert axes.get_ylim()[0] == 0


def test_labels_of_a_roofline_do_not_overlap() -> None:
    """Three points on one spot, and one far away: the labels of the three stand one above the other."""
    points = {"kind": {"one": (1.0, 8e9), "two": (1.0, 8e9), "three": (1.01, 8e9), "far": (100.0, 8e9)}}
    (axes,) = plotting.roofline(1e11, 1e10, points).axes
    offsets = {text.get_text(): text.xyann[1] for text in axes.texts}
    assert offsets["far"] == pytest.approx(-4)
    assert sorted(offsets[name] for name in ("one", "two", "three")) == pytest.approx([-4, 9, 22])


def test_roofline_has_its_edge_where_memory_and_arithmetic_meet() -> None:
    points = {"left": {"op": (1.0, 8e9)}, "right": {"other": (100.0, 9e10)}}
    (axes,) = plotting.roofline(1e11, 1e10, points).axes
    roof, op, other = axes.lines
    assert roof.get_xdata()[1] == pytest.approx(10)
    assert list(roof.get_ydata()[1:]) == pytest.approx([100, 100])
    assert roof.get_ydata()[0] == pytest.approx(10 * roof.get_xdata()[0])
    assert (op.get_xdata()[0], op.get_ydata()[0]) == pytest.approx((1, 8))
    assert (other.get_xdata()[0], other.get_ydata()[0]) == pytest.approx((100, 90))
    assert [text.get_text() for text in axes.texts] == ["op", "other"]


def test_ablation_bars_draw_the_median_speed_and_the_range() -> None:
    (axes,) = plotting.ablation_bars({"a": [0.5, 1.0, 0.25], "b": [0.1, 0.1, 0.1]}, tasks=2).axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([4, 20])
    assert list(axes.lines[0].get_xdata()) == pytest.approx([2, 8])


def test_relative_speeds_have_a_panel_for_each_network_and_ours_in_blue() -> None:
    def row(ratio: float) -> dict[str, Any]:
        return {"times_reference": {"median": ratio, "min": ratio / 2, "max": 2 * ratio}}

    reference = {"times_reference": {"median": 1.0, "min": 1.0, "max": 1.0}}
    images, sine = {"kind": "convnet", "width": 32}, {"kind": "sine", "width": 40}
    results = [
        {"workload": images, "contenders": {"loop": row(1.5), "other": row(1.0), "reference": reference}},
        {"workload": sine, "contenders": {"other": row(0.5), "late": {"times_reference": None}}},
        {"workload": images, "contenders": {"other": row(0.25)}},
    ]
    first, second = plotting.relative_speeds(results, ["loop"]).axes
    assert [axes.get_title("left") for axes in (first, second)] == ["convnet, 32 filters", "sine waves, 1-40-40-1"]
    assert [label.get_text() for label in first.get_yticklabels()] == ["loop", "other"]
    assert [label.get_text() for label in second.get_yticklabels()] == ["other"]
    marks = [line for line in first.lines if len(line.get_xdata()) == 1]
    assert [mark.get_xdata()[0] for mark in marks] == [1.5, 1.0, 0.25]
    assert [round(mark.get_ydata()[0]) for mark in marks] == [0, 1, 1]
    blue = mpl.colors.to_hex(plotting.COLOURS["blue"])
    assert [mpl.colors.to_hex(mark.get_color()) == blue for mark in marks] == [True, False, False]
