"""Fixtures of the tests of strategies."""

from collections.abc import Iterator

import pytest
import torch

from metasgd.strategies import execution, streams
from tests.strategies.helpers import call_it


@pytest.fixture(autouse=True)
def number_of_threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Two threads for the tests of "threads", whatever the environment says, and one for the others: it is faster."""
    before, parameters = torch.get_num_threads(), getattr(request.node, "callspec", None)
    one = parameters is not None and parameters.params.get("strategy", "threads") != "threads"
    torch.set_num_threads(1 if one else 2)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def recordings_are_calls_without_a_gpu(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let "streams" do on a CPU what it would record on a GPU, one task after the other."""
    if device.type == "cpu":
        monkeypatch.setattr(streams, "DEVICE_TYPE", "cpu")
        monkeypatch.setattr(execution, "record_cuda_graph", call_it)
        monkeypatch.setattr(streams, "map_over_streams", lambda function, items: [function(item) for item in items])


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the compiler: ``compile=True`` then runs the traced graph as it is, which takes no minutes."""
    monkeypatch.setattr("torch._inductor.compile", lambda graph, inputs, options: graph)
