"""The number of CPU cores that PyTorch computes on."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

# Parameters times tasks. Up to here, waking a second core takes longer than that core would save.
MAX_WORK_FOR_ONE_CORE = 2**18


@contextmanager
def one_core_if_small(device: torch.device, work: int) -> Iterator[None]:
    """Compute on one core if there is too little work for several: far faster where other processes are busy too.

    Args:
        device: where the work is done; nothing changes unless it is the CPU.
        work: the number of parameters, times the number of tasks.
    """
    cores = torch.get_num_threads()
    if cores == 1 or device.type != "cpu" or work > MAX_WORK_FOR_ONE_CORE:
        yield
        return
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(cores)
