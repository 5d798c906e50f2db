"""Peak memory: that of the work alone, and what the work raises."""

import pytest
import torch

from metasgd.benchmark.peak_memory import peak_memory


def holding(megabytes):
    return lambda: torch.ones(megabytes, 250_000).sum()


def failing():
    raise ValueError("it cannot start")


def test_peak_memory_is_that_of_the_work_alone():
    """64 MB are held: far more than the interpreter's own comings and goings, a few MB."""
    held_here = torch.ones(800, 250_000)  # what the parent holds does not count, nor hide what the work holds
    assert 60 <= peak_memory(holding, 64, device=torch.device("cpu")) <= 90
    del held_here


def test_what_the_work_raises_comes_back():
    with pytest.raises(ValueError, match="it cannot start"):
        peak_memory(failing, device=torch.device("cpu"))
