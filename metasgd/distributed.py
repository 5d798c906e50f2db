"""One meta-update shared by several processes, on the GPUs of one machine or of several (chapter 10).

Every process holds the same theta, alpha and outer optimiser. In an iteration each draws the *whole* meta-batch, from
the same seeded generator, and keeps its own slice. That costs little, as drawing tasks takes a small part of a step,
and it makes a run independent of the number of processes: the tasks are those of a single process, and so are the
losses and the parameters, to the rounding of sums in another order (which a long run in float32 amplifies, as any
change of the last digit). GPUs of different models may draw different tasks; a run is then as good, but no repetition.

The gradients of the slices are summed over the processes, each weighted by its share of the meta-batch, so a
meta-batch need not be a multiple of the number of processes. Then every process takes the same step.

Beside the process group that sums gradients (NCCL between GPUs, gloo between CPUs) a second one, of gloo, carries a
few bytes a step: does every process live, and has it done its part? Gloo notices at once when a process is gone; NCCL
would wait for its timeout. So the processes stop in the same iteration, before its step, and say why.
"""

from __future__ import annotations

import functools
import io
import os
import re
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, NamedTuple, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from metasgd._core.task import Task, Tasks, as_list, part_of
from metasgd.meta_sgd import MetaSGD

# How long a process waits for one that is silent but not known to be dead, e.g. behind a broken network: longer than
# any validation or slow disk, and short enough to notice within a coffee break.
TIMEOUT = timedelta(minutes=10)
TORCHRUN = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}  # it sets these for each process
T = TypeVar("T")

_terminated = threading.Event()


class GroupError(RuntimeError):
    """Another process was lost or has failed, so that this one cannot go on."""


class Terminated(RuntimeError):
    """A process was told to end (SIGTERM); all of them stop after the same meta-update."""


class World(NamedTuple):
    """The processes that train one learner together. One process alone waits for nobody.

    ``rank`` is the number of this process, 0 to ``size - 1``, and ``control`` the gloo group of all of them, or None
    for a process alone.
    """

    rank: int = 0
    size: int = 1
    control: Any = None

    def meta_update(self, learner: MetaSGD, tasks: Tasks) -> dict[str, float]:
        """Take one meta-step on the whole meta-batch ``tasks``, of which this process computes its share.

        Raises:
            FloatingPointError: on all processes, if the loss or its gradient is not finite on one.
            GroupError: a process was lost or has failed, and this one has not taken the step.
            Terminated: a process was told to end, and none has taken the step.
        """
        if self.size == 1:
            return learner.meta_update(tasks)
        part, share = self.slice(tasks)

        def backward() -> Tensor:
            if share > 0:
                return learner.meta_backward(part)
            learner.meta_optimizer.zero_grad()
            return torch.zeros((), device=next(learner.parameters()).device)

        loss = self.together(backward)
        return learner.meta_step(self.weighted_sum(learner, loss, share), tasks)

    def slice(self, tasks: Tasks) -> tuple[Tasks, float]:
        """Return this process's part of a meta-batch, and the fraction that it is (0 if there are too few tasks).

        >>> [World(rank, 2).slice(["a", "b", "c"]) for rank in (0, 1)]
        [(['a'], 0.3333333333333333), (['b', 'c'], 0.6666666666666666)]
        """
        count = len(as_list(tasks))
        start, stop = self.rank * count // self.size, (self.rank + 1) * count // self.size
        part = part_of(tasks, start, stop) if isinstance(tasks, Task) else tasks[start:stop]
        return part, (stop - start) / count

    def weighted_sum(self, learner: MetaSGD, loss: Tensor, share: float) -> Tensor:
        """Replace the gradients by their sum over all processes, weighted by ``share``; return that of the loss.

        The sums are the same to the last bit on every process, so that all take the same step.
        """
        parameters = [p for group in learner.meta_optimizer.param_groups for p in group["params"]]
        dtype = functools.reduce(torch.promote_types, (p.dtype for p in parameters), torch.float32)
        # A parameter that plays no part has no gradient, and the optimiser passes it over; it must not get zeros.
        used = loss.new_tensor([p.grad is not None for p in parameters], dtype=dtype)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        message = torch.cat([used, *(share * part.flatten().to(dtype) for part in (loss, *gradients))])
        self.communicate(dist.all_reduce, message)
        used, loss, *sums = message.split([len(parameters), 1, *(p.numel() for p in parameters)])
        for parameter, is_used, total in zip(parameters, used.tolist(), sums, strict=True):
            if is_used:
                parameter.grad = torch.empty_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad.copy_(total.view_as(parameter))
        return loss.squeeze()

    def together(self, action: Callable[[], T]) -> T:
        """Run an action on every process; if it fails on one, all of them stop with the same message.

        Raises:
            GroupError: the action failed on a process, or a process was lost.
            Terminated: a process was told to end.
        """
        if self.size == 1:
            return action()
        result: T | None = None
        failure: Exception | None = None
        try:
            result = action()
        except Exception as error:  # whatever it is: the others would wait for this process
            failure = error
        state = torch.tensor([failure is not None, _terminated.is_set()], dtype=torch.int64)
        self.communicate(dist.all_reduce, state, group=self.control)
        failed, terminated = state.tolist()
        if failed:
            reports: list[str | None] = [None] * self.size
            own = None if failure is None else f"process {self.rank} failed: {type(failure).__name__}: {failure}"
            self.communicate(dist.all_gather_object, reports, own, group=self.control)
            raise GroupError(next(report for report in reports if report is not None)) from failure
        if terminated:
            raise Terminated("told to end (SIGTERM)")
        return cast("T", result)

    def from_first(self, action: Callable[[], T]) -> T:
        """Run an action on process 0 alone and return its result on every process, with its tensors on the CPU.

        Raises:
            GroupError: on the other processes, if the action fails; and on all, if one was lost.
        """
        if self.size == 1:
            return action()
        result: T | None = None
        failure: Exception | None = None
        file = io.BytesIO()
        if self.rank == 0:
            try:
                result = action()
            except Exception as error:
                failure = error
            torch.save((result, None if failure is None else str(failure)), file)
        message = [file.getvalue()]
        self.communicate(dist.broadcast_object_list, message, src=0, group=self.control)
        if failure is not None:
            raise failure
        if self.rank == 0:
            return cast("T", result)
        result, reason = torch.load(io.BytesIO(message[0]), map_location="cpu", weights_only=False)
        if reason is not None:
            raise GroupError(reason)
        return result

    def communicate(self, collective: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """Call a function of torch.distributed, which fails when a process is lost.

        Raises:
            GroupError: it failed.
        """
        try:
            collective(*arguments, **options)
        except RuntimeError as error:  # torch has no class of its own for what gloo reports
            reason = re.sub(r"^\[\S*\] ", "", str(error)).split(". ")[0]  # without line numbers and advice of gloo
            raise GroupError(f"another process was lost ({reason})") from error


@contextmanager
def world() -> Iterator[World]:
    """Yield the processes of the initialised process group; without one, this process alone."""
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        yield World()
        return
    control = dist.new_group(backend="gloo", timeout=TIMEOUT)
    yield World(dist.get_rank(), dist.get_world_size(), control)
    dist.destroy_process_group(control)  # not after an error: what is broken ends with the process


def launched() -> tuple[int, int]:
    """Return the number of this process and how many torchrun started: (0, 1) without torchrun."""
    if os.environ.keys() >= TORCHRUN:
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return 0, 1


def first_of_machine() -> bool:
    """Return whether this process is the first that torchrun started on its machine, or the only one."""
    return launched()[1] == 1 or int(os.environ["LOCAL_RANK"]) == 0


def own_device(name: str) -> str:
    """Return the device of this process: under torchrun ``cuda``, or ``auto`` with a GPU, is the process's own GPU.

    Raises:
        ValueError: a GPU by its number, which all processes would share, or fewer GPUs than processes.
    """
    if launched()[1] == 1 or name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return name
    if name not in ("auto", "cuda"):
        raise ValueError(f"device {name!r} would be the same for every process; use --device cuda, auto or cpu")
    local, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local >= count:
        raise ValueError(
            f"process {local} of this machine has no GPU of its own, there are {count}; lower --nproc-per-node to "
            f"{count}, or use --device cpu"
        )
    return f"cuda:{local}"


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the processes that torchrun started, for the body of a ``with``; without torchrun, do nothing.

    SIGTERM, which torchrun sends to the others when one process dies, no longer kills in the middle of something: the
    run stops before its next meta-step. After an error the process should end: neither the signal nor the group is
    restored, so that the signal does not cut off the message, and nothing waits for a process that is gone.
    """
    if launched()[1] == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    _terminated.clear()
    before = signal.signal(signal.SIGTERM, lambda *_: _terminated.set())
    yield
    signal.signal(signal.SIGTERM, before)
    dist.destroy_process_group()
