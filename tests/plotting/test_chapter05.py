"""The figures of chapter 5 show the data they are given."""

from itertools import pairwise

import pytest

from metasgd import plotting
from tests.plotting.examples import score, scores
from tests.plotting.reading import colour, curve, intervals, legend, level, means, texts


def test_rate_sweep_draws_fixed_rates_as_points_and_learned_rates_as_a_level_with_a_band() -> None:
    (axes,) = plotting.rate_sweep([0.01, 0.1], [score(0.9, 0.1), score(0.5, 0.2)], score(0.3, 0.05)).axes
    (points,) = axes.containers
    assert means(points) == [[0.01, 0.9], [0.1, 0.5]]
    assert intervals(points) == [pytest.approx([0.8, 1.0]), pytest.approx([0.3, 0.7])]
    assert level(curve(axes, "Meta-SGD")) == 0.3
    (band,) = axes.patches
    assert [band.get_y(), band.get_y() + band.get_height()] == pytest.approx([0.25, 0.35])
    assert axes.get_xscale() == "log"
    assert axes.get_ylim()[0] == 0


def test_gradient_paths_cut_more_edges_from_program_to_program() -> None:
    """Exact: all five are open. First order: the support gradient is a constant. In place: no path to alpha either,
    and what reaches theta does so by accident. On a copy: nothing reaches theta."""
    figure = plotting.gradient_paths()
    assert [panel.get_title() for panel in figure.axes] == ["exact", "first order", "written in place", "on a copy"]
    symbols = [r"$\theta$", r"$g$", r"$\alpha$", r"$\theta'$", r"$L_{Q}$"]
    opened, red = [], []
    for panel in figure.axes:
        assert [text for text in texts(panel) if text] == symbols
        arrows = [text.arrowprops for text in panel.texts if not text.get_text()]
        assert len(arrows) == 5
        assert all((arrow["arrowstyle"] == "-|>") == (arrow["linestyle"] == "-") for arrow in arrows)
        opened.append(sum(arrow["arrowstyle"] == "-|>" for arrow in arrows))
        red.append(sum(arrow["color"] == plotting.COLOURS["red"] for arrow in arrows))
    assert opened == [5, 3, 2, 1]
    assert red == [0, 0, 1, 0]
    assert legend(figure) == ["meta-gradient flows", "cut", "arrives by accident"]


def test_loss_against_shots_draws_intervals_and_marks_the_shots_of_training() -> None:
    (axes,) = plotting.loss_against_shots([1, 4], {"a": scores(2, 1), "b": [score(3, 0.5)] * 2}, trained_at=2).axes
    first, second = axes.containers
    assert means(first) == [[1, 2], [4, 1]]
    assert intervals(second) == [[2.5, 3.5]] * 2
    assert level(curve(axes, "shots in training"), "x") == 2
    assert axes.get_xscale() == axes.get_yscale() == "log"


def test_reported_losses_are_averaged_over_the_window_and_stand_beside_what_was_measured() -> None:
    names = [f"program {number}" for number in range(6)]
    reported = {name: [float(number + step) for step in range(4)] for number, name in enumerate(names)}
    measured = {name: score(10.0 + number, 0.5) for number, name in enumerate(names)}
    figure = plotting.reported_losses(reported, measured, window=2)
    left, right = figure.axes
    assert [line.get_xydata().tolist() for line in left.lines[:2]] == [
        [[2, 0.5], [3, 1.5], [4, 2.5]],
        [[2, 1.5], [3, 2.5], [4, 3.5]],
    ]
    assert [means(bar) for bar in right.containers] == [[[number, 10.0 + number]] for number in range(6)]
    assert [colour(line) for line in left.lines] == [colour(bar) for bar in right.containers]
    looks = [(colour(line), line.get_linestyle()) for line in left.lines]
    assert len(set(looks)) == 6
    assert legend(figure) == names


def test_accuracy_bars_write_each_value_beyond_its_interval() -> None:
    shown = dict(zip("abcd", [score(0.9, 0.01), score(0.5, 0.02), score(0.6, 0.03), score(0.7, 0.04)], strict=True))
    (axes,) = plotting.accuracy_bars(shown, chance=0.2).axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([90, 50, 60, 70])
    assert texts(axes) == ["90.0", "50.0", "60.0", "70.0"]
    assert [text.get_position()[0] for text in axes.texts] == pytest.approx([92, 53, 64, 75])
    assert len({bar.get_facecolor() for bar in axes.patches}) == 4
    assert all(upper.get_y() < lower.get_y() for upper, lower in pairwise(axes.patches))
    assert axes.yaxis_inverted()
    assert level(axes.lines[-1], "x") == pytest.approx(20)
