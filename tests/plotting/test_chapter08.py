"""The figures of chapter 8 show the data they are given."""

import pytest
import torch

from metasgd import plotting
from tests.plotting.examples import score
from tests.plotting.reading import colour, curves, intervals, legend, means, texts, tick_names


def test_training_curves_draw_window_means_left_and_accuracy_right() -> None:
    losses = {"Meta-SGD": [1.0, 3.0, 5.0, 7.0], "MAML": [2.0] * 4}
    left, right = plotting.training_curves(losses, 2, [0, 4], {"own": [0.2, 0.9], "held out": [0.25, 0.75]}).axes
    assert curves(left) == {"Meta-SGD": [[2, 2], [4, 6]], "MAML": [[2, 2], [4, 2]]}
    assert curves(right) == {"own": [[0, 20], [4, 90]], "held out": [[0, 25], [4, 75]]}
    assert legend(right) == ["own", "held out"]
    assert right.get_ylim() == (0, 100)


def test_class_probabilities_are_means_over_the_queries_of_a_class() -> None:
    before = torch.tensor([[0.5, 0.5]] * 4)
    after = torch.tensor([[1.0, 0.0], [0.8, 0.2], [0.25, 0.75], [0.25, 0.75]])  # two queries of each class
    left, right = plotting.class_probabilities(before, after, ["zero", "one"]).axes
    assert texts(left) == ["0.50"] * 4
    assert texts(right) == ["0.90", "0.10", "0.25", "0.75"]
    torch.testing.assert_close(torch.tensor(right.images[0].get_array()), torch.tensor([[0.9, 0.1], [0.25, 0.75]]))
    assert [text.get_color() for text in right.texts] == ["white", "black", "black", "white"]
    assert tick_names(right, "x") == tick_names(left, "y") == ["zero", "one"]


def test_gap_ladder_joins_the_scores_of_each_rung() -> None:
    (axes,) = plotting.gap_ladder({"a": (score(0.95, 0.01), score(0.6, 0.02)), "b": (score(0.9), score(0.8))}).axes
    joints = [line.get_xydata().tolist() for line in axes.lines if line.get_xydata().shape == (2, 2)]
    assert joints == [[[0, 95], [0, 60]], [[1, 90], [1, 80]]]
    assert [means(bars) for bars in axes.containers] == [[[0, 95]], [[0, 60]], [[1, 90]], [[1, 80]]]
    assert intervals(axes.containers[1]) == [pytest.approx([58, 62])]
    assert [colour(bars) for bars in axes.containers] == ["green", "blue"] * 2
    assert texts(axes) == ["95.0", "60.0", "90.0", "80.0"]
    assert legend(axes) == ["its own digits", "held-out digits"]
    assert tick_names(axes, "x") == ["a", "b"]
