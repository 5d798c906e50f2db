"""The figures of chapter 16 show the data they are given."""

import torch

from metasgd import plotting
from tests.plotting.reading import texts


def test_every_stage_is_a_row_of_its_pictures() -> None:
    large, small = torch.arange(6, dtype=torch.uint8).reshape(2, 3), torch.tensor([[9]], dtype=torch.uint8)
    fig = plotting.preparation({"photograph": [large, small], "ink": [small, large]})
    shown = [axes.images[0].get_array().tolist() for axes in fig.axes]
    assert shown == [large.tolist(), small.tolist(), small.tolist(), large.tolist()]
    assert [axes.get_ylabel() for axes in fig.axes] == ["photograph", "", "ink", ""]


def test_thresholds_stand_at_what_they_keep_and_turn_away() -> None:
    (axes,) = plotting.threshold_shares([0.5, 0.95], [1.0, 0.75], [0.125, 0.5]).axes
    assert axes.lines[0].get_xydata().tolist() == [[100, 12.5], [75, 50]]
    assert texts(axes) == ["0.5", "0.95"]
