"""The figures of chapter 1 show the data they are given."""

import pytest
import torch

from metasgd import plotting
from metasgd.evaluation import Evaluation
from tests.plotting.examples import distance, uniform
from tests.plotting.reading import curves, texts


def test_sorted_drawings_have_the_answer_of_each_method_under_each_drawing():
    support, queries = uniform(5, 1, 4, 4), uniform(10, 1, 4, 4, seed=1)
    labels = torch.tensor([0, 1, 2, 3, 4, 4, 3, 2, 1, 0])
    fig = plotting.sorted_drawings(support, queries, labels, {"one": labels, "other": torch.zeros_like(labels)})
    for panel, picture in zip(fig.axes, torch.cat([support, queries]), strict=True):
        assert panel.images[0].get_array().tolist() == picture[0].tolist()
    for panel, label in zip(fig.axes[5:], labels.tolist(), strict=True):
        assert texts(panel) == [f"{label + 1} ✓", "1 ✓" if label == 0 else "1 ✗"]


def test_valley_steps_draw_an_arrow_for_each_step_and_a_star_for_each_task():
    start, others = torch.tensor([0.5, 0.5]), torch.tensor([[0.0, 1.0], [3.0, 0.0], [1.0, 2.0]])
    ends, minima = torch.tensor([[1.0, 0.5], [9.0, 9.0]]), torch.tensor([[1.0, 0.0], [2.0, 1.0]])
    (axes,) = plotting.valley_steps(distance, start, ends, minima, others).axes
    assert [(*arrow.xyann, *arrow.xy) for arrow in axes.texts] == [(0.5, 0.5, 1, 0.5), (0.5, 0.5, 9, 9)]
    assert curves(axes)["best weights of a task"] == minima.tolist()
    assert curves(axes)["other tasks"] == others.tolist()
    missed = [line.get_xydata().tolist() for line in axes.lines if line.get_linestyle() == ":"]
    assert missed == [[[1, 0.5], [1, 0]], [[9, 9], [2, 1]]]


def test_valley_steps_have_the_same_limits_whatever_the_steps():
    start, minima = torch.zeros(2), torch.tensor([[1.0, 0.0], [2.0, 1.0]])
    limits = [
        (axes.get_xlim(), axes.get_ylim())
        for ends in (minima, 10 * minima)
        for axes in plotting.valley_steps(distance, start, ends, minima, minima).axes
    ]
    assert limits[0] == limits[1] == ((0.5, 2.5), (-0.5, 1.5))


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
