"""The connected pieces of a black-and-white picture."""

import torch
import torch.nn.functional as F
from torch import Tensor


def connected_pieces(marked: Tensor) -> Tensor:
    """Number the connected pieces of what is marked; pixels that touch at a corner are connected, too.

    Each row is cut into its runs of marked pixels. Runs that touch a run of the next row are joined, all at once,
    until every run has the smallest number of its piece (the "hook and compress" of parallel algorithms).

    Args:
        marked: bool of shape (height, width).

    Returns:
        int64 of the same shape: 0 where nothing is marked, else 1, 2, ... by piece, in the order of first pixels.

    >>> connected_pieces(torch.tensor([[True, False, True], [False, True, False], [False, False, False]])).tolist()
    [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    """
    row = marked.shape[1] + 2
    steps = F.pad(marked.to(torch.int8), (1, 1)).flatten().diff()
    starts, ends = (steps == 1).nonzero()[:, 0] + 1, (steps == -1).nonzero()[:, 0] + 1  # ends are not included
    # The runs that touch run i are neighbours in the list of all runs: those from first[i] to before last[i].
    first = torch.searchsorted(ends - row, starts)
    last = torch.searchsorted(starts - row, ends, right=True)
    touching = (last - first).clamp(min=0)
    upper = torch.arange(len(starts)).repeat_interleave(touching)
    lower = torch.arange(len(upper)) - (touching.cumsum(0) - touching - first)[upper]
    piece = torch.arange(len(starts))
    while True:
        smaller = torch.minimum(piece[upper], piece[lower])
        joined = piece.scatter_reduce(0, piece[upper], smaller, "amin").scatter_reduce(
            0, piece[lower], smaller, "amin"
        )
        joined = joined[joined]
        if torch.equal(joined, piece):
            break
        piece = joined
    numbers = piece.unique(return_inverse=True)[1] + 1
    labels = torch.zeros(marked.shape, dtype=torch.int64)
    labels[marked] = numbers.repeat_interleave(ends - starts)
    return labels
