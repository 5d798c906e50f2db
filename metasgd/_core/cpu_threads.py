"""How many CPU cores work."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

SMALL = 2**18  # parameters, times tasks, below which a second CPU core takes longer to wake than it saves


@contextmanager
def one_core_if_small(device: torch.device, work: int) -> Iterator[None]:
    """Compute on one core what is too little work for two: many times faster, if another process wants them, too."""
    cores = torch.get_num_threads()
    if cores == 1 or device.type != "cpu" or work > SMALL:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(cores)
