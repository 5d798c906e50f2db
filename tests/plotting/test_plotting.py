"""Figures show the data they are given: each thing in its place, under its name."""

import matplotlib as mpl
import pytest
import torch

from metasgd import Task, plotting
from metasgd.evaluation import Evaluation

mpl.use("Agg")


def cell(axes, row, column, size=2):
    """The picture in a grid of pictures of ``size`` pixels, which are one blank pixel apart."""
    start = [(size + 1) * row, (size + 1) * column]
    return torch.tensor(axes.images[0].get_array())[start[0] : start[0] + size, start[1] : start[1] + size]


class OnGpu(torch.Tensor):
    """A tensor that only its copy on the CPU can show to NumPy, like a tensor of a GPU."""

    def __array__(self, *options):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    numpy = __array__

    def cpu(self):
        return self.as_subclass(torch.Tensor)


def test_figures_of_chapters_that_compute_on_the_default_device_take_tensors_of_a_gpu():
    plane = torch.tensor([[0.1, 0.2], [0.3, -0.1]]).as_subclass(OnGpu)
    with pytest.raises(TypeError, match="numpy"):
        plotting.losses_by_steps.__wrapped__(dict.fromkeys("abcd", plane[0]), 0.1, "target")

    def loss(points):
        return points.square().sum(-1).as_subclass(OnGpu)

    for figure in (
        plotting.step_directions(loss, loss, plane[0], {"step": plane[1]}, plane),
        plotting.rate_landscape(loss, plane, plane[0], plane[1]),
        plotting.task_parabolas(plane[0], plane, 0.1),
        plotting.training_path(plane, plane, plane[0], plane[1]),
        plotting.error_factors(plane[0], {"x": plane[0], "y": plane[1]}, (0.1, 0.5)),
        plotting.map_fields(loss, plane, dict.fromkeys("abcd", plane), plane[0], {"a": plane[1]}),
        plotting.steps_of_tasks(plane[0], {"SGD": plane, "learned map": plane}, plane),
        plotting.losses_by_steps(dict.fromkeys("abcd", plane[0]), 0.1, "target"),
    ):
        figure.canvas.draw()


def test_picture_grid_shows_every_picture_in_its_row_and_column():
    pictures = torch.arange(2 * 3 * 4).reshape(2, 3, 2, 2) / 24
    (axes,) = plotting.picture_grid(pictures, rows=["a", "b"]).axes
    for row in range(2):
        for column in range(3):
            torch.testing.assert_close(cell(axes, row, column), pictures[row, column])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["a", "b"]


def test_picture_grid_takes_bytes_as_fractions_of_255():
    pictures = torch.tensor([0, 51, 102, 255], dtype=torch.uint8).reshape(1, 1, 2, 2)
    (axes,) = plotting.picture_grid(pictures).axes
    torch.testing.assert_close(cell(axes, 0, 0), torch.tensor([[0.0, 0.2], [0.4, 1.0]]))


def test_episodes_show_support_left_query_right_and_labels_in_order():
    """Each picture is all one shade that says where it belongs; the labels of the second task are in another order."""

    def pictures(*shades):
        return torch.tensor(shades).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2)

    tasks = Task(
        torch.stack([pictures(0.0, 0.1), pictures(0.5, 0.4)]),
        torch.tensor([[0, 1], [1, 0]]),
        torch.stack([pictures(0.2, 0.25, 0.3, 0.35), pictures(0.7, 0.6, 0.75, 0.65)]),
        torch.tensor([[0, 0, 1, 1], [1, 0, 1, 0]]),
    )
    shades = [
        [[cell(axes, row, column)[0, 0].item() for column in range(columns)] for row in range(2)]
        for axes, columns in zip(plotting.episodes(tasks).axes, (1, 2, 1, 2), strict=True)
    ]
    expected = [[[0.0], [0.1]], [[0.2, 0.25], [0.3, 0.35]], [[0.4], [0.5]], [[0.6, 0.65], [0.7, 0.75]]]
    for found, wanted in zip(shades, expected, strict=True):
        torch.testing.assert_close(torch.tensor(found), torch.tensor(wanted))


def test_fold_table_marks_the_held_out_digits():
    (axes,) = plotting.fold_table([(0, 9), (3,)]).axes
    marked = {text.get_position() for text in axes.texts if text.get_text() == "test"}
    assert marked == {(0, 0), (9, 0), (3, 1)}
    assert len(axes.texts) == 20


def test_accuracy_by_fold_draws_means_and_intervals_in_percent():
    folds = [Evaluation(0.5, 0.1, torch.empty(0)), Evaluation(0.7, 0.02, torch.empty(0))]
    (axes,) = plotting.accuracy_by_fold({"method": folds}, chance=0.2).axes
    (bars,) = axes.containers
    assert bars.lines[0].get_ydata() == pytest.approx([50, 70])
    ends = [segment[:, 1].tolist() for segment in bars.lines[2][0].get_segments()]
    assert ends == [pytest.approx([40, 60]), pytest.approx([68, 72])]
    assert [text.get_text() for text in axes.texts] == ["50.0", "70.0"]


def test_turned_digits_frames_the_kept_turns():
    kept = torch.zeros(3, 10, dtype=torch.bool)
    kept[1, 4] = True
    closest = torch.arange(30).reshape(3, 10)
    axes = plotting.turned_digits(torch.full((3, 10), 0.75), closest, kept).axes[0]
    (frame,) = axes.patches
    assert frame.get_center() == pytest.approx((4, 1))
    assert [text.get_text() for text in axes.texts] == [f"75\n({digit})" for digit in range(30)]
