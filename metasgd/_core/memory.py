"""How a process treats its memory, and how much some work takes at its peak."""

import ctypes
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

REPEATS = 3
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h
LARGEST_IN_HEAP = 32 * 2**20  # bytes; glibc takes no larger threshold


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for its next tensors, and return whether it does (chapter 9).

    The GNU C library gives large blocks back to the system when they are freed, and gets the next ones as pages that
    are cleared one fault at a time: thousands in every task of a convnet. The price of keeping them is that other
    processes cannot have them until this one ends. Without that library, nothing changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl, Windows
        return False
    settings = ((M_MMAP_THRESHOLD, LARGEST_IN_HEAP), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2 * LARGEST_IN_HEAP))
    return all([mallopt(name, value) for name, value in settings])


def give_freed_memory_back() -> None:
    """Give memory that this process has freed back to the system, where the GNU C library can do that."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def peak_memory(make_work: Callable[..., Callable[[], Any]], *arguments: Any, device: torch.device) -> float:
    """Return the megabytes that ``make_work(*arguments)()`` needs at its peak, above what was there before its start.

    A new process imports everything, makes the work, does it once to warm up and then a few times. Of a GPU, the
    memory is counted that PyTorch allocates there; of main memory, also the code of a compiler that the work loads.
    The function and its arguments must be picklable.

    Raises:
        Exception: what the work raises, or ``BrokenProcessPool`` if the system kills the process.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_peak_here, make_work, arguments, device, torch.get_num_threads()).result()


def _peak_here(
    make_work: Callable[..., Callable[[], Any]], arguments: tuple, device: torch.device, threads: int
) -> float:
    torch.set_num_threads(threads)
    with redirect_stdout(sys.stderr):
        work = make_work(*arguments)
        before = _restarted_peak(device)
        work()
        _restarted_peak(device)  # what compilation took for a moment does not count
        for _ in range(REPEATS):
            work()
    return (_peak(device) - before) / 1e6


def _restarted_peak(device: torch.device) -> int:
    """Let the peak start from what is held now, and return it. Outside Linux, main memory cannot do that."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    return _peak(device)


def _peak(device: torch.device) -> int:
    """Return the bytes that were held at most."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # Linux counts in ru_maxrss what the parent held when it started this process, which would hide a smaller peak.
    with suppress(FileNotFoundError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
