"""Whether a process keeps the memory that it has freed, and how much memory a piece of work needs."""

import ctypes
import sys
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from pathlib import Path
from typing import Any

import torch

REPEATS = 3
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3  # of glibc's malloc.h
LARGEST_IN_HEAP = 32 * 2**20  # bytes; glibc takes no larger threshold


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for its next tensors, and return whether it does (chapter 9).

    The GNU C library gives large blocks back to the system as soon as they are freed. The next large block then comes
    as fresh pages, each of which costs a page fault at its first use: thousands for every task of a convnet. The price
    of keeping the memory is that no other process can use it until this one ends. With another C library, nothing
    changes.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # macOS, musl, Windows
        return False
    # Blocks up to the threshold come from the heap; the heap is never trimmed, and grows in large steps.
    settings = ((M_MMAP_THRESHOLD, LARGEST_IN_HEAP), (M_TRIM_THRESHOLD, 2**31 - 1), (M_TOP_PAD, 2 * LARGEST_IN_HEAP))
    return all([mallopt(name, value) for name, value in settings])


def give_freed_memory_back() -> None:
    """Give the memory that this process has freed back to the system; without the GNU C library, do nothing."""
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def peak_memory(make_work: Callable[..., Callable[[], Any]], *arguments: Any, device: torch.device) -> float:
    """Return the megabytes that ``make_work(*arguments)()`` needs at its peak, beyond those in use before it starts.

    A new process imports what is needed, makes the work, and does it once to warm up and then ``REPEATS`` times. On a
    GPU, this is the memory that PyTorch allocates there; on a CPU, it is the memory of the process, including the code
    of a compiler if the work loads one. The function and its arguments must be picklable.

    Raises:
        Exception: what the work raises, or ``BrokenProcessPool`` if the system kills the process.
    """
    from concurrent.futures import ProcessPoolExecutor  # imported here, as few programs need them
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_peak_in_this_process, make_work, arguments, device, torch.get_num_threads()).result()


def _peak_in_this_process(
    make_work: Callable[..., Callable[[], Any]], arguments: tuple[Any, ...], device: torch.device, threads: int
) -> float:
    torch.set_num_threads(threads)
    with redirect_stdout(sys.stderr):
        work = make_work(*arguments)
        before = _restart_peak(device)
        work()
        _restart_peak(device)  # the memory that compilation needs for a moment does not count
        for _ in range(REPEATS):
            work()
    return (_peak(device) - before) / 1e6


def _restart_peak(device: torch.device) -> int:
    """Start the peak again from the memory in use now, and return it in bytes.

    That of main memory can be started again on Linux only.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    return _peak(device)


def _peak(device: torch.device) -> int:
    """Return the most bytes that have been in use since the peak was last started."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # On Linux, ru_maxrss includes the memory that the parent had when it started this process, which may be more.
    with suppress(FileNotFoundError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    import resource  # not on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
