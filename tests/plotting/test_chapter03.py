"""The figures of chapter 3 show the data they are given."""

import pytest
import torch

from metasgd import plotting
from tests.plotting.examples import distance
from tests.plotting.reading import curve, curves, legend


def test_step_directions_draw_an_arrow_from_the_start_to_the_end_of_each_step() -> None:
    start, optima = torch.tensor([0.5, -0.5]), torch.tensor([[1.0, 0.0], [2.0, 1.0]])
    ends = {"SGD": torch.tensor([0.0, 1.0]), "Meta-SGD": torch.tensor([1.0, 0.5])}
    figure = plotting.step_directions(distance, distance, start, ends, optima)
    (axes,) = figure.axes
    assert [(*arrow.xyann, *arrow.xy) for arrow in axes.texts] == [(0.5, -0.5, 0, 1), (0.5, -0.5, 1, 0.5)]
    drawn = [arrow.arrowprops["color"] for arrow in axes.texts]
    assert drawn == [plotting.COLOURS["red"], plotting.COLOURS["blue"]]
    assert curves(axes)["best weights of tasks"] == optima.tolist()
    assert curves(axes)[r"start $\theta$"] == [[0.5, -0.5]]
    assert {"support loss", "query loss", "SGD", "Meta-SGD"} <= set(legend(figure))
    assert len(axes.collections) == 2  # the contours of both losses


def test_rate_landscape_draws_the_path_of_alpha_and_both_best_rates() -> None:
    path = torch.tensor([[0.1, 0.1], [0.2, 0.0], [0.3, -0.1]])
    figure = plotting.rate_landscape(
        lambda rates: 20 * distance(rates), path, best=torch.tensor([0.3, -0.2]), best_single=torch.tensor([0.1, 0.1])
    )
    (axes,) = figure.axes
    drawn = curves(axes)
    assert drawn[r"learned $\alpha$, update by update"] == [pytest.approx(point) for point in path.tolist()]
    assert drawn[r"best $\alpha$"] == [pytest.approx([0.3, -0.2])]
    assert drawn["best single rate"] == [pytest.approx([0.1, 0.1])]
    assert all(first == second for first, second in drawn["one rate for all (MAML)"])


def test_difference_errors_draw_a_line_for_each_number_format_on_logarithmic_axes() -> None:
    errors = {"float32": [1e-2, 1e-1], "float64": [1e-7, 1e-3]}
    (axes,) = plotting.difference_errors([1e-4, 1], errors).axes
    assert curves(axes) == {"float32": [[1e-4, 1e-2], [1, 1e-1]], "float64": [[1e-4, 1e-7], [1, 1e-3]]}
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert curve(axes, "float32").get_marker() != curve(axes, "float64").get_marker()
    assert legend(axes) == ["float32", "float64"]
