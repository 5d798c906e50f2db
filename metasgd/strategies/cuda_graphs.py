"""Work that a GPU is told of once: a CUDA graph, in which several streams go side by side (chapter 10)."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Function = Callable[..., Any]
STREAMS = 8  # tasks that a GPU works on at a time: alone, one of a few hundred pictures leaves most of it idle


def recorded(function: Function, inputs: Sequence[Tensor]) -> Function:
    """Return the function of tensors to floats as a CUDA graph, after a first call and one that is recorded.

    A call then starts all kernels at once, where Python would start one after the other, some microseconds each. The
    function must wait for no number, and draw none.
    """
    own = [x.clone() for x in inputs]  # the kernels read and write where they did when they were recorded
    with torch.cuda.device(inputs[0].device), torch.no_grad():
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            function(*own)  # libraries make their workspaces at the first call
        torch.cuda.current_stream().wait_stream(aside)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            results = list(function(*own))
    groups: dict[torch.dtype, list[int]] = {}
    for index, x in enumerate(own):
        groups.setdefault(x.dtype, []).append(index)

    def call(*tensors: Tensor) -> list[Tensor]:
        for indices in groups.values():
            torch._foreach_copy_([own[i] for i in indices], [tensors[i] for i in indices])
        graph.replay()
        return list(torch._foreach_add(results, 0.0))  # copies, in one kernel: the next call writes over the results

    return call


def side_by_side(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
    """Return ``[function(item) for item in items]``, whose kernels run in ``STREAMS`` streams that end as one."""
    main = torch.cuda.current_stream()
    streams = [torch.cuda.Stream() for _ in range(min(STREAMS, len(items)))]
    for stream in streams:
        stream.wait_stream(main)
    results = []
    for index, item in enumerate(items):
        with torch.cuda.stream(streams[index % len(streams)]):
            results.append(function(item))
    for stream in streams:
        main.wait_stream(stream)
    return results
