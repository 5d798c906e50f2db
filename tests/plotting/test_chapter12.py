"""The figures of chapter 12 show the data they are given."""

import pytest
import torch

from metasgd import plotting
from tests.plotting.examples import score


def test_measures_are_drawn_at_their_quantiles():
    values = torch.tensor([1.0, 2.0, 3.0, 4.0, 6.0])
    fig = plotting.measure_ranges({name: {"a": values, "b": values + 1} for name in ("width", "ink", "side", "place")})
    assert [axes.get_xlabel() for axes in fig.axes] == ["width", "ink", "side", "place"]
    thin, thick, middle = fig.axes[0].lines[3:]
    assert list(thin.get_xdata()) == [2, 7]
    assert list(thick.get_xdata()) == [3, 5]
    assert list(middle.get_xdata()) == [4]


def test_changes_are_drawn_by_strength_and_method():
    fig = plotting.changed_digits(
        {"shift": {0: {"ours": score(0.9)}, 2: {"ours": score(0.5)}}, "turn": {0: {"ours": score(0.9)}}}, 0.2
    )
    line = fig.axes[0].lines[0]
    assert list(line.get_xdata()) == [0, 2]
    assert line.get_ydata().tolist() == pytest.approx([90, 50])


def test_ingredients_are_bars_of_their_accuracy():
    axes = plotting.ingredient_bars(
        {"plain": {1: score(0.5), 5: score(0.7)}, "more": {1: score(0.6), 5: score(0.8)}}, 0.2
    ).axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([50, 60, 70, 80])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["plain", "more"]
    assert {text.get_text() for text in axes.texts} == {"50.0", "60.0", "70.0", "80.0"}


def test_published_numbers_stand_beside_ours():
    ours = {"Meta-SGD": score(0.8), "64 filters": score(0.9), "nearest class mean": score(0.4)}
    axes = plotting.beside_published(ours, {"others": 0.7}, 0.1).axes[0]
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([80, 90, 40, 70])
    assert [bool(bar.get_hatch()) for bar in axes.patches] == [False, False, False, True]
    learner, wide, pixels, _ = [bar.get_facecolor() for bar in axes.patches]
    assert learner == wide != pixels


def test_confusions_are_shares_of_each_row():
    fig = plotting.confusions({"before": torch.tensor([[1.0, 1.0], [3.0, 1.0]]), "after": torch.eye(2)})
    assert fig.axes[0].images[0].get_array().tolist() == [[50, 50], [75, 25]]
    assert [text.get_text() for text in fig.axes[1].texts] == ["100", "100"]
