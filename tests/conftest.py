"""What the tests share: the device they run on, float64, and the full MNIST where there is one."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "data" / "torchvision"
MNIST_FOLDER = Path(os.environ.get("METASGD_DATA") or BESIDE_THE_CHECKOUT).expanduser()


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The device of the tests: ``METASGD_TEST_DEVICE=cuda pytest`` runs them on a GPU (default: cpu)."""
    return torch.device(os.environ.get("METASGD_TEST_DEVICE", "cpu"))


@pytest.fixture
def float64() -> Iterator[None]:
    """Make float64 the default of a test: its rounding, 1e-16, is far below the tolerances."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture(autouse=True)
def _embedded_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests see the embedded sample, whatever folder the environment names."""
    monkeypatch.delenv("METASGD_DATA", raising=False)


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """The full MNIST in torchvision's layout: ``METASGD_DATA``, or ``../shared/data/torchvision``; else skip."""
    if not (MNIST_FOLDER / "MNIST" / "raw").is_dir():
        pytest.skip(f"needs the full MNIST, and {MNIST_FOLDER} has none; set METASGD_DATA to a folder that has")
    return MNIST_FOLDER
