"""How the meta-gradient is computed: three strategies, one result (chapters 9 and 10).

``loop`` is the definition: one task after the other, differentiated through the inner steps by autograd. The other two
use the identities of chapter 3. With support gradients g_s at the visited points theta_s, s = 0, ..., S - 1, and the
query gradient v at theta_S, they go back over the steps,

    alpha gets  -v * g_s        and then        v becomes  v - H_s (alpha * v),

until v is the gradient in theta. So the query set needs one ordinary backward pass, and the graph of a step can be
thrown away and built again when its turn comes (``recompute``). ``threads`` does this for one task on each CPU core,
``batched`` for many tasks at once by ``torch.func.vmap``.

A strategy is a function ``(learner, tasks) -> mean query loss`` that adds the gradient of that loss to ``.grad`` of
theta and alpha. To add one, write it and enter it in ``STRATEGIES``.
"""

from __future__ import annotations

import copy
import functools
import os
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call, grad, grad_and_value, vmap

from metasgd._batch_norm import BatchNormMode, Normalise, affine_outside, fast_second_derivative
from metasgd._checks import check_labels, check_scalar, check_task
from metasgd._compile import Compiled
from metasgd._precision import check_precision, forward_precision, matmul_precision
from metasgd._tasks import as_batches, as_list, part_of, shapes_of

if TYPE_CHECKING:
    from metasgd._tasks import Task, Tasks
    from metasgd.meta_sgd import MetaSGD

CPU_BUDGET = 512 * 2**20  # bytes that a chunk's graphs may hold on a CPU
GPU_SHARE = 0.7  # of the free memory that a chunk's graphs may hold on a GPU
OVERHEAD = 3  # a batched graph holds up to this many times the bytes that autograd saves for the tasks one by one

Tensors = list[Tensor]
Item, Result = TypeVar("Item"), TypeVar("Result")


@dataclass
class Execution:
    """Settings of how a learner computes (see ``MetaSGD``), and what it has found out about it."""

    strategy: str
    compile: bool
    chunk: int | None
    precision: str
    recompute: bool
    chosen: str | None = None
    chunks: dict[Any, int] = field(default_factory=dict)  # tasks at a time, by shapes
    outputs: dict[Any, int] = field(default_factory=dict)  # classes that the model tells apart, by shape of its input
    compiled: Compiled = field(default_factory=Compiled)

    def __post_init__(self) -> None:
        if self.strategy not in ("auto", *STRATEGIES):
            raise ValueError(f"strategy {self.strategy!r} does not exist; choose auto, {', '.join(STRATEGIES)}")
        if self.chunk is not None and self.chunk < 1:
            raise ValueError(f"chunk is {self.chunk}; at least 1 task is worked on at a time")
        if self.compile and self.strategy == "loop":
            raise ValueError("strategy 'loop' is the readable reference and is not compiled; use threads or batched")
        check_precision(self.precision)


def meta_backward(learner: MetaSGD, tasks: Tasks) -> Tensor:
    """Add the gradient of the mean query loss to ``.grad``, by the learner's strategy, and return that loss."""
    execution = learner.execution
    with matmul_precision(execution.precision, device_of(learner)):
        return STRATEGIES[strategy_of(learner)](learner, tasks)


def strategy_of(learner: MetaSGD) -> str:
    """Return the learner's strategy; ``auto`` is decided at its first use, and the choice printed once."""
    execution = learner.execution
    if execution.strategy != "auto":
        return execution.strategy
    if execution.chosen is None:
        execution.chosen, why = choose(learner)
        announce(f"MetaSGD: strategy '{execution.chosen}', as {why}")
    return execution.chosen


def choose(learner: MetaSGD) -> tuple[str, str]:
    """Return the strategy that was fastest for such a model on such a device in chapter 10, and the reason."""
    device = device_of(learner)
    if any(isinstance(module, nn.modules.dropout._DropoutNd) for module in learner.model.modules()):
        return "loop", "dropout draws its random numbers task by task"
    if device.type != "cpu":
        return "batched", f"the model is on {device}, which is fast only with many tasks at once"
    if any(isinstance(module, nn.modules.conv._ConvNd) for module in learner.model.modules()):
        return "threads", "convolutions with weights of their own for each task are slow in a batch on a CPU"
    return "batched", "without convolutions, a batch of tasks is a few large matrix products"


@functools.cache
def announce(message: str) -> None:
    """Print a message, once."""
    print(message, file=sys.stderr)


# ---------------------------------------------------------------------------------------------------------------
# The three strategies


def loop(learner: MetaSGD, tasks: Tasks) -> Tensor:
    """Differentiate through the inner steps, one task after the other: the definition, and the readable one."""
    tasks = as_list(tasks)
    total = torch.zeros(())
    for task in tasks:  # one backward pass a task: the graph of a single task is alive at a time
        with forward_precision(learner.execution.precision, task.support_x.device):
            loss = learner.task_loss(task) / len(tasks)
        loss.backward()
        total = total.to(loss) + loss.detach()
    return total


def threads(learner: MetaSGD, tasks: Tasks) -> Tensor:
    """Work on one task in each thread, each thread on one core: the fastest way for convolutions on a CPU.

    Images and filters are stored channels last, and batch normalisation has a second derivative of its own. Tasks are
    summed in their order, so that the result does not depend on the number of threads.
    """
    tasks = as_list(tasks)
    check_tasks(learner, tasks)
    problem = Problem.of(learner, channels_last)
    structures: SimpleQueue[nn.Module] = SimpleQueue()
    for _ in range(torch.get_num_threads()):
        structures.put(structure_of(learner.model))

    def sums(task: Task) -> Sums:
        model = structures.get()  # functional_call exchanges a module's parameters: one thread, one module
        task = task._replace(support_x=channels_last(task.support_x), query_x=channels_last(task.query_x))
        try:
            return problem._replace(model=model).sums(task, is_batch=False)
        finally:
            structures.put(model)

    return accumulate(learner, in_order(sums, tasks), len(tasks))


def batched(learner: MetaSGD, tasks: Tasks) -> Tensor:
    """Compute many tasks at once by vmap: the fastest way on a GPU, and for small dense networks everywhere.

    Tasks of different sizes are sorted into batches of one size, and batches are cut into chunks that fit into memory.
    """
    batches = as_batches(tasks)
    check_tasks(learner, batches, is_batch=True)
    problem = Problem.of(learner)

    def parts() -> Iterator[Sums]:
        for batch in batches:
            count, start = len(batch.support_x), 0
            while start < count:
                size = tasks_at_a_time(learner, problem, batch)
                try:
                    yield problem.sums(part_of(batch, start, start + size), is_batch=True)
                except torch.cuda.OutOfMemoryError:
                    if size == 1:
                        raise
                    learner.execution.chunks[shapes_of(batch)] = size // 2
                else:
                    start += size

    return accumulate(learner, parts(), sum(len(batch.support_x) for batch in batches))


STRATEGIES: dict[str, Callable[[MetaSGD, Tasks], Tensor]] = {"loop": loop, "threads": threads, "batched": batched}


# ---------------------------------------------------------------------------------------------------------------
# The meta-gradient by the identities


class Sums(NamedTuple):
    """Sums over tasks: the query loss, its gradient in theta, and its gradient in alpha (empty if alpha is held)."""

    loss: Tensor
    theta: Tensors
    alpha: Tensors


class Problem(NamedTuple):
    """What all tasks of a meta-step share: the learner's settings, and its tensors as they are now, detached."""

    learner: MetaSGD
    model: nn.Module
    names: tuple[str, ...]  # of the parameters that adapt
    theta: Tensors
    alpha: Tensors
    held: dict[str, Tensor]  # frozen parameters and buffers

    @classmethod
    def of(cls, learner: MetaSGD, store: Callable[[Tensor], Tensor] = Tensor.detach) -> Problem:
        """Take the learner as it is now, every tensor stored as ``store`` says."""
        theta, alpha = learner.theta, learner.alpha
        names = tuple(name for name, value in theta.items() if value.requires_grad)
        held = {name: value.detach() for name, value in theta.items() if name not in names}
        return cls(
            learner,
            learner.model,
            names,
            [store(theta[name].detach()) for name in names],
            [store(alpha[name].detach()) for name in names],
            held | dict(learner.model.named_buffers()),
        )

    def sums(self, tasks: Task, *, is_batch: bool) -> Sums:
        """Return the sums over one task, or over a batch of them, compiled if the learner says so."""
        if not self.learner.execution.compile:
            return self.adjoint(self.theta, self.alpha, tasks, is_batch=is_batch)
        adapt, held = len(self.names), list(self.held)

        def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
            theta, alpha, rest = list(tensors[:adapt]), list(tensors[adapt : 2 * adapt]), tensors[2 * adapt :]
            problem = self._replace(held=dict(zip(held, rest, strict=False)))
            result = problem.adjoint(theta, alpha, type(tasks)(*rest[len(held) :]), is_batch=is_batch)
            return result.loss, *result.theta, *result.alpha

        key = is_batch, self.learner.training
        inputs = [*self.theta, *self.alpha, *self.held.values(), *tasks]
        loss, *gradients = self.learner.execution.compiled.call(key, flat, inputs)
        return Sums(loss, gradients[:adapt], gradients[adapt:])

    def adjoint(self, theta: Tensors, alpha: Tensors, tasks: Task, *, is_batch: bool) -> Sums:
        """Go forward over the inner steps and back again, as the head of this module says."""
        learner, recompute = self.learner, self.learner.execution.recompute
        support, query = tasks[:2], tasks[2:]
        second_order = not learner.first_order
        visited, params = [], leaves(theta)
        for step in range(learner.inner_steps):
            g = self.gradients(params, support, is_batch and step == 0, is_batch, second_order and not recompute)
            visited.append((params, detached(g) if recompute else g))
            params = leaves(p - a * slope.detach() for p, a, slope in zip(params, alpha, g, strict=True))
        losses, v = self.values_and_gradients(params, query, is_batch)

        rate_gradients = [torch.zeros_like(a) for a in alpha]
        for step, (params, g) in reversed(list(enumerate(visited))):
            if learner.learns_alpha:
                products = [w * slope.detach() for w, slope in zip(v, g, strict=True)]
                products = [product.sum(0) for product in products] if is_batch else products
                rate_gradients = [r - product for r, product in zip(rate_gradients, products, strict=True)]
            direction = [a * w for a, w in zip(alpha, v, strict=True)]
            if is_batch and step == 0:  # all tasks start from the same theta: from here on, their sum
                v = [w.sum(0) for w in v]
            if second_order:
                if recompute:
                    g = self.gradients(params, support, is_batch and step == 0, is_batch, True)
                v = [w - h for w, h in zip(v, hessian_times(g, params, direction), strict=True)]
        return Sums(losses.sum(), v, rate_gradients if learner.learns_alpha else [])

    def gradients(
        self, params: Tensors, examples: Sequence[Tensor], shared: bool, is_batch: bool, differentiable: bool
    ) -> Tensors:
        """Return the gradient of the loss, for a batch one for each task, whose parameters are ``shared`` or not."""
        if not is_batch:
            with torch.enable_grad():
                loss = self.loss(params, *examples, fast_second_derivative)
                return list(torch.autograd.grad(loss, params, create_graph=differentiable, materialize_grads=True))
        with torch.set_grad_enabled(differentiable):
            return vmap(grad(self.loss), (None if shared else 0, 0, 0), randomness="different")(params, *examples)

    def values_and_gradients(
        self, params: Tensors, examples: Sequence[Tensor], is_batch: bool
    ) -> tuple[Tensor, Tensors]:
        """Return the loss and its gradient, for a batch one of each for every task."""
        if not is_batch:
            with torch.enable_grad():
                loss = self.loss(params, *examples, fast_second_derivative)
            return loss.detach(), list(torch.autograd.grad(loss, params, materialize_grads=True))
        with torch.no_grad():
            v, losses = vmap(grad_and_value(self.loss), randomness="different")(params, *examples)
        return losses, v

    def loss(self, params: Tensors, x: Tensor, y: Tensor, normalise: Normalise = affine_outside) -> Tensor:
        """Return the loss of one task's examples at the given parameters."""
        values = self.held | dict(zip(self.names, params, strict=True))
        with (
            forward_precision(self.learner.execution.precision, x.device),
            BatchNormMode(normalise),
        ):
            return check_scalar(self.learner.loss_fn(functional_call(self.model, values, (x,)), y))


def hessian_times(g: Tensors, params: Tensors, direction: Tensors) -> Tensors:
    """Return H u for u = ``direction``, as the derivative of the gradient g in the parameters, weighted by u."""
    pairs = [(slope, u) for slope, u in zip(g, direction, strict=True) if slope.requires_grad]
    if not pairs:  # a loss that is linear in its parameters
        return [torch.zeros_like(p) for p in params]
    slopes, weights = zip(*pairs, strict=True)
    return list(torch.autograd.grad(slopes, params, weights, materialize_grads=True))


def leaves(tensors: Iterable[Tensor]) -> Tensors:
    """Return the tensors as the start of a new graph."""
    return [tensor.detach().requires_grad_() for tensor in tensors]


def detached(tensors: Iterable[Tensor]) -> Tensors:
    """Return the tensors without their graph."""
    return [tensor.detach() for tensor in tensors]


def accumulate(learner: MetaSGD, parts: Iterable[Sums], count: int) -> Tensor:
    """Add the mean over ``count`` tasks to ``.grad`` of theta and alpha, and return the mean loss."""
    total: list[Tensor] = []
    for part in parts:
        new = [part.loss, *part.theta, *part.alpha]
        total = [a + b for a, b in zip(total, new, strict=True)] if total else new
    loss, *sums = total
    adapt = [name for name, value in learner.theta.items() if value.requires_grad]
    variables = [learner.theta[name] for name in adapt]
    if learner.learns_alpha:
        variables += [learner.alpha[name] for name in adapt]
    for variable, value in zip(variables, sums, strict=True):
        mean = torch.empty_like(variable).copy_(value).div_(count)  # in the variable's own layout, for the optimiser
        variable.grad = mean if variable.grad is None else variable.grad + mean
    return loss / count


# ---------------------------------------------------------------------------------------------------------------
# Threads


def in_order(function: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
    """Yield ``function(item)`` for each item, in order, computed by one thread on each core."""
    workers = torch.get_num_threads()
    if workers == 1 or len(items) == 1:
        yield from map(function, items)
        return
    pool, pending = thread_pool(workers), deque()
    try:
        for item in items:
            if len(pending) == 2 * workers:  # no more results than these wait in memory
                yield pending.popleft().result()
            pending.append(pool.submit(function, item))
        while pending:
            yield pending.popleft().result()
    finally:
        for future in pending:
            future.cancel()


@functools.cache
def thread_pool(workers: int) -> ThreadPoolExecutor:
    """Return threads that compute on one core each."""
    return ThreadPoolExecutor(workers, "metasgd", initializer=torch.set_num_threads, initargs=(1,))


os.register_at_fork(after_in_child=thread_pool.cache_clear)  # a forked process has none of the threads


def structure_of(model: nn.Module) -> nn.Module:
    """Return a copy of a module that shares its parameters and buffers."""
    tensors = (*model.parameters(), *model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def channels_last(tensor: Tensor) -> Tensor:
    """Store images and filters so that the channels of a pixel lie side by side, as CPU kernels want them."""
    return tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


# ---------------------------------------------------------------------------------------------------------------
# Memory


def tasks_at_a_time(learner: MetaSGD, problem: Problem, batch: Task) -> int:
    """Return into chunks of how many tasks a batch is cut: the learner's ``chunk``, or as many as fit into memory."""
    execution, count, shapes = learner.execution, len(batch.support_x), shapes_of(batch)
    if execution.chunk is not None:
        return min(execution.chunk, count)
    if shapes not in execution.chunks:
        device = batch.support_x.device
        budget = GPU_SHARE * free_memory(device) if device.type == "cuda" else CPU_BUDGET
        limit = max(1, int(budget / (OVERHEAD * saved_bytes(problem, batch))))
        chunks = -(-count // limit)
        execution.chunks[shapes] = -(-count // chunks)  # chunks of nearly one size
    return execution.chunks[shapes]


def saved_bytes(problem: Problem, batch: Task) -> int:
    """Return the bytes that autograd saves for the meta-gradient of one task, found by computing it once."""
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        problem.adjoint(problem.theta, problem.alpha, type(batch)(*(values[0] for values in batch)), is_batch=False)
    return max(1, sum(sizes.values()))


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free on a GPU, those that PyTorch holds without using them included."""
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused


# ---------------------------------------------------------------------------------------------------------------
# Small things


def device_of(learner: MetaSGD) -> torch.device:
    """Return the device of the learner's parameters."""
    return next(learner.model.parameters()).device


def check_tasks(learner: MetaSGD, tasks: list[Task], *, is_batch: bool = False) -> None:
    """Refuse malformed tasks, and labels that the model has no output for, before anything is computed."""
    for task in tasks:
        check_task(type(task)(*(values[0] for values in task)) if is_batch else task)
        x = task.support_x[0] if is_batch else task.support_x
        if x.shape not in learner.execution.outputs:
            with torch.no_grad():
                prediction = learner.predict(x)
            learner.execution.outputs[x.shape] = prediction.shape[1] if prediction.ndim > 1 else 0
        for target in (task.support_y, task.query_y):
            check_labels(learner.loss_fn, learner.execution.outputs[x.shape], target)
