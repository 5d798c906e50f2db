"""The figure of chapter 14 shows the data it is given."""

import pytest
import torch

from metasgd import plotting
from tests.plotting.examples import uniform
from tests.plotting.reading import texts


def test_adapted_probabilities_have_a_row_for_each_query_and_a_column_for_each_method() -> None:
    support, queries = uniform(3, 1, 4, 4), uniform(2, 1, 4, 4, seed=1)
    before = torch.tensor([[0.25, 0.75, 0.0], [0.5, 0.25, 0.25]])
    shares = {"before": before, "after": before.flip(1), "later": before.roll(1, 1)}
    figure = plotting.adapted_probabilities(support, queries, shares, likeness=torch.tensor([0.75, 0.5]), line=0.6)
    corner, *examples = figure.axes[:4]
    assert texts(corner) == ["examples"]
    for panel, picture, letter in zip(examples, support, "ABC", strict=True):
        assert panel.images[0].get_array().tolist() == picture[0].tolist()
        assert panel.get_title() == letter
    for row in range(2):
        query, *methods = figure.axes[4 * (row + 1) : 4 * (row + 2)]
        assert query.images[0].get_array().tolist() == queries[row, 0].tolist()
        for panel, values in zip(methods, shares.values(), strict=True):
            assert [bar.get_width() for bar in panel.patches] == pytest.approx(values[row].tolist())
            assert texts(panel) == [f"{value:.0%}" for value in values[row].tolist()]
            assert panel.yaxis_inverted()  # A on top
    assert [figure.axes[place].get_xlabel() for place in (4, 8)] == ["0.75", "0.50: none"]
    assert [panel.get_title() for panel in figure.axes[4:8]] == ["new", "before", "after", "later"]
