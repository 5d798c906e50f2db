"""Train one learner with several processes, on the GPUs of one machine or of several (chapter 10).

All processes hold the same theta, alpha and outer optimiser. In each iteration, every process draws the *whole*
meta-batch from the same seeded generator and keeps its own shard of it. Drawing tasks takes a small part of a step, so
this costs little, and it makes a run independent of the number of processes: a run on one process draws the same
tasks, and has the same losses and parameters up to the rounding of sums that are taken in another order. (In float32,
a long run amplifies this rounding, as it does any change of the last digit.) GPUs of different models may draw
different tasks; such a run is just as good, but it cannot be repeated on another machine.

The gradients of the shards are summed over the processes, each weighted by its share of the meta-batch. So the size of
a meta-batch need not be a multiple of the number of processes. Then every process takes the same step.

The gradients are summed in the default process group (NCCL between GPUs, gloo between CPUs). A second process group,
which always uses gloo, carries a few bytes in each step: whether every process is alive, and whether it has computed
its shard. Gloo notices at once when a process is gone, where NCCL would wait for its timeout. So all processes stop in
the same iteration, before its step, and say why.
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

from metasgd._core.task import Task, Tasks, as_list, part_of, read_tasks
from metasgd.meta_sgd import MetaSGD

# How long a process waits for another one that is silent but may be alive, e.g. behind a broken network. This must be
# longer than any validation or any access to a slow disk.
TIMEOUT = timedelta(minutes=10)
# The environment variables that torchrun sets for each process.
TORCHRUN_VARIABLES = {"RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"}
T = TypeVar("T")

_received_sigterm, _received_sigint = threading.Event(), threading.Event()


class GroupError(RuntimeError):
    """Another process of the group was lost or has failed, so this one cannot go on."""


class Terminated(RuntimeError):
    """A process received SIGTERM, so all processes stop after the same meta-update."""


class Interrupted(Terminated):
    """A process received Ctrl-C, so all processes stop after the same meta-update."""


class World(NamedTuple):
    """The processes that train one learner. With a single process, nothing is communicated.

    Attributes:
        rank: the number of this process, 0 to ``size - 1``.
        size: the number of processes.
        control_group: the gloo process group that tells whether all processes are well (None for a single process).
    """

    rank: int = 0
    size: int = 1
    control_group: Any = None

    def meta_update(self, learner: MetaSGD, tasks: Tasks) -> dict[str, float]:
        """Take one meta-update; this process computes the meta-gradient of its own shard of the tasks.

        Args:
            learner: the same on all processes.
            tasks: the whole meta-batch, the same on all processes.

        Returns:
            The metrics of the step, as ``MetaSGD.meta_update`` returns them, over the whole meta-batch.

        Raises:
            FloatingPointError: on all processes, if the loss or its gradient is not finite on one of them.
            GroupError: a process was lost or has failed, and this one has not taken the step.
            Terminated: a process received SIGTERM, or Ctrl-C, and no process has taken the step.
        """
        if self.size == 1:
            return learner.meta_update(tasks)
        shard, share = self.shard(tasks)

        def backward() -> Tensor:
            if share > 0:
                return learner.meta_backward(shard)
            learner.meta_optimizer.zero_grad()
            return torch.zeros((), device=next(learner.parameters()).device)

        loss = self.on_all_ranks(backward)
        return learner.meta_step(self.all_reduce(learner, loss, share), tasks)

    def shard(self, tasks: Tasks) -> tuple[Tasks, float]:
        """Return this process's shard of a meta-batch, and which fraction of the meta-batch it is.

        Where there are fewer tasks than processes, some shards are empty and their fraction is 0.

        >>> tasks = [Task(*torch.full((4, 1, 1), number)) for number in (1, 2, 3)]
        >>> [(len(shard), share) for shard, share in (World(rank, 2).shard(tasks) for rank in (0, 1))]
        [(1, 0.3333333333333333), (2, 0.6666666666666666)]
        """
        tasks = read_tasks(tasks)
        count = len(as_list(tasks))
        start, stop = self.rank * count // self.size, (self.rank + 1) * count // self.size
        shard = part_of(tasks, start, stop) if isinstance(tasks, Task) else tasks[start:stop]
        return shard, (stop - start) / count

    def all_reduce(self, learner: MetaSGD, loss: Tensor, share: float) -> Tensor:
        """Replace each gradient by the weighted sum of this gradient over all processes.

        The sums are the same to the last bit on every process, so all processes take the same step.

        Args:
            learner: the gradients are in ``.grad`` of the parameters of its outer optimiser.
            loss: of this process's shard, a scalar.
            share: the weight of this process: the fraction of the meta-batch that its shard is.

        Returns:
            The weighted sum of the losses, a scalar.
        """
        parameters = [p for group in learner.meta_optimizer.param_groups for p in group["params"]]
        dtype = functools.reduce(torch.promote_types, (p.dtype for p in parameters), torch.float32)
        # The optimiser skips a parameter that has no gradient. With a gradient of zeros it might change it, e.g. by
        # weight decay. So a parameter that has a gradient on no process must have none after the sum either.
        used = loss.new_tensor([p.grad is not None for p in parameters], dtype=dtype)
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        message = torch.cat([used, *(share * part.flatten().to(dtype) for part in (loss, *gradients))])
        self.run_collective(dist.all_reduce, message)
        used, loss, *sums = torch.split(message, [len(parameters), 1, *(p.numel() for p in parameters)])
        for parameter, is_used, total in zip(parameters, used.tolist(), sums, strict=True):
            if is_used:
                parameter.grad = torch.empty_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad.copy_(total.view_as(parameter))
        return loss.squeeze()

    def on_all_ranks(self, action: Callable[[], T]) -> T:
        """Run an action on every process; if it fails on one of them, all of them stop with the same message.

        Returns:
            What the action returned on this process.

        Raises:
            GroupError: the action failed on a process, or a process was lost.
            Terminated: a process received SIGTERM, or Ctrl-C.
        """
        if self.size == 1:
            return action()
        result: T | None = None
        failure: Exception | None = None
        try:
            result = action()
        except Exception as error:  # of any kind, since the other processes would wait for this one
            failure = error
        signals = [_received_sigterm.is_set(), _received_sigint.is_set()]
        state = torch.tensor([failure is not None, *signals], dtype=torch.int64)
        self.run_collective(dist.all_reduce, state, group=self.control_group)
        failed, terminated, interrupted = state.tolist()
        if failed:
            reports: list[str | None] = [None] * self.size
            own = None if failure is None else f"process {self.rank} failed: {type(failure).__name__}: {failure}"
            self.run_collective(dist.all_gather_object, reports, own, group=self.control_group)
            raise GroupError(next(report for report in reports if report is not None)) from failure
        if interrupted:
            raise Interrupted("stopped by Ctrl-C")
        if terminated:
            raise Terminated("told to end (SIGTERM)")
        return cast("T", result)

    def on_rank_zero(self, action: Callable[[], T]) -> T:
        """Run an action on process 0 only, and return its result on every process.

        The other processes get a copy of the result, whose tensors are on the CPU.

        Raises:
            Exception: on process 0, what the action raises.
            GroupError: on the other processes, if the action fails; on all processes, if one was lost.
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
        self.run_collective(dist.broadcast_object_list, message, src=0, group=self.control_group)
        if failure is not None:
            raise failure
        if self.rank == 0:
            return cast("T", result)
        result, reason = torch.load(io.BytesIO(message[0]), map_location="cpu", weights_only=False)
        if reason is not None:
            raise GroupError(reason)
        return result

    def run_collective(self, collective: Callable[..., Any], *arguments: Any, **options: Any) -> None:
        """Call a collective function of torch.distributed, and turn its failure into a ``GroupError``.

        Raises:
            GroupError: the call failed, because a process was lost.
        """
        try:
            collective(*arguments, **options)
        except RuntimeError as error:  # gloo's errors have no more specific class in torch
            # Leave out the source line in front and the advice at the end of gloo's message.
            reason = re.sub(r"^\[\S*\] ", "", str(error)).split(". ")[0]
            raise GroupError(f"another process was lost ({reason})") from error


@contextmanager
def current_world() -> Iterator[World]:
    """Yield the processes of the initialised process group, or a world of this process alone if there is none.

    With several processes, Ctrl-C does not break off a meta-update: all stop before the next one. It may come twice,
    from the terminal and from torchrun, which hands it on.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        yield World()
        return
    control_group = control_group_of(dist.group.WORLD)
    _received_sigint.clear()
    in_main_thread = threading.current_thread() is threading.main_thread()
    handled = in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if handled:
        signal.signal(signal.SIGINT, lambda *_: _received_sigint.set())
    yield World(dist.get_rank(), dist.get_world_size(), control_group)
    # This is not reached after an error: the process then ends, and a second signal shall not cut off its last words.
    if handled:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@functools.lru_cache(maxsize=1)
def control_group_of(group: Any) -> Any:
    """Return the gloo group that belongs to the default process group, and ends with it.

    It is made once for all runs. In PyTorch 2.4, a group that one process makes while another still ends the one
    before may never come about, and both wait for ever.
    """
    return dist.new_group(backend="gloo", timeout=TIMEOUT)


def rank_and_world_size() -> tuple[int, int]:
    """Return the rank of this process and the number of processes that torchrun started: (0, 1) without torchrun."""
    if os.environ.keys() >= TORCHRUN_VARIABLES:
        return int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    return 0, 1


def is_local_rank_zero() -> bool:
    """Return whether this is the first process that torchrun started on this machine (True without torchrun)."""
    return rank_and_world_size()[1] == 1 or int(os.environ["LOCAL_RANK"]) == 0


def local_device(name: str) -> str:
    """Return the device that this process should use.

    Under torchrun, ``cuda`` (or ``auto``, where there is a GPU) becomes a GPU of its own for each process.

    Args:
        name: ``auto``, ``cpu``, ``cuda``, or any device if there is only one process.

    Raises:
        ValueError: there are several processes, and ``name`` is one particular GPU, which all of them would share; or
            there are fewer GPUs than processes.
    """
    if rank_and_world_size()[1] == 1 or name == "cpu" or (name == "auto" and not torch.cuda.is_available()):
        return name
    if name not in ("auto", "cuda"):
        raise ValueError(f"device {name!r} would be the same for every process; use --device cuda, auto or cpu")
    local_rank, count = int(os.environ["LOCAL_RANK"]), torch.cuda.device_count()
    if local_rank >= count:
        raise ValueError(
            f"process {local_rank} of this machine has no GPU of its own, there are {count}; lower --nproc-per-node "
            f"to {count}, or use --device cpu"
        )
    return f"cuda:{local_rank}"


@contextmanager
def process_group(device: torch.device) -> Iterator[None]:
    """Join the process group that torchrun started, for the body of a ``with``; without torchrun, do nothing.

    When one process dies, torchrun sends SIGTERM to the others. Inside this context the signal does not kill a process
    in the middle of a meta-update; instead, the run stops before the next one. After an error the process should end:
    neither the signal handler nor the group is restored then, so that the signal does not cut off the error message
    and nothing waits for a process that is gone.

    Args:
        device: this process's own device, see ``local_device``. It decides between NCCL (CUDA) and gloo (CPU).
    """
    if rank_and_world_size()[1] == 1:
        yield
        return
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
    _received_sigterm.clear()
    previous_handler = signal.signal(signal.SIGTERM, lambda *_: _received_sigterm.set())
    yield
    signal.signal(signal.SIGTERM, previous_handler)
    control_group_of.cache_clear()
    dist.destroy_process_group()
