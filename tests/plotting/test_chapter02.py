"""The figures of chapter 2 show the data they are given."""

import matplotlib as mpl
import torch

from metasgd import plotting


def test_map_fields_draw_an_arrow_from_each_point_to_its_end() -> None:
    points, minimum = torch.tensor([[0.0, 1.0], [2.0, 3.0]]), torch.tensor([1.0, 1.0])
    panels = {name: points + shift for shift, name in enumerate(["SGD", "momentum", "Adam", "learned map"])}
    drift = {"momentum": torch.tensor([-0.5, 0.5])}
    fig = plotting.map_fields(lambda theta: theta.square().sum(1), points, panels, minimum, drift)
    for shift, axes in enumerate(fig.axes):
        arrows, *others = [part for part in axes.collections if isinstance(part, mpl.quiver.Quiver)]
        assert arrows.XY.tolist() == points.tolist()
        assert arrows.U.tolist() == arrows.V.tolist() == [shift, shift]
        assert len(others) == (axes.get_title() == "momentum")


def test_bent_step_ends_where_its_rates_lead_and_one_rate_stays_on_its_line() -> None:
    rates, gradient = torch.tensor([[0.5, 0.5], [2.0, 0.25]]), torch.tensor([-1.0, -4.0])
    fig = plotting.bent_step(
        lambda points: points.square().sum(1), lambda points: points.square().sum(1),
        torch.tensor([1.0, 0.0]), gradient, torch.tensor([3.0, 1.0]), rates, torch.tensor([-1.0, 1.0]),
    )  # fmt: skip
    weights, plane = fig.axes
    places = [[line.get_xydata()[0].tolist() for line in axes.lines if line.get_marker() == "o"] for axes in fig.axes]
    assert places == [[[1.5, 2.0], [3.0, 1.0], [1.0, 0.0]], rates.tolist()]
    assert {line.get_linestyle() for line in (weights.lines[0], plane.lines[0])} == {"--"}


def test_steps_of_tasks_join_the_start_to_the_end_and_the_end_to_the_minimum() -> None:
    start, minima = torch.zeros(2), torch.tensor([[3.0, 4.0]])
    fig = plotting.steps_of_tasks(start, {"SGD": torch.tensor([[1.0, 1.0]]), "learned map": minima}, minima)
    missed, step, *_ = fig.axes[0].lines
    assert missed.get_xydata().tolist() == [[1, 1], [3, 4]]
    assert step.get_xydata().tolist() == [[0, 0], [1, 1]]
    assert fig.axes[1].get_title() == "learned map"


def test_losses_by_steps_start_at_no_step() -> None:
    curves = {name: torch.tensor([4.0, 2.0, 1.0]) for name in ("SGD", "momentum", "Adam", "learned map")}
    (axes,) = plotting.losses_by_steps(curves, 1.5, "target").axes
    *lines, target = axes.lines
    assert [line.get_label() for line in lines] == list(curves)
    assert all(line.get_xydata().tolist() == [[0, 4], [1, 2], [2, 1]] for line in lines)
    assert set(target.get_ydata()) == {1.5}


def test_error_factors_mark_the_compromise() -> None:
    rates = torch.tensor([0.0, 0.1, 0.2])
    (axes,) = plotting.error_factors(rates, {"across": 1 - rates, "along": 1 - 2 * rates}, (0.1, 0.7)).axes
    assert axes.lines[2].get_xydata().tolist() == [[0.1, 0.7]]
    assert axes.lines[1].get_ydata().tolist() == (1 - 2 * rates).tolist()
