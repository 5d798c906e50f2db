"""The connected pieces of a picture, against a plain flood fill."""

import pytest
import torch

from metasgd._core.connected_pieces import connected_pieces


def flooded(marked: list[list[bool]]) -> list[list[int]]:
    """The same numbers by another way: from each pixel that has no number yet, give one to all that it touches."""
    height, width, count = len(marked), len(marked[0]), 0
    numbers = [[0] * width for _ in range(height)]
    for start in ((row, column) for row in range(height) for column in range(width)):
        if not marked[start[0]][start[1]] or numbers[start[0]][start[1]]:
            continue
        count, waiting = count + 1, [start]
        while waiting:
            row, column = waiting.pop()
            if 0 <= row < height and 0 <= column < width and marked[row][column] and not numbers[row][column]:
                numbers[row][column] = count
                waiting += [(row + down, column + right) for down in (-1, 0, 1) for right in (-1, 0, 1)]
    return numbers


@pytest.mark.parametrize("seed", range(40))
def test_pieces_are_those_of_a_flood_fill(seed: int) -> None:
    """At random, sparse to dense, of any shape down to a single row, column or pixel."""
    generator = torch.Generator().manual_seed(seed)
    height, width = torch.randint(1, 30, (2,), generator=generator).tolist()
    marked = torch.rand(height, width, generator=generator) < torch.rand((), generator=generator)
    assert connected_pieces(marked).tolist() == flooded(marked.tolist())


def test_a_spiral_is_one_piece() -> None:
    """Its ends are far apart, so numbers must travel far."""
    marked, row, column, down, right = torch.zeros(61, 61, dtype=torch.bool), 0, 0, 0, 1
    for length in [60, *(length for pair in range(60, 2, -2) for length in (pair, pair))]:
        for _ in range(length):
            marked[row, column] = True
            row, column = row + down, column + right
        down, right = right, -down
    assert connected_pieces(marked).max() == 1
    assert marked.float().mean() < 0.6


def test_nothing_and_everything() -> None:
    assert not connected_pieces(torch.zeros(3, 4, dtype=torch.bool)).any()
    assert (connected_pieces(torch.ones(3, 4, dtype=torch.bool)) == 1).all()
