"""What the tests of the benchmark share: small workloads and quick settings. Nothing here asserts a speed."""

import pytest
import torch

from metasgd.benchmark import Settings, timing


@pytest.fixture
def settings():
    return Settings(torch.device("cpu"), rounds=2, seconds=0.001)


@pytest.fixture(autouse=True)
def quickly(monkeypatch):
    """Leave out what takes time and changes no number's meaning."""
    monkeypatch.setitem(timing.MATMUL_SIZE, "cpu", 64)
    monkeypatch.setattr(timing.gc, "collect", lambda: 0)
