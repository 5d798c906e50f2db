"""Threads of one core each, and what they leave as it was."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch

from metasgd.strategies import thread_pool
from tests.strategies.helpers import draw_tasks, make_learner, mlp

pytestmark = pytest.mark.usefixtures("no_channel_is_small")


def in_another_thread(function: Callable[[], Any]) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def test_threads_leave_the_number_of_threads_of_others_alone(device: torch.device) -> None:
    """PyTorch takes the number that any thread sets as the number of all threads that start later."""
    torch.set_num_threads(3)  # no other test uses so many: the pool is new
    thread_pool.thread_pool.cache_clear()
    learner = make_learner(mlp, device, strategy="threads")
    learner.meta_backward(draw_tasks(device))
    assert torch.get_num_threads() == 3
    assert in_another_thread(torch.get_num_threads) == 3
    assert thread_pool.thread_pool(3).submit(torch.get_num_threads).result() == 1


FORK = """
import os, signal, torch
from torch import nn
from metasgd import MetaSGD, Task

torch.set_num_threads(2)
x = torch.linspace(-1, 1, 24).reshape(4, 6, 1)
tasks = Task(x, 2 * x, -x, -2 * x)
learner = MetaSGD(nn.Linear(1, 1), nn.functional.mse_loss, task_lr=0.1, strategy="threads")
expected = learner.meta_backward(tasks)
child = os.fork()
if child == 0:
    signal.alarm(60)  # a child that waits for threads that it does not have ends here
    os._exit(0 if torch.equal(learner.meta_backward(tasks), expected) else 1)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process cannot fork on this system")
@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU, PyTorch takes no derivatives in a forked process")
def test_a_forked_process_makes_threads_of_its_own() -> None:
    """In a process of its own, as forking one that has run other tests would be no fair start."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], check=True, timeout=120)


def test_the_calling_thread_uses_autograd_before_the_threads_start() -> None:
    """In a forked process its first use by two threads at once crashes PyTorch, though only once in many times."""
    before, threads = threading.active_count(), []

    def pack(kept: torch.Tensor) -> torch.Tensor:
        threads.append(threading.active_count())
        return kept

    thread_pool.thread_pool.cache_clear()
    with torch.no_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda kept: kept):
        thread_pool.thread_pool(2)
    assert threads
    assert max(threads) <= before
