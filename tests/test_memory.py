"""What a process does with the memory that it frees."""

import platform
import subprocess
import sys

import pytest

from metasgd._memory import keep_freed_memory

SCRIPT = """
import resource
import torch
from metasgd._memory import keep_freed_memory

assert {keep} is False or keep_freed_memory()
def page_faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(6):
    before = page_faults()
    tensors = [torch.ones(5 * 2**20) for _ in range(4)]  # 20 MiB each
    del tensors
print(page_faults() - before)
"""
is_glibc = platform.libc_ver()[0] == "glibc"


@pytest.mark.skipif(not is_glibc, reason="the GNU C library is not used here")
def test_freed_memory_is_kept():
    """Four tensors of 20 MiB are 20,480 pages; kept memory costs next to none of them, the default nearly all."""
    faults = {}
    for keep in (False, True):
        command = [sys.executable, "-c", SCRIPT.format(keep=keep)]
        faults[keep] = int(subprocess.run(command, capture_output=True, check=True).stdout)
    assert faults[True] < 1000 < 10_000 < faults[False]


@pytest.mark.skipif(is_glibc, reason="the GNU C library is used here")
def test_elsewhere_nothing_changes():
    """There is no such setting, and no error."""
    assert not keep_freed_memory()
