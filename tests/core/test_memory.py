"""What a process does with the memory that it frees."""

import os
import platform
import subprocess
import sys

import pytest

from metasgd._core.memory import give_freed_memory_back, keep_freed_memory

SCRIPT = """
import ctypes
import torch
from metasgd._core.memory import keep_freed_memory

class Account(ctypes.Structure):  # struct mallinfo of glibc's malloc.h
    _fields_ = [(name, ctypes.c_int) for name in
                "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()]

mallinfo = ctypes.CDLL(None).mallinfo
mallinfo.restype = Account
assert {keep} is False or keep_freed_memory()
tensors = [torch.ones(7 * 2**20) for _ in range(4)]  # 28 MiB each
del tensors
print(mallinfo().fordblks)
"""
ALLOCATOR_SETTINGS = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")
is_glibc = platform.libc_ver()[0] == "glibc"


@pytest.mark.skipif(not is_glibc, reason="the GNU C library is not used here")
def test_freed_memory_is_kept():
    """Of four freed tensors, the library's own account holds every byte if they are kept; else the system has them."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(ALLOCATOR_SETTINGS)}
    free = {}
    for keep in (False, True):
        command = [sys.executable, "-c", SCRIPT.format(keep=keep)]
        free[keep] = int(subprocess.run(command, capture_output=True, check=True, env=environment).stdout) / 2**20
    assert free[False] < 28 < 4 * 28 <= free[True]


GIVING_BACK = """
from pathlib import Path
import torch
from metasgd._core.memory import give_freed_memory_back, keep_freed_memory

def pages():
    return int(Path("/proc/self/statm").read_text().split()[1])

keep_freed_memory()
tensors = [torch.ones(7 * 2**20) for _ in range(4)]  # 28 MiB each
del tensors
before = pages()
give_freed_memory_back()
print(before - pages())
"""


@pytest.mark.skipif(not is_glibc, reason="the GNU C library is not used here")
def test_what_was_kept_is_given_back_when_asked():
    output = subprocess.run([sys.executable, "-c", GIVING_BACK], capture_output=True, check=True).stdout
    assert int(output) * os.sysconf("SC_PAGE_SIZE") > 4 * 27 * 2**20


@pytest.mark.skipif(is_glibc, reason="the GNU C library is used here")
def test_elsewhere_nothing_changes():
    """There is no such setting, and no error."""
    assert not keep_freed_memory()
    give_freed_memory_back()
