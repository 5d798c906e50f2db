"""The figures of several chapters show the data they are given."""

import pytest
import torch

from metasgd import Task, plotting
from tests.plotting.examples import score, scores
from tests.plotting.reading import colour, intervals, level, means, picture, texts, tick_names


def test_picture_grid_shows_every_picture_in_its_row_and_column() -> None:
    pictures = torch.arange(2 * 3 * 4).reshape(2, 3, 2, 2) / 24
    (axes,) = plotting.picture_grid(pictures, rows=["a", "b"], columns=["c", "d", "e"]).axes
    for row in range(2):
        for column in range(3):
            torch.testing.assert_close(picture(axes, row, column, size=2), pictures[row, column])
    assert tick_names(axes, "y") == ["a", "b"]
    assert tick_names(axes, "x") == ["c", "d", "e"]


def test_picture_grid_takes_bytes_as_fractions_of_255() -> None:
    pictures = torch.tensor([0, 51, 102, 255], dtype=torch.uint8).reshape(1, 1, 2, 2)
    (axes,) = plotting.picture_grid(pictures).axes
    torch.testing.assert_close(picture(axes, 0, 0, size=2), torch.tensor([[0.0, 0.2], [0.4, 1.0]]))


def test_a_contact_sheet_shows_every_picture_with_its_label_and_its_probability() -> None:
    """A long label is cut; one with dollar signs is no formula."""
    pictures = torch.arange(3 * 4).reshape(3, 2, 2) / 12
    labels = ["a long name of a class", None, "$x_2$"]
    (axes,) = plotting.contact_sheet(pictures, labels, [0.5, 0.25, 1], columns=2).axes
    assert texts(axes) == ["a long name …\n0.50", "none of these\n(at most 0.25)", "$x_2$\n1.00"]
    assert not any(text.get_parse_math() for text in axes.texts)
    for image, expected in zip(axes.images, pictures, strict=True):
        shown = torch.as_tensor(image.get_array())
        torch.testing.assert_close(shown[..., 0], expected)
        assert (shown == shown[..., :1]).all()
    assert [image.get_extent()[0] for image in axes.images] == [0, 1.15, 0]


def test_a_contact_sheet_shows_bytes_and_colours() -> None:
    pictures = torch.zeros(1, 3, 2, 2, dtype=torch.uint8)
    pictures[0, 1] = 51
    (axes,) = plotting.contact_sheet(pictures, ["green"], [1.0]).axes
    assert axes.images[0].get_array()[0, 0].tolist() == pytest.approx([0, 0.2, 0])


def test_episodes_show_support_left_query_right_and_labels_in_order() -> None:
    """Each picture is all one shade that says where it belongs; the labels of the second task are in another order."""

    def pictures(*shades: float) -> torch.Tensor:
        return torch.tensor(shades).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)

    tasks = Task(
        torch.stack([pictures(0.0, 0.1), pictures(0.5, 0.4)]),
        torch.tensor([[0, 1], [1, 0]]),
        torch.stack([pictures(0.2, 0.25, 0.3, 0.35), pictures(0.7, 0.6, 0.75, 0.65)]),
        torch.tensor([[0, 0, 1, 1], [1, 0, 1, 0]]),
    )
    shades = [
        [[picture(axes, row, column, size=2)[0, 0].item() for column in range(columns)] for row in range(2)]
        for axes, columns in zip(plotting.episodes(tasks).axes, (1, 2, 1, 2), strict=True)
    ]
    expected = [[[0.0], [0.1]], [[0.2, 0.25], [0.3, 0.35]], [[0.4], [0.5]], [[0.6, 0.65], [0.7, 0.75]]]
    for found, wanted in zip(shades, expected, strict=True):
        torch.testing.assert_close(torch.tensor(found), torch.tensor(wanted))


def test_accuracy_by_fold_draws_means_and_intervals_in_percent() -> None:
    (axes,) = plotting.accuracy_by_fold({"method": [score(0.5, 0.1), score(0.7, 0.02)]}, chance=0.2).axes
    (bars,) = axes.containers
    assert means(bars) == [pytest.approx([0, 50]), pytest.approx([1, 70])]
    assert intervals(bars) == [pytest.approx([40, 60]), pytest.approx([68, 72])]
    assert texts(axes) == ["50.0", "70.0"]


def test_accuracy_by_fold_writes_no_values_where_there_is_no_room() -> None:
    (axes,) = plotting.accuracy_by_fold({name: scores(0.5, 0.7) for name in "abc"}, chance=0.2).axes
    assert texts(axes) == []
    places = [[x for x, _ in means(bars)] for bars in axes.containers]
    assert places == [pytest.approx([shift, 1 + shift]) for shift in (-0.12, 0, 0.12)]  # side by side


def test_method_intervals_mark_one_method_and_its_interval() -> None:
    (axes,) = plotting.method_intervals({"a": score(0.5, 0.1), "b": score(0.7, 0.02)}, 0.2, highlight="b").axes
    first, second = axes.containers
    assert [means(bars) for bars in (first, second)] == [[pytest.approx([50, 0])], [pytest.approx([70, 1])]]
    assert intervals(first, "x") == [pytest.approx([40, 60])]
    assert [colour(first), colour(second)] == ["grey", "blue"]
    assert texts(axes) == ["50.0", "70.0"]
    (band,) = axes.patches
    assert [band.get_x(), band.get_x() + band.get_width()] == pytest.approx([68, 72])
    assert level(axes.lines[-1], "x") == pytest.approx(20)
    assert tick_names(axes, "y") == ["a", "b"]


def test_method_seeds_mark_every_seed_where_there_are_several() -> None:
    rows = {"three": (score(0.7, 0.1), scores(0.6, 0.7, 0.8)), "one": (score(0.5), scores(0.5))}
    (axes,) = plotting.method_seeds(rows, reference="three").axes
    seeds = [line.get_xydata()[0].tolist() for line in axes.lines if colour(line) == "orange"]
    assert seeds == [[60, 0], [70, 0], [80, 0]]
    assert [means(bars) for bars in axes.containers] == [[pytest.approx([70, 0])], [pytest.approx([50, 1])]]
    assert [colour(bars) for bars in axes.containers] == ["blue", "grey"]
    assert level(axes.lines[0], "x") == pytest.approx(70)
    assert texts(axes) == ["70.0", "50.0"]
    assert tick_names(axes, "y") == ["three", "one"]


def test_layer_steps_draw_the_step_in_percent_and_the_quantiles_of_the_rates() -> None:
    rates = {"first": torch.linspace(0, 1, 101), "last": torch.linspace(-1, 0, 101).reshape(101, 1)}
    left, right = plotting.layer_steps({"first": 0.1, "last": 0.25}, rates).axes
    assert [bar.get_width() for bar in left.patches] == pytest.approx([10, 25])
    assert tick_names(left, "y") == ["first", "last"]
    ends, median, other_ends, other_median, zero = right.lines
    assert ends.get_xdata() == pytest.approx([0.05, 0.95])
    assert median.get_xdata() == pytest.approx([0.5])
    assert other_ends.get_xdata() == pytest.approx([-0.95, -0.05])
    assert other_median.get_xdata() == pytest.approx([-0.5])
    assert level(zero, "x") == 0
    assert left.yaxis_inverted()  # the first layer on top
