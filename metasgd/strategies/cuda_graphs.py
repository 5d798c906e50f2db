"""CUDA graphs: work that is sent to a GPU once and then replayed, in several streams at a time (chapter 10)."""

from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor

from metasgd._core.learner import TensorFunction
from metasgd._core.private_torch import foreach_add, foreach_copy_

Item = TypeVar("Item")
Result = TypeVar("Result")
MAX_STREAMS = 8  # a single task of a few hundred images leaves most of a GPU idle


def record_cuda_graph(function: TensorFunction, inputs: Sequence[Tensor]) -> TensorFunction:
    """Return a function of tensors to floats as a CUDA graph, for inputs like those given.

    Calling the graph starts all kernels at once, while Python would need some microseconds to start each of them. The
    function is called twice, once to warm up and once to be recorded. It must not wait for a number from the GPU, nor
    draw random numbers.

    Raises:
        torch.cuda.OutOfMemoryError: there is too little memory. Where it ends in the middle of a recording, PyTorch
            raises another error on the way out of it, which has the lack of memory as its context.
    """
    own = [x.clone() for x in inputs]  # a replayed kernel reads and writes the same addresses as when it was recorded
    with torch.cuda.device(inputs[0].device), torch.no_grad():
        side_stream = torch.cuda.Stream()
        side_stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side_stream):
            function(*own)  # libraries allocate their workspaces at the first call
        torch.cuda.current_stream().wait_stream(side_stream)
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph):
                results = list(function(*own))
        except RuntimeError as error:
            if not isinstance(error, torch.cuda.OutOfMemoryError) and lacks_memory(error):
                raise torch.cuda.OutOfMemoryError("out of memory while a CUDA graph was recorded") from error
            raise
    by_dtype: dict[torch.dtype, list[int]] = {}
    for index, x in enumerate(own):
        by_dtype.setdefault(x.dtype, []).append(index)

    def replay(*tensors: Tensor) -> list[Tensor]:
        for indices in by_dtype.values():
            foreach_copy_([own[i] for i in indices], [tensors[i] for i in indices])
        graph.replay()
        # The next call overwrites the results. Adding zero copies all of them by a single kernel.
        return list(foreach_add(results, 0.0))

    return replay


def lacks_memory(error: BaseException | None) -> bool:
    """Tell whether an error, or one in whose handling it was raised, is that a GPU has too little memory."""
    while error is not None:
        if isinstance(error, torch.cuda.OutOfMemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False


def map_over_streams(function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """Return ``[function(item) for item in items]``, with the kernels of several items running side by side.

    The items take turns in at most ``MAX_STREAMS`` streams, which the current stream waits for at the end.
    """
    current = torch.cuda.current_stream()
    count = min(MAX_STREAMS, len(items))
    streams = [torch.cuda.Stream() for _ in range(count)]
    for stream in streams:
        stream.wait_stream(current)
    results = []
    for index, item in enumerate(items):
        with torch.cuda.stream(streams[index % len(streams)]):
            results.append(function(item))
    for stream in streams:
        current.wait_stream(stream)
    return results
