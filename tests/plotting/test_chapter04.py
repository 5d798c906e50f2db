"""The figures of chapter 4 show the data they are given."""

import pytest
import torch

from metasgd import plotting
from tests.plotting.reading import colour, curve, curves, intervals, legend, level, means, tick_names


def test_task_parabolas_mark_the_best_rate_of_a_task_only_inside_the_range() -> None:
    rates = torch.tensor([0.0, 1.0, 2.0])
    losses = torch.tensor([[1.0, 0.5, 1.0], [1.0, 0.8, 0.6]])  # the second is best at the border
    figure = plotting.task_parabolas(rates, losses, best=1.5)
    (axes,) = figure.axes
    marks = [line.get_xydata().tolist() for line in axes.lines if line.get_marker() == "."]
    assert marks == [[[1, 0.5]]]
    assert curve(axes, "mean of these tasks").get_ydata() == pytest.approx([1, 0.65, 0.8])
    assert level(curve(axes, r"best shared $\alpha$, all tasks"), "x") == 1.5
    assert legend(figure) == ["one task", "mean of these tasks", r"best shared $\alpha$, all tasks"]


def test_rates_against_shots_draw_each_limit_in_the_colour_of_its_rate() -> None:
    (axes,) = plotting.rates_against_shots([1, 10], {"a": [0.1, 0.2], "b": [0.5, 2.0]}, {"a": 0.25, "b": 2.5}).axes
    assert curves(axes) == {"a": [[1, 0.1], [10, 0.2]], "b": [[1, 0.5], [10, 2.0]]}
    rate_a, limit_a, rate_b, limit_b = axes.lines
    assert [level(limit_a), level(limit_b)] == [0.25, 2.5]
    assert colour(limit_a) == colour(rate_a) != colour(rate_b) == colour(limit_b)
    assert tick_names(axes, "y") == ["0", "0.03", "0.1", "0.3", "1", "3"]


def test_training_path_draws_theta_above_alpha_and_where_each_entry_should_end() -> None:
    theta, alpha = torch.tensor([[0.0, 1.0], [0.5, 2.0]]), torch.tensor([[0.1, 0.1], [0.2, 0.3]])
    upper, lower = plotting.training_path(theta, alpha, torch.tensor([1.0, 3.0]), torch.tensor([0.25, 0.5])).axes
    assert [upper.get_ylabel(), lower.get_ylabel()] == [r"$\theta_i$", r"$\alpha_i$"]
    assert [curve(upper, f"$i = {i}$").get_ydata().tolist() for i in (1, 2)] == [[0, 0.5], [1, 2]]
    assert curve(lower, "$i = 2$").get_ydata() == pytest.approx([0.1, 0.3])
    assert [level(line) for axes in (upper, lower) for line in axes.lines[1::2]] == [1, 3, 0.25, 0.5]


def test_loss_against_scale_draws_theory_as_lines_and_measurements_as_points_of_the_same_colour() -> None:
    theory = {"none": [1.0, 1.0], "one rate": [0.2, 0.9], "a rate each": [0.2, 0.3], "no steps": [0.1, 0.1]}
    (axes,) = plotting.loss_against_scale([1, 4], theory, {"one rate": [(0.25, 0.1), (0.8, 0.2)]}).axes
    assert {name: [y for _, y in curves(axes)[name]] for name in theory} == theory
    (points,) = axes.containers
    assert means(points) == [[1, 0.25], [4, 0.8]]
    assert intervals(points) == [pytest.approx([0.15, 0.35]), pytest.approx([0.6, 1.0])]
    assert colour(points) == colour(curve(axes, "one rate")) == "red"
    drawn = [colour(curve(axes, name)) for name in theory]
    assert drawn == ["grey", "red", "blue", "green"]
    assert tick_names(axes, "x") == ["1", "4"]
