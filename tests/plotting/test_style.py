"""The helpers that figures share."""

from typing import NamedTuple

import matplotlib.pyplot as plt
import pytest
import torch

from metasgd.plotting.style import (
    COLOURS,
    STYLE,
    WIDTH,
    accepts_any_tensor,
    draw_contours,
    figure,
    legend_above,
    percent,
    window_means,
)
from tests.plotting.examples import score


class Pair(NamedTuple):
    first: torch.Tensor
    second: str


def test_figure_has_the_style_of_the_book_and_is_forgotten_by_pyplot() -> None:
    before = dict(plt.rcParams)
    with figure(2, 3, height=4) as (fig, axes):
        assert plt.rcParams["font.size"] == STYLE["font.size"]
        assert axes.shape == (2, 3)
    assert dict(plt.rcParams) == before
    assert fig.get_size_inches().tolist() == [WIDTH, 4]
    assert not plt.fignum_exists(fig.number)


def test_palette_is_that_of_okabe_and_ito_with_a_grey_that_can_be_read_on_white() -> None:
    """Contrast of at least 4.5 to 1, the Web Content Accessibility Guidelines' bound for text."""
    assert {*COLOURS} == {"blue", "orange", "green", "red", "purple", "sky", "yellow", "black", "grey"}
    shade = int(COLOURS["grey"][1:3], 16) / 255
    assert COLOURS["grey"] == "#" + 3 * COLOURS["grey"][1:3]
    assert 1.05 / (((shade + 0.055) / 1.055) ** 2.4 + 0.05) >= 4.5


def test_arguments_of_a_figure_function_are_detached_at_any_depth_and_all_else_stays_as_it_is() -> None:
    tensor, seen = torch.ones(2, requires_grad=True), []

    @accepts_any_tensor
    def draw(*args: object, **kwargs: object) -> plt.Figure:
        seen.extend([*args, kwargs])
        return plt.Figure()

    draw(tensor, [tensor, 1], (tensor, "a"), Pair(tensor, "b"), {"c": {"d": tensor}}, key=tensor)
    plain, in_list, in_tuple, pair, mapping, kwargs = seen
    tensors = [plain, in_list[0], in_tuple[0], pair.first, mapping["c"]["d"], kwargs["key"]]
    assert not any(part.requires_grad for part in tensors)
    assert (in_list[1], in_tuple[1], pair.second) == (1, "a", "b")
    assert [type(part) for part in (in_list, in_tuple, pair)] == [list, tuple, Pair]


def test_percent_scales_means_and_half_widths() -> None:
    means, half_widths = percent([score(0.5, 0.1), score(0.25, 0.02)])
    assert means == pytest.approx([50, 25])
    assert half_widths == pytest.approx([10, 2])


def test_window_means_leave_out_what_fills_no_window() -> None:
    ends, means = window_means([1.0, 3.0, 5.0, 7.0, 100.0], window=2)
    assert ends == [2, 4]
    assert means.tolist() == [2, 6]


def test_contours_lie_where_the_function_has_their_level() -> None:
    """The function is the squared distance from (1, 0); points on a contour of level 4 are 2 away from it."""
    with figure() as (_, axes):
        axes.set(xlim=(-3, 3), ylim=(-3, 3))
        draw_contours(axes, lambda points: (points - points.new_tensor([1, 0])).square().sum(1), [4])
    (contour,) = axes.collections
    (path,) = contour.get_paths()
    distances = (torch.tensor(path.vertices) - torch.tensor([1.0, 0.0])).norm(dim=1)
    torch.testing.assert_close(distances, torch.full_like(distances, 2), atol=1e-3, rtol=0)  # grid of step 0.03


@pytest.mark.parametrize(("labels", "columns"), [(["a", "b", "c"], 3), (["long" * 8, "words" * 8], 1)])
def test_legend_has_as_many_columns_as_fit(labels: list[str], columns: int) -> None:
    with figure() as (fig, axes):
        for label in labels:
            axes.plot([0, 1], label=label)
        legend_above(fig)
    fig.draw_without_rendering()
    (legend,) = fig.legends
    tops = {round(text.get_window_extent().y0) for text in legend.get_texts()}
    assert len(tops) == -(-len(labels) // columns)
    assert legend.get_window_extent().width <= fig.bbox.width
