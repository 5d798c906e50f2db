"""The figures of chapter 3 show the data they are given."""

import pytest
import torch
from matplotlib.text import Annotation

from metasgd import plotting
from tests.plotting.examples import distance
from tests.plotting.reading import curve, curves, legend, texts


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


def test_meta_update_flow_leads_each_task_from_the_shared_start_to_its_query_loss_and_back() -> None:
    (axes,) = plotting.meta_update_flow().axes
    notes = [text for text in axes.texts if isinstance(text, Annotation)]
    places = {note.get_text(): note.xy for note in notes if note.get_text()}
    arrows = [note for note in notes if note.arrowprops]
    lines = [line.get_xydata() for line in axes.lines]
    blue, orange = plotting.COLOURS["blue"], plotting.COLOURS["orange"]
    forward = [(*arrow.xyann, *arrow.xy) for arrow in arrows if arrow.arrowprops and arrow.arrowprops["color"] == blue]
    (back,) = [arrow for arrow in arrows if arrow.arrowprops and arrow.arrowprops["color"] == orange]
    shared = places["$\\theta$\n$\\alpha$"]
    for name in ("1", "2", "B"):
        gradient, adapted, query_loss = (
            places[symbol]
            for symbol in (
                rf"$\nabla L_{{S_{name}}}(\theta)$",
                rf"$\theta'_{name}$",
                rf"$L_{{Q_{name}}}(\theta'_{name})$",
            )
        )
        assert gradient[1] == adapted[1] == query_loss[1]
        sources = [(x, y) for x, y, _, end in forward if end == gradient[1]]
        assert sources == [shared, gradient, adapted]  # one row of arrows, from box to box
        assert any(list(query_loss) in torch.tensor(line).tolist() for line in lines)
    assert back.xy[0] == shared[0]  # the meta-update arrives at the shared start
    assert {"1. sample\ntasks", "2. inner\nstep"} <= set(texts(axes))


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
    figure = plotting.difference_errors([1e-4, 1], errors)
    (axes,) = figure.axes
    assert curves(axes) == {"float32": [[1e-4, 1e-2], [1, 1e-1]], "float64": [[1e-4, 1e-7], [1, 1e-3]]}
    assert axes.get_xscale() == axes.get_yscale() == "log"
    assert curve(axes, "float32").get_marker() != curve(axes, "float64").get_marker()
    assert legend(figure) == ["float32", "float64"]
