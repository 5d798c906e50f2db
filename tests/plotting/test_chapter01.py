"""The figures of chapter 1 show the data they are given."""

import pytest

from metasgd import plotting
from metasgd.evaluation import Evaluation


def test_figure_draws_every_accuracy_after_its_steps():
    curves = {"SGD, query": [0.2, 0.4, 0.5], "SGD, support": [0.2, 0.9, 1.0], "Meta-SGD": [0.2, 0.8]}
    levels: dict[str, dict[str, float]] = {"left": {"a": 0.3}, "right": {}}
    fig = plotting.accuracy_against_steps(dict.fromkeys(levels, curves), levels, 0.2, dashed=["SGD, support"])
    left, right = fig.axes
    assert [line.get_ydata().tolist() for line in right.lines[:3]] == [[20, 40, 50], [20, 90, 100], [20, 80]]
    assert left.lines[0].get_color() == left.lines[1].get_color() != left.lines[2].get_color()
    assert [line.get_linestyle() for line in left.lines[:2]] == ["-", "--"]
    assert set(left.lines[3].get_ydata()) == {30}
    assert left.get_title() == "left"


def test_intervals_by_shots_draw_each_panel_from_its_own_scores():
    rows = {
        "ours": [Evaluation(0.7, 0.1, None), Evaluation(0.9, 0.05, None)],
        "other": [Evaluation(0.5, 0.1, None)] * 2,
    }
    left, right = plotting.intervals_by_shots(rows, ["one", "five"], 0.2, highlight="ours").axes
    for axes, means in ((left, [70, 50]), (right, [90, 50])):
        assert [container.lines[0].get_xdata()[0] for container in axes.containers] == pytest.approx(means)
    ours, other = left.containers
    assert ours.lines[0].get_color() == plotting.COLOURS["blue"] != other.lines[0].get_color()
