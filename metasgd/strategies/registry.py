"""The strategies by name. To add one, write a file with its two functions and enter them here."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from metasgd._core.learner import Learner
from metasgd._core.task import Task, Tasks
from metasgd._core.trees import Tree
from metasgd.strategies import batched, loop, streams, threads


class Strategy(NamedTuple):
    """One way to compute the meta-gradient and predictions.

    Attributes:
        backward: ``(learner, tasks) -> mean query loss``; adds the gradient of that loss to ``.grad`` of theta and
            alpha.
        predict: ``(learner, tasks) -> predictions`` for the query sets of a batch of tasks, in their order and in
            parts of any size, each of shape (tasks, queries, ...).
        device_type: the only type of device that it runs on, or None if it runs on all.
    """

    backward: Callable[[Learner, Tasks], Tensor]
    predict: Callable[[Learner, Task], Iterator[Tree]]
    device_type: str | None = None


STRATEGIES = {
    "loop": Strategy(loop.backward, loop.predict),
    "threads": Strategy(threads.backward, threads.predict),
    "batched": Strategy(batched.backward, batched.predict),
    "streams": Strategy(streams.backward, batched.predict, streams.DEVICE_TYPE),
}


def strategies_on(device: torch.device) -> list[str]:
    """Return the names of the strategies that run on a device."""
    return [name for name, strategy in STRATEGIES.items() if strategy.device_type in (None, device.type)]
