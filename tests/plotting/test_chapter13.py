"""The figures of chapter 13 show the data they are given."""

import pytest
import torch

from metasgd import plotting
from metasgd.evaluation import Evaluation


def test_the_figure_of_estimators_draws_each_at_its_place() -> None:
    scores = {name: [Evaluation(value, 0.1, torch.empty(0))] * 2 for name, value in (("DiCE", 1.0), ("naive", 2.0))}
    (axes,) = plotting.estimator_means([0, 1], [1.1, 1.2], scores, "theta").axes
    truth = next(line for line in axes.lines if line.get_label() == "truth")
    assert list(truth.get_ydata()) == [1.1, 1.2]
    assert [list(bars.lines[0].get_ydata()) for bars in axes.containers] == [[1.0, 1.0], [2.0, 2.0]]


def test_the_figure_of_paths_draws_every_trajectory_and_every_goal() -> None:
    goals = torch.tensor([[0.4, 0.3], [-0.2, 0.1]])
    paths = torch.zeros(2, 3, 5, 2)
    panels = plotting.navigation_paths(goals, {"before": paths, "after": paths + 0.1}).axes
    assert [panel.get_title() for panel in panels] == ["before", "after"]
    for panel in panels:
        assert sum(len(line.get_xdata()) == 5 for line in panel.lines) == 6
        stars = [line.get_xydata()[0].tolist() for line in panel.lines if line.get_marker() == "*"]
        assert stars == pytest.approx(goals.numpy())


def test_the_figure_of_curves_draws_costs_with_the_best_on_top() -> None:
    """Returns are negative; the axis is logarithmic in the cost, upside down."""
    curves = {"fixed": {"Meta-SGD": [[-20.0, -2.0]], "MAML": [[-20.0, -4.0], [-20.0, -5.0]]}}
    lines = {title: {"paper": -8.6} for title in ("fixed", "random")}
    panels = plotting.navigation_curves(curves | {"random": curves["fixed"]}, {"fixed": 5, "random": 10}, lines)
    panel, other = panels.axes
    drawn = {line.get_label(): line for line in panel.lines}
    assert list(drawn["Meta-SGD"].get_xdata()) == [5, 10]
    assert list(drawn["Meta-SGD"].get_ydata()) == [20, 2]
    assert list(other.lines[0].get_xdata()) == [10, 20]
    assert list(drawn["paper"].get_ydata()) == [8.6, 8.6]
    assert panel.yaxis_inverted()
    assert other.yaxis_inverted()
    assert "-2" in [label.get_text() for label in panel.get_yticklabels()]
