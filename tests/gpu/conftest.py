"""Settings of the process that the program changes, and that each test must find as they were."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def precision_as_before() -> Iterator[None]:
    """Set the switches of TF32 back after a test: the program sets them for the whole process."""
    places = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [place.allow_tf32 for place in places]
    yield
    for place, value in zip(places, before, strict=True):
        place.allow_tf32 = value
