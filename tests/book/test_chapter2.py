"""Chapter 2's maps, taken from the notebook: they are the optimisers of PyTorch; and its figures."""

from typing import Any

import matplotlib as mpl
import pytest
import torch

from metasgd import plotting
from tests.book.notebooks import path_of, run_tagged

PARTS = ("problem", "maps", "best")

pytestmark = pytest.mark.usefixtures("float64")


@pytest.fixture
def chapter(float64: None) -> dict[str, Any]:
    """The definitions of the tagged cells, in one namespace."""
    return run_tagged(path_of(2), PARTS, {"torch": torch})


def test_gradient_is_that_of_the_loss(chapter: dict[str, Any]) -> None:
    theta, w = torch.tensor([0.3, -2.0]), torch.tensor([1.0, 5.0])
    torch.testing.assert_close(chapter["gradient"](theta, w), torch.func.grad(chapter["loss"])(theta, w))


@pytest.mark.parametrize(
    ("name", "options", "optimizer", "its_options"),
    [
        ("sgd_map", {"a": 0.03}, torch.optim.SGD, {"lr": 0.03}),
        ("momentum_map", {"a": 0.05, "mu": 0.5}, torch.optim.SGD, {"lr": 0.05, "momentum": 0.5}),
        (
            "adam_map",
            {"a": 0.4, "mu1": 0.5, "mu2": 0.8, "eps": 1e-3},
            torch.optim.Adam,
            {"lr": 0.4, "betas": (0.5, 0.8), "eps": 1e-3},
        ),
    ],
)
def test_iterated_map_visits_what_pytorchs_optimiser_visits(
    chapter: dict[str, Any], name: str, options: dict[str, float], optimizer: Any, its_options: dict[str, Any]
) -> None:
    """At settings that the page does not show. Both sum the same few products of size 10 in float64."""
    theta, w = torch.tensor([-1.0, 4.0]), torch.tensor([2.0, 0.5])
    visited = chapter["run_of"](chapter[name], theta, w, 15, **options)
    torch.testing.assert_close(
        visited, chapter["pytorch_run"](optimizer, theta, w, 15, **its_options), rtol=0, atol=1e-12
    )


def test_best_alpha_is_the_best(chapter: dict[str, Any]) -> None:
    """The loss is a quadratic function of alpha, so its central differences, which are exact, vanish at the best."""
    generator = torch.Generator().manual_seed(0)
    minima, theta = torch.randn(7, 2, generator=generator), torch.tensor([0.4, -0.7])
    best = chapter["best_alpha"](theta, minima)

    def mean_loss(alpha: torch.Tensor) -> torch.Tensor:
        return chapter["loss"](theta - alpha * chapter["gradient"](theta, minima), minima).mean()

    for direction in torch.eye(2):
        assert abs(mean_loss(best + direction) - mean_loss(best - direction)) < 1e-12
        assert mean_loss(best + direction) > mean_loss(best)


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
