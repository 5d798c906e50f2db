"""Chapter 2's maps, taken from the notebook: they are the optimisers of PyTorch; and its figures."""

from typing import Any

import pytest
import torch

from metasgd.tasks import Valley
from tests.book.notebooks import path_of, run_tagged, tagged_source

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
        ("sgd_map", {"eta": 0.03}, torch.optim.SGD, {"lr": 0.03}),
        ("momentum_map", {"eta": 0.05, "mu": 0.5}, torch.optim.SGD, {"lr": 0.05, "momentum": 0.5}),
        (
            "adam_map",
            {"eta": 0.4, "mu1": 0.5, "mu2": 0.8, "eps": 1e-3},
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


def test_its_valley_is_that_of_the_package(chapter: dict[str, Any]) -> None:
    valley, theta = Valley(), torch.tensor([[0.4, -0.7], [3.0, 1.0]])
    minima = valley.minima(2).double()
    torch.testing.assert_close(chapter["INPUTS"], valley.inputs.double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(chapter["H"], valley.hessian.double(), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        chapter["loss"](theta, minima), Valley(dtype=torch.float64).loss(theta, minima), atol=1e-12, rtol=0
    )


def test_minima_are_drawn_as_the_package_draws_them(chapter: dict[str, Any]) -> None:
    drawn = run_tagged(path_of(2), ["sample"], {"torch": torch, "device": "cpu"})["draw_minima"](5, seed=3)
    torch.testing.assert_close(drawn, Valley(dtype=torch.float64, seed=3).minima(5))


def test_nine_lines_learn_the_start_and_the_rates_of_the_formula(chapter: dict[str, Any]) -> None:
    """On tasks that the page does not show; Adam's steps have become small by then."""
    lines = tagged_source(path_of(2), "nine-lines").splitlines()
    assert len(lines) == 9
    w = Valley(dtype=torch.float64, seed=9).minima(64)
    found = run_tagged(path_of(2), ["nine-lines"], {"torch": torch, "loss": chapter["loss"], "w": w})
    start = w.mean(0)
    torch.testing.assert_close(found["theta"].detach(), start, atol=2e-3, rtol=0)
    torch.testing.assert_close(found["alpha"].detach(), chapter["best_alpha"](start, w), atol=2e-3, rtol=0)
