"""A recorded CUDA graph is the function that was recorded."""

import pytest
import torch

from metasgd.strategies.cuda_graphs import map_over_streams, record_cuda_graph


@pytest.mark.skipif(not torch.cuda.is_available(), reason="records a CUDA graph, which takes an NVIDIA GPU")
def test_a_recording_is_the_function_of_whatever_it_is_given() -> None:
    """Also after another call, whose results must not write over the first ones."""
    work = record_cuda_graph(
        lambda x, y: [part for parts in map_over_streams(lambda z: (z @ z, z.sum(0)), [x, y]) for part in parts],
        [torch.ones(3, 3, device="cuda"), torch.ones(3, 3, device="cuda")],
    )
    inputs = [torch.rand(2, 3, 3, device="cuda") for _ in range(2)]
    results = [work(*pair) for pair in inputs]
    for (x, y), found in zip(inputs, results, strict=True):
        for value, expected in zip(found, [x @ x, x.sum(0), y @ y, y.sum(0)], strict=True):
            torch.testing.assert_close(value, expected)
