"""How much memory some work takes at its peak, measured in a process of its own (chapter 9)."""

import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stdout, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch

REPEATS = 3


def peak_memory(make_work: Callable[..., Callable[[], Any]], *arguments: Any, device: torch.device) -> float:
    """Return how many megabytes ``make_work(*arguments)()`` needs at its peak.

    A new process makes the work, does it once as a warm-up, and then ``REPEATS`` more times. What the process holds
    before the warm-up, such as imported libraries, does not count. On a GPU, only memory that PyTorch allocates is
    counted. In main memory, the code of a compiler counts if the work loads one.

    Args:
        make_work: a function that can be pickled; it returns the work, a function without arguments.
        arguments: of ``make_work``; they must be picklable.
        device: whose memory is measured.

    Raises:
        Exception: whatever the work raises, or ``BrokenProcessPool`` if the system kills the process.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_peak_memory_here, make_work, arguments, device, torch.get_num_threads()).result()


def _peak_memory_here(
    make_work: Callable[..., Callable[[], Any]], arguments: tuple[Any, ...], device: torch.device, threads: int
) -> float:
    """Do in this process what ``peak_memory`` promises."""
    torch.set_num_threads(threads)
    with redirect_stdout(sys.stderr):
        work = make_work(*arguments)
        before = _reset_peak(device)
        work()
        _reset_peak(device)  # what compilation needed for a short time does not count
        for _ in range(REPEATS):
            work()
    return (_peak_bytes(device) - before) / 1e6


def _reset_peak(device: torch.device) -> int:
    """Set the peak back to what is held now, and return it in bytes.

    For main memory this is possible on Linux only. Elsewhere the peak stays what it was.
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")
    return _peak_bytes(device)


def _peak_bytes(device: torch.device) -> int:
    """Return the largest number of bytes that this process has held since the last reset."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    # On Linux, ru_maxrss starts from what the parent process held when it started this one, which would hide a smaller
    # peak. So it is used on other systems only.
    with suppress(FileNotFoundError):
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    import resource  # does not exist on Windows

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
