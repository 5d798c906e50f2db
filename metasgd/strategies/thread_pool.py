"""Threads that each compute on one CPU core."""

from __future__ import annotations

import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_in_threads(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Yield ``function(item)`` for each item, in order, computed by ``workers`` threads with one core each.

    With one worker, the calling thread computes everything itself, on all cores.
    """
    if workers == 1:
        yield from map(function, items)
        return
    pool = thread_pool(workers)
    pending: deque[Future[Result]] = deque()
    try:
        for item in items:
            if len(pending) == 2 * workers:  # bounds the number of results that are held in memory
                yield pending.popleft().result()
            pending.append(pool.submit(function, item))
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


@functools.cache
def thread_pool(workers: int) -> ThreadPoolExecutor:
    """Return a pool of ``workers`` running threads, each of which computes on one core."""
    renew_autograd()
    before, started = torch.get_num_threads(), threading.Barrier(workers)
    pool = ThreadPoolExecutor(workers, "metasgd", initializer=use_one_core)
    list(pool.map(lambda _: started.wait(), range(workers)))
    # The number that was set last, in any thread, is what later threads start with: set it back to what it was.
    torch.set_num_threads(before)
    return pool


def renew_autograd() -> None:
    """Let the calling thread do what the first use of autograd does in a forked process, before others start.

    There, PyTorch replaces what it holds of autograd at the first tensor that is kept for a derivative, and two
    threads that both do so crash the process (PyTorch 2.14).
    """
    x = torch.ones((), requires_grad=True)
    with torch.enable_grad():
        x * x  # keeps x


def use_one_core() -> None:
    """Let the calling thread compute on one core."""
    torch.set_num_threads(1)
    torch.get_num_threads()  # without this call, the first computation takes the number set last in any thread


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=thread_pool.cache_clear)  # a forked process has none of its parent's threads
