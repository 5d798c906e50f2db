"""A pretended GPU: streams and CUDA graphs of ``torch.cuda`` on the CPU, for the code that only a GPU would reach.

A pretended graph does what a real one does. While it is recorded, it notes every operation with the tensors that it
reads and those that it writes; a replay computes the same operations again, from the same places into the same places.
So a program that reads a tensor which was replaced, or keeps a result that the next replay writes over, is wrong here
as it would be there.
"""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class Tape(TorchDispatchMode):
    """Notes every operation, with what went in and what came out."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, ...]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        self.calls.append((function, args, kwargs or {}, result))
        return result


class PretendedGPU:
    """Keeps a diary of what was asked of it: pairs of a verb and the name of a stream, or of None."""

    def __init__(self) -> None:
        self.diary: list[tuple[str, str | None]] = []
        self.current = Stream(self, "main")
        self.made = 0

    def names(self, verb: str) -> list[str | None]:
        """Return the streams for which something was noted, in order."""
        return [name for what, name in self.diary if what == verb]

    def new_stream(self, *_: Any) -> "Stream":
        self.made += 1
        return Stream(self, f"stream {self.made}")

    @contextmanager
    def stream(self, stream: "Stream") -> Iterator[None]:
        before, self.current = self.current, stream
        self.diary.append(("work", stream.name))
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, graph: "Graph", **_: Any) -> Iterator[None]:
        self.diary.append(("record", None))
        with Tape() as tape:
            yield
        graph.gpu, graph.calls = self, tape.calls


class Stream:
    def __init__(self, gpu: PretendedGPU, name: str) -> None:
        self.gpu, self.name = gpu, name

    def wait_stream(self, other: "Stream") -> None:
        self.gpu.diary.append(("wait", f"{self.name} for {other.name}"))


class Graph:
    gpu: PretendedGPU
    calls: list[tuple[Any, ...]]

    def replay(self) -> None:
        self.gpu.diary.append(("replay", None))
        with torch.no_grad():
            for function, args, kwargs, result in self.calls:
                again = function(*args, **kwargs)
                for place, value in zip(tree_leaves(result), tree_leaves(again), strict=True):
                    if isinstance(place, Tensor) and place.data_ptr() != value.data_ptr():
                        place.copy_(value)


@pytest.fixture
def pretended_gpu(monkeypatch: pytest.MonkeyPatch) -> PretendedGPU:
    """Let ``torch.cuda`` be a pretended one, and every tensor say that it is on it."""
    gpu = PretendedGPU()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "Stream", gpu.new_stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda *_: gpu.current)
    monkeypatch.setattr(torch.cuda, "stream", gpu.stream)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
    monkeypatch.setattr(torch.cuda, "graph", gpu.graph)
    monkeypatch.setattr(torch.cuda, "device", lambda *_: nullcontext())
    monkeypatch.setattr(Tensor, "is_cuda", True, raising=False)
    return gpu
