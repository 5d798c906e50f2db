"""Whether a process keeps the memory that it has freed (chapter 9)."""

import ctypes
from contextlib import suppress

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
