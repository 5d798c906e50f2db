"""The figure of the first page shows the data it is given."""

import pytest
import torch

from metasgd import Task, plotting
from tests.plotting.examples import scores
from tests.plotting.reading import level, picture, texts


def test_headline_shows_one_support_picture_four_queries_of_each_class_and_means_over_folds() -> None:
    """Each picture is all one shade, which tells it from all others; labels are not in order."""
    support, query = ((torch.arange(count) / count).reshape(-1, 1, 1, 1).expand(-1, 1, 2, 2) for count in (2, 10))
    task = Task(support, torch.tensor([1, 0]), query, torch.tensor([0, 1] * 5))
    folds = {"MAML": scores(0.5, 0.7), "Meta-SGD": scores(0.8, 0.9)}
    learn, read, one, five = plotting.headline(task, {"1 example": folds, "5 examples": folds}, chance=0.2).axes
    assert [picture(learn, row, 0, 2)[0, 0].item() for row in range(2)] == [0.5, 0]
    shades = [[picture(read, row, column, 2)[0, 0].item() for column in range(4)] for row in range(2)]
    torch.testing.assert_close(torch.tensor(shades), torch.tensor([[0.0, 0.2, 0.4, 0.6], [0.1, 0.3, 0.5, 0.7]]))
    assert [one.get_title(), five.get_title()] == ["1 example", "5 examples"]
    assert [bar.get_width() for bar in five.patches] == pytest.approx([60, 85])
    assert texts(one) == ["60.0", "85.0"]
    assert [line.get_xdata() for line in one.lines[:2]] == [pytest.approx([50, 70]), pytest.approx([80, 90])]
    assert level(one.lines[2], "x") == pytest.approx(20)
