"""The figures of chapter 6 show the data they are given."""

import pytest
import torch
from matplotlib.colors import to_hex

from metasgd import Task, plotting
from tests.plotting.examples import score, wave_tasks
from tests.plotting.reading import colour, curve, curves, intervals, legend, level, means, tick_names

X = torch.tensor([-1.0, 0.0, 1.0])


def test_sine_tasks_draw_each_curve_with_the_support_points_of_its_task() -> None:
    y, tasks = torch.arange(18.0).reshape(6, 3) / 10, wave_tasks(6, points=4)
    panels = plotting.sine_tasks(X, y, tasks).axes
    assert len(panels) == 6
    for index, panel in enumerate(panels):
        wave, points = panel.lines
        assert wave.get_ydata().tolist() == y[index].tolist()
        assert points.get_xdata().tolist() == tasks.support_x[index].flatten().tolist()
        assert points.get_ydata().tolist() == tasks.support_y[index].flatten().tolist()
        assert points.get_linestyle() == "None"


def test_sine_adaptation_has_a_row_for_each_curve_and_a_column_for_each_learner() -> None:
    task = Task(*(part[0] for part in wave_tasks(1)))
    rows = {
        name: (truth * X, task, {"MAML": (2 * truth * X, 3 * truth * X), "Meta-SGD": (4 * truth * X, 5 * truth * X)})
        for name, truth in (("easy", 1.0), ("hard", 10.0))
    }
    figure = plotting.sine_adaptation(X, rows)
    for panel, (truth, scale) in zip(figure.axes, [(1, 2), (1, 4), (10, 2), (10, 4)], strict=True):
        curve_line, before, after, points = panel.lines
        assert curve_line.get_ydata().tolist() == (truth * X).tolist()
        assert before.get_ydata().tolist() == (truth * scale * X).tolist()
        assert after.get_ydata().tolist() == (truth * (scale + 1) * X).tolist()
        assert [before.get_linestyle(), after.get_linestyle()] == ["--", "-"]
        assert points.get_xdata().tolist() == task.support_x.flatten().tolist()
    assert [panel.get_title() for panel in figure.axes] == ["MAML", "Meta-SGD", "", ""]
    assert [colour(panel.lines[2]) for panel in figure.axes] == ["orange", "blue"] * 2
    assert [panel.get_ylabel() for panel in figure.axes] == ["easy\n$y$", "", "hard\n$y$", ""]


def test_sine_training_shows_both_learners_and_all_rates_at_each_moment() -> None:
    task = Task(*(part[0] for part in wave_tasks(1)))
    fits = {"MAML": (2 * X, 3 * X), "Meta-SGD": (4 * X, 5 * X)}
    rates = {0: torch.full((4,), 0.02), 100: torch.tensor([-0.1, 0.02, 0.1, 0.2])}
    figure = plotting.sine_training(X, (X, task), {updates: (fits, rate) for updates, rate in rates.items()})
    rows = [figure.axes[:3], figure.axes[3:]]
    for (maml, ours, histogram), updates, shares in zip(rows, rates, ((0, 1), (0.25, 0.75)), strict=True):
        assert maml.get_ylabel() == f"after {updates}"
        for panel, scale, name in ((maml, 2, "orange"), (ours, 4, "blue")):
            truth, before, after, _ = panel.lines
            assert truth.get_ydata().tolist() == X.tolist()
            assert before.get_ydata().tolist() == (scale * X).tolist()
            assert after.get_ydata().tolist() == ((scale + 1) * X).tolist()
            assert colour(after) == name
        negative, positive = histogram.containers
        assert [sum(bar.get_height() for bar in bars) for bars in (negative, positive)] == pytest.approx(shares)
        colours = [to_hex(bars[0].get_facecolor()).upper() for bars in (negative, positive)]
        assert colours == [plotting.COLOURS["purple"], plotting.COLOURS["blue"]]
        assert level(histogram.lines[0], "x") == pytest.approx(0.02)
    assert [panel.get_title() for panel in rows[0]] == ["MAML", "Meta-SGD", "rates"]


def test_sine_losses_are_averaged_over_windows() -> None:
    figure = plotting.sine_losses(
        {shots: {"Meta-SGD": [1.0, 3.0, 5.0, 7.0], "MAML": [2.0] * 4} for shots in (5, 10)}, window=2
    )
    for panel, shots in zip(figure.axes, (5, 10), strict=True):
        assert curves(panel) == {"Meta-SGD": [[2, 2], [4, 6]], "MAML": [[2, 2], [4, 2]]}
        assert panel.get_title() == f"{shots} points"
        assert panel.get_yscale() == "log"
    assert legend(figure) == ["Meta-SGD", "MAML"]


def test_sine_cells_draw_the_paper_with_open_marks_and_ours_with_intervals() -> None:
    ours = {name: {5: {5: score(1, 0.1), 10: score(0.5, 0.2)}} for name in ("Meta-SGD", "MAML")}
    ours = {name: rows | {10: {5: score(2), 10: score(0.4)}} for name, rows in ours.items()}
    paper = {name: {5: {5: 0.9, 10: 0.6}, 10: {5: 1.1, 10: 0.3}} for name in ours}
    figure = plotting.sine_cells(ours, paper)
    left, right = figure.axes
    assert [left.get_title(), right.get_title()] == ["trained with 5", "trained with 10"]
    assert curves(left)["Meta-SGD, the paper"] == [[5, 0.9], [10, 0.6]]
    assert curve(right, "MAML, the paper").get_markerfacecolor() == "white"
    assert [means(bars) for bars in left.containers] == [[[5, 1], [10, 0.5]]] * 2
    assert intervals(left.containers[0]) == [pytest.approx([0.9, 1.1]), pytest.approx([0.3, 0.7])]
    assert [colour(bars) for bars in right.containers] == ["blue", "orange"]
    assert tick_names(right, "x") == ["5", "10"]
    assert set(legend(figure)) == {f"{name}, {whose}" for name in ours for whose in ("the paper", "this page")}


def test_sine_errors_tell_maml_from_the_others_and_mark_the_numbers_of_training() -> None:
    errors = {"Meta-SGD": [3.0, 0.5], "MAML": [4.0, 1.0], "Meta-SGD, median": [2.0, 0.25], "MAML, median": [3.5, 0.9]}
    maml = ["MAML", "MAML, median"]
    (axes,) = plotting.sine_errors([1, 10], errors, "points", maml=maml, marked=[5]).axes
    assert {name: [y for _, y in points] for name, points in curves(axes).items()} == errors
    assert [colour(curve(axes, name)) for name in errors] == ["blue", "orange", "sky", "red"]
    assert level(axes.lines[-1], "x") == 5
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert axes.get_ylim()[0] == pytest.approx(0.2)
    assert tick_names(axes, "y") == ["0.5", "1", "2"]


def test_sine_errors_from_no_step_on_have_a_linear_axis_and_may_be_cut_at_the_top() -> None:
    (axes,) = plotting.sine_errors([0, 1, 2], {"Meta-SGD": [3.0, 1.0, 20.0]}, "inner steps", top=6).axes
    assert axes.get_xscale() == "linear"
    assert axes.get_ylim()[1] == 6
