"""How the meta-gradient is computed: four strategies, one result (chapters 9 and 10).

``loop`` is the definition: one task after the other, differentiated through the inner steps by autograd. The others
use the identities of chapter 3. With support gradients g_s at the visited points theta_s, s = 0, ..., S - 1, and the
query gradient v at theta_S, they go back over the steps,

    alpha gets  -v * g_s        and then        v becomes  v - H_s (alpha * v),

until v is the gradient in theta. So the query set needs one ordinary backward pass, and the graph of a step can be
thrown away and built again when its turn comes (``recompute``). ``threads`` does this for one task on each CPU core,
``batched`` for many tasks at once by ``torch.func.vmap``, and ``streams`` for one task in each of several streams of a
GPU, recorded once and then replayed.

A strategy is a function ``(learner, tasks) -> mean query loss`` that adds the gradient of that loss to ``.grad`` of
theta and alpha, and another that predicts. To add one, write the two and enter them in ``STRATEGIES``.
"""

from __future__ import annotations

import copy
import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call, grad, grad_and_value, vmap

from metasgd._core.checks import check_labels, check_scalar, check_task
from metasgd._core.cpu_threads import one_core_if_small
from metasgd._core.learner import Learner
from metasgd._core.memory import give_freed_memory_back
from metasgd._core.task import Task, Tasks, as_batches, as_list, part_of, shapes_of
from metasgd.strategies.batch_norm import ONE_BY_ONE, ONE_BY_ONE_COMPILED, UNDER_VMAP, Replacing
from metasgd.strategies.compiler import Compiled
from metasgd.strategies.cuda_graphs import recorded, side_by_side
from metasgd.strategies.norm_then_pool import pooling_first
from metasgd.strategies.precision import check_precision, forward_precision, matmul_precision
from metasgd.strategies.tensor_lists import AT_ONCE, FOR_THE_COMPILER, Lists

CPU_BUDGET = 512 * 2**20  # bytes that a chunk's graphs may hold on a CPU
CORE_BUDGET = 48 * 2**20  # bytes of a task's graphs, beyond which tasks share the cores and do not get one each
GPU_SHARE = 0.7  # of the free memory that a chunk's graphs may hold on a GPU
GPU = "cuda"  # the devices that replay recordings
RECORDED, RECORDINGS = 32, 8  # tasks of one CUDA graph, and graphs that are kept
OVERHEAD = 3  # a batched graph holds up to this many times the bytes that autograd saves for the tasks one by one

Tensors = list[Tensor]
Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass
class Execution:
    """Settings of how a learner computes (see ``MetaSGD``), and what it has found out about it."""

    strategy: str
    compile: bool
    chunk: int | None
    precision: str
    recompute: bool
    chosen: str | None = None
    chunks: dict[Any, int] = field(default_factory=dict)  # tasks at a time, by ``chunk_key``
    outputs: dict[Any, int] = field(default_factory=dict)  # classes that the model tells apart, by form of a task
    compiled: Compiled = field(default_factory=Compiled)
    recordings: Compiled = field(default_factory=lambda: Compiled(recorded, RECORDINGS))

    def __post_init__(self) -> None:
        if self.strategy not in ("auto", *STRATEGIES):
            raise ValueError(f"strategy {self.strategy!r} does not exist; choose auto, {', '.join(STRATEGIES)}")
        if self.chunk is not None and self.chunk < 1:
            raise ValueError(f"chunk is {self.chunk}; at least 1 task is worked on at a time")
        if self.compile and self.strategy == "loop":
            raise ValueError("strategy 'loop' is the readable reference and is not compiled; use threads or batched")
        check_precision(self.precision)


def meta_backward(learner: Learner, tasks: Tasks) -> Tensor:
    """Add the gradient of the mean query loss to ``.grad``, by the learner's strategy, and return that loss."""
    return by_strategy(learner, lambda strategy: strategy.backward(learner, tasks))


def predict_tasks(learner: Learner, tasks: Task) -> Tensor:
    """Adapt to every task of a batch and predict its query set, by the learner's strategy: (B, queries, ...)."""
    with torch.no_grad():
        return by_strategy(learner, lambda strategy: torch.cat(list(strategy.predict(learner, tasks))))


def by_strategy(learner: Learner, work: Callable[[Strategy], Tensor]) -> Tensor:
    """Do the work by the learner's strategy; where ``auto`` chose one that the model does not allow, by the next."""
    name, execution = strategy_of(learner), learner.execution
    try:
        with matmul_precision(execution.precision, device_of(learner)):
            return work(STRATEGIES[name])
    except torch.cuda.OutOfMemoryError:
        raise
    except RuntimeError as error:  # e.g. vmap and a value that decides how to go on, or a recurrent network
        if execution.strategy != "auto" or name == "loop":
            raise
        reason = str(error).splitlines()[0]
        on_cpu = device_of(learner).type == "cpu"
        execution.chosen = "batched" if name == "streams" else "threads" if name == "batched" and on_cpu else "loop"
    try:
        result = by_strategy(learner, work)
    except Exception:  # the loop cannot do it either: it is no matter of strategies
        execution.chosen = name
        raise
    announce(f"MetaSGD: strategy '{execution.chosen}', as '{name}' cannot compute this: {reason}")
    return result


def strategy_of(learner: Learner) -> str:
    """Return the learner's strategy; ``auto`` is decided at its first use, and the choice printed once."""
    execution = learner.execution
    if execution.strategy != "auto":
        return execution.strategy
    if execution.chosen is None:
        execution.chosen, why = choose(learner)
        announce(f"MetaSGD: strategy '{execution.chosen}', as {why}")
    return execution.chosen


def choose(learner: Learner) -> tuple[str, str]:
    """Return the strategy that was fastest for such a model on such a device in chapter 10, and the reason."""
    device = device_of(learner)
    if any(isinstance(module, nn.modules.dropout._DropoutNd) for module in learner.model.modules()):
        return "loop", "dropout draws its random numbers task by task"
    has_convolutions = any(isinstance(module, nn.modules.conv._ConvNd) for module in learner.model.modules())
    if device.type == "cuda" and has_convolutions and learner.execution.compile:  # who compiles, may record as well
        return "streams", f"on {device}, convolutions want one task in each of several streams"
    if device.type != "cpu":
        return "batched", f"the model is on {device}, which is fast only with many tasks at once"
    if has_convolutions:
        return "threads", "a CPU is slow at convolutions in a batch of tasks"
    return "batched", "a batch of tasks is a few large matrix products"


@functools.cache
def announce(message: str) -> None:
    """Print a message, once."""
    print(message)


# ---------------------------------------------------------------------------------------------------------------
# The strategies


def loop(learner: Learner, tasks: Tasks) -> Tensor:
    """Differentiate through the inner steps, one task after the other: the definition, and the readable one."""
    tasks = as_list(tasks)
    total = torch.zeros(())
    for task in tasks:  # one backward pass a task: the graph of a single task is alive at a time
        with forward_precision(learner.execution.precision, task.support_x.device):
            loss = learner.task_loss(task) / len(tasks)
        loss.backward()
        total = total.to(loss) + loss.detach()
    return total


def predict_in_loop(learner: Learner, tasks: Task) -> Iterator[Tensor]:
    """Predict the query set of one task after the other."""
    for task in as_list(tasks):
        with forward_precision(learner.execution.precision, task.support_x.device):
            yield learner(task.support_x, task.support_y, task.query_x)[None]


def threads(learner: Learner, tasks: Tasks) -> Tensor:
    """Work on one task in each thread, each thread on one core: the fastest way for convolutions on a CPU.

    Images and filters are stored channels last, batch normalisation has a second derivative of its own, and where
    one derivative is enough it comes after the max-pooling that follows it in an ``nn.Sequential``. Large tasks are
    worked on one after the other, by all cores, which is a little slower and needs half the memory. Tasks are summed
    in their order.
    """
    tasks = as_list(tasks)
    problem = Problem.of(learner, is_batch=False, count=len(tasks))
    return accumulate(problem, each_task(problem, tasks, Problem.sums))


def predict_in_threads(learner: Learner, tasks: Task) -> Iterator[Tensor]:
    """Predict the query sets, one task in each thread."""
    for prediction in each_task(Problem.of(learner, is_batch=False), as_list(tasks), Problem.predictions):
        yield prediction[None]


def batched(learner: Learner, tasks: Tasks) -> Tensor:
    """Compute many tasks at once by vmap: the fastest way on a GPU, and for small dense networks everywhere.

    Tasks of different sizes are sorted into batches of one size, and batches are cut into chunks that fit into memory.
    """
    batches = as_batches(tasks)
    problem = Problem.of(learner, is_batch=True, count=sum(len(batch.support_x) for batch in batches))
    with one_core_if_small(problem.theta[0].device, entries(problem.theta) * problem.count):
        return accumulate(problem, each_chunk(problem, batches, Problem.sums))


def predict_in_batches(learner: Learner, tasks: Task) -> Iterator[Tensor]:
    """Predict the query sets, many tasks at once."""
    return each_chunk(Problem.of(learner, is_batch=True), as_batches(tasks), Problem.predictions)


def streams(learner: Learner, tasks: Tasks) -> Tensor:
    """Work on one task in each of some streams of a GPU, all recorded as one CUDA graph.

    Each task is computed as by ``threads``, and keeps its own, plain convolutions, while the streams fill the GPU.
    """
    batches = as_batches(tasks)
    problem = Problem.of(learner, is_batch=False, count=sum(len(batch.support_x) for batch in batches))
    check_tasks(learner, batches, is_batch=True)
    if (device := problem.theta[0].device).type != GPU:
        raise ValueError(f"strategy 'streams' needs an NVIDIA GPU, and the model is on {device}; use 'auto'")
    if learner.execution.compile:
        problem = problem.with_own_models()
    size = learner.execution.chunk or RECORDED
    chunks = (part_of(batch, i, i + size) for batch in batches for i in range(0, len(batch.support_x), size))
    return accumulate(problem, map(problem.recorded_sums, chunks))


class Strategy(NamedTuple):
    """How to meta-train, and how to predict: predictions come one after the other, each with a leading dimension."""

    backward: Callable[[Learner, Tasks], Tensor]
    predict: Callable[[Learner, Task], Iterator[Tensor]]


STRATEGIES = {
    "loop": Strategy(loop, predict_in_loop),
    "threads": Strategy(threads, predict_in_threads),
    "batched": Strategy(batched, predict_in_batches),
    "streams": Strategy(streams, predict_in_batches),
}


def strategies_on(device: torch.device) -> list[str]:
    """Return the strategies that a device allows."""
    return [name for name in STRATEGIES if name != "streams" or device.type == GPU]


# ---------------------------------------------------------------------------------------------------------------
# The meta-gradient by the identities


class Sums(NamedTuple):
    """What tasks add to the mean loss, to its gradient in theta, and to that in alpha (nothing if alpha is held)."""

    loss: Tensor
    theta: Tensors
    alpha: Tensors


class Problem(NamedTuple):
    """What all tasks of a meta-step share: the learner's settings, and its tensors as they are now, detached.

    Its methods take one task, or, if ``is_batch``, a batch of them, whose tensors have a leading dimension more.
    """

    learner: Learner
    model: nn.Module
    query_model: nn.Module  # the same function, for query sets, which are differentiated only once
    is_batch: bool
    count: int  # type: ignore[assignment]  # of all tasks of the meta-step, over which the mean is taken
    variables: Tensors  # theta and alpha themselves, whose .grad is wanted
    names: tuple[str, ...]  # of the parameters that adapt
    theta: Tensors
    alpha: Tensors
    held: dict[str, Tensor]  # frozen parameters and buffers
    traced: bool = False  # for the compiler

    @classmethod
    def of(cls, learner: Learner, *, is_batch: bool, count: int = 1) -> Problem:
        """Take the learner as it is now."""
        theta, alpha = learner.theta, learner.alpha
        names = tuple(name for name, value in theta.items() if value.requires_grad)
        held = {name: value.detach() for name, value in theta.items() if not value.requires_grad}
        store = Tensor.detach if is_batch else channels_last
        learned = (theta, alpha) if learner.learns_alpha else (theta,)
        return cls(
            learner,
            learner.model,
            learner.model,
            is_batch,
            count,
            [values[name] for values in learned for name in names],
            names,
            [store(theta[name].detach()) for name in names],
            [store(alpha[name].detach()) for name in names],
            held | dict(learner.model.named_buffers()),
        )

    def with_own_models(self) -> Problem:
        """Return the problem with models that no other thread uses, and that pool first for queries."""
        model, compiled = self.learner.model, self.learner.execution.compile
        query_model = pooling_first(structure_of(model), compiled=compiled)
        return self._replace(model=structure_of(model), query_model=query_model)

    def sums(self, tasks: Task) -> Sums:
        """Return what the task or tasks add to the mean, compiled if the learner says so."""
        if not self.learner.execution.compile:
            return self.adjoint(tasks)
        inputs, work = self.tensors(tasks), self._replace(traced=True).of_tensors(Problem.adjoint)
        compiled = self.learner.execution.compiled.find(self.key, work, inputs)
        return self.adjoint(tasks) if compiled is None else self.as_sums(compiled(*inputs))

    def recorded_sums(self, tasks: Task) -> Sums:
        """Return what tasks of one size add to the mean, each computed in a stream of a GPU, by a CUDA graph."""

        def work(problem: Problem, tasks: Task) -> Sums:
            parts = side_by_side(problem.sums, [pictures_channels_last(task) for task in as_list(tasks)])
            return problem.as_sums(total_of(parts))

        inputs = self.tensors(tasks)
        key = (self.key, self.learner.execution.compile)
        function = self.learner.execution.recordings.find(key, self.of_tensors(work), inputs)
        assert function is not None  # a recording fails with its error
        return self.as_sums(function(*inputs))

    def tensors(self, tasks: Task) -> Tensors:
        """Return all tensors that a meta-gradient depends on."""
        return [*self.theta, *self.alpha, *self.held.values(), *tasks]

    def of_tensors(self, work: Callable[[Problem, Task], Sums]) -> Callable[..., tuple[Tensor, ...]]:
        """Return ``work(problem, tasks)`` as a function of ``tensors(tasks)``, for a compiler or a recorder."""
        adapt, held = len(self.names), list(self.held)

        def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
            theta, alpha, rest = list(tensors[:adapt]), list(tensors[adapt : 2 * adapt]), tensors[2 * adapt :]
            values = dict(zip(held, rest, strict=False))
            result = work(self._replace(theta=theta, alpha=alpha, held=values), Task(*rest[len(held) :]))
            return result.loss, *result.theta, *result.alpha

        return flat

    def as_sums(self, results: Sequence[Tensor]) -> Sums:
        """Return what a function of tensors has returned."""
        loss, *gradients = results
        return Sums(loss, gradients[: len(self.names)], gradients[len(self.names) :])

    @property
    def key(self) -> tuple:
        """Return what a function of ``tensors(tasks)`` depends on beside these."""
        learner = self.learner
        return (
            self.is_batch,
            self.count,
            self.names,
            *self.held,
            learner.inner_steps,
            learner.first_order,
            learner.learns_alpha,
            learner.execution.precision,
            learner.execution.recompute,
            *(module.training for module in self.model.modules()),
        )

    def adjoint(self, tasks: Task) -> Sums:
        """Go forward over the inner steps and back again, as the head of this module says."""
        learner, recompute, lists = self.learner, self.learner.execution.recompute, self.lists
        support, query = tasks[:2], tasks[2:]
        second_order = not learner.first_order
        visited, params = [], leaves(self.theta)
        for _ in range(learner.inner_steps):
            g = self.gradients(params, support, differentiable=second_order and not recompute)
            visited.append((params, detached(g) if recompute else g))
            params = leaves(self.step(params, g))
        loss, v = self.loss_and_gradients(params, query)

        rate_gradients: Tensors = []
        for params, g in reversed(visited):
            if learner.learns_alpha:
                with torch.no_grad():
                    products = lists.mul(v, g)
                products = [product.sum(0) for product in products] if self.is_batch else products
                rate_gradients = lists.add(rate_gradients, products) if rate_gradients else products
            direction = lists.mul(self.alpha, v)
            if self.is_batch and params is visited[0][0]:  # all tasks start from one theta: from here on, their sum
                v = [w.sum(0) for w in v]
            if second_order:
                if recompute:
                    g = self.gradients(params, support, differentiable=True)
                v = lists.sub(v, hessian_times(g, params, direction))
        negative = lists.div(rate_gradients, -self.count) if learner.learns_alpha else []
        return Sums(loss / self.count, lists.div(v, self.count), negative)

    def predictions(self, tasks: Task) -> Tensor:
        """Adapt to the support set or sets, and predict the query set or sets, without gradients."""
        params = self.theta
        for _ in range(self.learner.inner_steps):
            params = self.step(params, self.gradients(leaves(params), tasks[:2], differentiable=False))
        with torch.no_grad():
            query = self._replace(model=self.query_model)
            output = vmap(query.output, randomness="different") if self.is_batch else query.output
            return output(params, tasks.query_x)

    def step(self, params: Tensors, g: Tensors) -> Tensors:
        """Return ``params - alpha * g``, without a graph."""
        with torch.no_grad():
            return self.lists.sub(params, self.lists.mul(self.alpha, g))

    @property
    def lists(self) -> Lists:
        """How to compute with lists of tensors."""
        return FOR_THE_COMPILER if self.traced else AT_ONCE

    def gradients(self, params: Tensors, examples: Sequence[Tensor], *, differentiable: bool) -> Tensors:
        """Return the gradient of the loss; for a batch, one for each task, also where all share their parameters."""
        if self.is_batch:
            shared = params[0].ndim == self.theta[0].ndim
            with torch.set_grad_enabled(differentiable):
                return vmap(grad(self.loss), (None if shared else 0, 0, 0), randomness="different")(params, *examples)
        with torch.enable_grad():
            loss = self.loss(params, *examples)
            return list(torch.autograd.grad(loss, params, create_graph=differentiable, materialize_grads=True))

    def loss_and_gradients(self, params: Tensors, examples: Sequence[Tensor]) -> tuple[Tensor, Tensors]:
        """Return the loss, summed over tasks, and its gradient; for a batch, one for each task."""
        if self.is_batch:
            with torch.no_grad():
                v, losses = vmap(grad_and_value(self.loss), randomness="different")(params, *examples)
            return losses.sum(), v
        with torch.enable_grad():
            loss = self._replace(model=self.query_model).loss(params, *examples)
        return loss.detach(), list(torch.autograd.grad(loss, params, materialize_grads=True))

    def loss(self, params: Tensors, x: Tensor, y: Tensor) -> Tensor:
        """Return the loss of one task's examples at the given parameters."""
        with forward_precision(self.learner.execution.precision, x.device):
            return check_scalar(self.learner.loss_fn(self.output(params, x), y))

    def output(self, params: Tensors, x: Tensor) -> Tensor:
        """Return the model's output for one task's examples at the given parameters."""
        values = self.held | dict(zip(self.names, params, strict=True))
        one_by_one = ONE_BY_ONE_COMPILED if self.traced else ONE_BY_ONE
        exact = Replacing(UNDER_VMAP if self.is_batch else one_by_one)
        with forward_precision(self.learner.execution.precision, x.device), exact:
            return functional_call(self.model, values, (x,))


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


def total_of(parts: Iterable[Sums]) -> Tensors:
    """Add the parts up in their order, and return the loss, its gradient in theta and that in alpha as one list."""
    total: Tensors = []
    for part in parts:
        new = [part.loss, *part.theta, *part.alpha]
        total = AT_ONCE.add(total, new) if total else new
    return total


def accumulate(problem: Problem, parts: Iterable[Sums]) -> Tensor:
    """Add the gradient of the mean to ``.grad`` of theta and alpha, and return the mean loss."""
    loss, *gradients = total_of(parts)
    for variable, gradient in zip(problem.variables, gradients, strict=True):
        if gradient.stride() != variable.stride():  # the optimiser wants one layout
            gradient = torch.empty_like(variable).copy_(gradient)
        variable.grad = gradient if variable.grad is None else variable.grad + gradient
    return loss


# ---------------------------------------------------------------------------------------------------------------
# One task in each thread


def each_task(problem: Problem, tasks: list[Task], work: Callable[[Problem, Task], Result]) -> Iterator[Result]:
    """Yield ``work(problem, task)`` for each task, in order, computed by one thread on each core."""
    check_tasks(problem.learner, tasks)
    problem = problem.with_own_models()
    workers = min(tasks_side_by_side(problem, tasks[0]), len(tasks))
    problems: SimpleQueue[Problem] = SimpleQueue()
    for own in (problem, *(problem.with_own_models() for _ in range(workers - 1))):
        problems.put(own)

    def work_on(task: Task) -> Result:
        own = problems.get()  # functional_call exchanges a module's parameters: one thread, one module
        try:
            return work(own, pictures_channels_last(task))
        finally:
            problems.put(own)

    return in_order(work_on, tasks, workers)


def in_order(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> Iterator[Result]:
    """Yield ``function(item)`` for each item, in order, by that many threads of one core; 1: by this one, on all."""
    if workers == 1:
        yield from map(function, items)
        return
    pool = thread_pool(workers)
    pending: deque[Future[Result]] = deque()
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
    """Return threads that compute on one core each, all of them started."""
    before, started = torch.get_num_threads(), threading.Barrier(workers)
    pool = ThreadPoolExecutor(workers, "metasgd", initializer=use_one_core)
    list(pool.map(lambda _: started.wait(), range(workers)))
    torch.set_num_threads(before)  # what is set last, in any thread, is the number for threads that start later
    return pool


def use_one_core() -> None:
    """Let this thread compute on one core."""
    torch.set_num_threads(1)
    torch.get_num_threads()  # else the first computation would take the number that was set last in any thread


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=thread_pool.cache_clear)  # a forked process has none of the threads


def structure_of(model: nn.Module) -> nn.Module:
    """Return a copy of a module that shares its parameters and buffers."""
    tensors = (*model.parameters(), *model.buffers())
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def channels_last(tensor: Tensor) -> Tensor:
    """Store images and filters so that the channels of a pixel lie side by side, as CPU kernels want them."""
    return tensor.to(memory_format=torch.channels_last) if tensor.ndim == 4 else tensor


def pictures_channels_last(task: Task) -> Task:
    """Store the pictures of a task so."""
    return task._replace(support_x=channels_last(task.support_x), query_x=channels_last(task.query_x))


# ---------------------------------------------------------------------------------------------------------------
# Many tasks at once, as many as fit into memory


def each_chunk(problem: Problem, batches: list[Task], work: Callable[[Problem, Task], Result]) -> Iterator[Result]:
    """Yield ``work(problem, chunk)`` for the chunks of the batches, smaller ones if a GPU runs out of memory."""
    check_tasks(problem.learner, batches, is_batch=True)
    for batch in batches:
        count, start = len(batch.support_x), 0
        while start < count:
            size = tasks_at_a_time(problem, batch)
            try:
                result = work(problem, batch if size >= count else part_of(batch, start, start + size))
            except torch.cuda.OutOfMemoryError:
                if size == 1:
                    raise
                problem.learner.execution.chunks[chunk_key(problem, batch)] = size // 2
            else:
                yield result
                start += size


def tasks_side_by_side(problem: Problem, task: Task) -> int:
    """Return how many tasks get a core each: ``chunk``, else as many as there are cores, or 1 if tasks are large."""
    execution, cores = problem.learner.execution, torch.get_num_threads()
    if execution.chunk is not None or cores == 1:
        return min(execution.chunk or 1, cores)
    key = (cores, *chunk_key(problem, task))
    if key not in execution.chunks:
        execution.chunks[key] = cores if saved_bytes(problem, task) <= CORE_BUDGET else 1
        give_freed_memory_back()  # other threads have memory of their own
    return execution.chunks[key]


def tasks_at_a_time(problem: Problem, batch: Task) -> int:
    """Return into chunks of how many tasks a batch is cut: at most ``chunk``, or as many as fit into memory."""
    execution, count, key = problem.learner.execution, len(batch.support_x), chunk_key(problem, batch)
    if key not in execution.chunks:
        limit = execution.chunk
        if limit is None:
            device = batch.support_x.device
            budget = GPU_SHARE * free_memory(device) if device.type == "cuda" else CPU_BUDGET
            first = type(batch)(*(values[0] for values in batch))
            limit = max(1, int(budget / (OVERHEAD * saved_bytes(problem, first))))
        chunks = -(-count // limit)
        execution.chunks[key] = -(-count // chunks)  # chunks of nearly one size
    return execution.chunks[key]


def chunk_key(problem: Problem, batch: Task) -> tuple:
    """Return what the size of a chunk depends on."""
    learner, execution = problem.learner, problem.learner.execution
    device = batch.support_x.device
    return shapes_of(batch), device, learner.inner_steps, learner.first_order, execution.chunk, execution.recompute


def saved_bytes(problem: Problem, task: Task) -> int:
    """Return the bytes that autograd saves for the meta-gradient of one task, found by computing it once."""
    sizes: dict[int, int] = {}
    task = type(task)(*(channels_last(values).clone() for values in task))  # a view would count as the whole batch

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        problem._replace(is_batch=False).adjoint(task)
    return max(1, sum(sizes.values()))


def entries(tensors: Tensors) -> int:
    """Return how many numbers there are in all."""
    return sum(tensor.numel() for tensor in tensors)


def free_memory(device: torch.device) -> int:
    """Return the bytes that are free on a GPU, those that PyTorch holds without using them included."""
    unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return torch.cuda.mem_get_info(device)[0] + unused


# ---------------------------------------------------------------------------------------------------------------
# Small things


def device_of(learner: Learner) -> torch.device:
    """Return the device of the learner's parameters."""
    return next(learner.model.parameters()).device


def check_tasks(learner: Learner, tasks: list[Task], *, is_batch: bool = False) -> None:
    """Refuse malformed tasks, and labels that the model has no output for, before anything is computed."""
    outputs = learner.execution.outputs
    for task in tasks:
        key = (is_batch, *((values.shape, values.dtype, values.device) for values in task))
        if key not in outputs:
            first = type(task)(*(values[0] for values in task)) if is_batch else task
            check_task(first)
            outputs[key] = outputs_of(learner, first.support_x)
        for target in (task.support_y, task.query_y):
            check_labels(learner.loss_fn, outputs[key], target)


def outputs_of(learner: Learner, x: Tensor) -> int:
    """Return how many outputs the model has for each example, 0 for a number alone, found by asking a copy of it.

    Raises:
        RuntimeError: the model changes its buffers as it computes, so that its tasks must come one after the other.
        ValueError: the model draws random numbers, and the learner means to compute the same thing twice.
    """
    model, gpus = copy.deepcopy(learner.model), [x.device] if x.device.type == "cuda" else []
    versions = [buffer._version for buffer in model.buffers()]
    with torch.no_grad(), torch.random.fork_rng(gpus):
        before = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, gpus)]
        prediction = model(x)
        after = [torch.get_rng_state(), *map(torch.cuda.get_rng_state, gpus)]
    for (name, buffer), version in zip(model.named_buffers(), versions, strict=False):
        if buffer._version != version:
            raise RuntimeError(f"the model changes its buffer '{name}' with every call; use strategy='loop'")
    if learner.execution.recompute and not all(map(torch.equal, before, after)):
        raise ValueError("the model draws random numbers, which differ the second time; use recompute=False")
    return prediction.shape[1] if prediction.ndim > 1 else 0
