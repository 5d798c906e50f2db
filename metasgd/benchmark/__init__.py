"""How fast a meta-step is, and how much memory it takes, beside other libraries in the same run (chapters 9 and 10).

**What is measured.** A whole meta-step: adaptation to every task, the exact meta-gradient, the outer step of Adam.
There are two workloads. ``convnet``: 5-way tasks of MNIST with 15 queries a class and the four-block convnet, in
tasks per second. ``sine``: ten support and ten query points of a sine wave and a 1-40-40-1 network, in meta-steps per
second.

**Who takes part.** Every strategy of ``MetaSGD``, compiled too if asked for, and every peer that is installed (see
``metasgd.benchmark.peers``); what could not be measured is listed with the reason. All start from the same theta and
alpha and see the same tasks. Peers get the convnet as their users write it, ReLU before pooling; ours pools
first, which gives the same numbers.

**How.** First, every contender's meta-gradient in theta and in alpha is compared, in float64 on small tasks, with that
of the plain loop; one of ours that differs ends the benchmark, a peer that differs is marked ``wrong``. Then, in one
process, every contender is warmed up, and the rounds begin: in each, every contender runs once, for some tenths of a
second at least, in an order drawn anew. So whatever disturbs the machine disturbs all. Medians over the rounds are
given, with the smallest and the largest. A large matrix product takes part as well, as the ceiling of this machine in
this run, and so does the drawing of a meta-batch with augmentation, as meta-training does it. On the command line
all of them profit from a process that keeps the memory it frees. A contender's peak memory is found in a process of
its own. Main memory holds a compiler's code, too; how much that is, a compiled step of nearly nothing tells.
"""

import gc
import importlib.metadata
import importlib.util
import itertools
import math
import os
import random
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from metasgd._core.initial_rates import initial_rates
from metasgd._core.memory import peak_memory
from metasgd._core.provenance import circumstances
from metasgd._core.task import Task
from metasgd.benchmark.peers import PEERS, REFERENCE, Contender, Problem, ours
from metasgd.data import load_mnist
from metasgd.models import convnet, mlp
from metasgd.recipes.mnist import MnistRecipe
from metasgd.tasks import EpisodeSampler

WAYS = 5
SINE_POINTS, SINE_WIDTH = 10, 40
START_RATES = (0.005, 0.1)  # alpha is drawn from this range, as in the paper
TOLERANCE = 1e-10  # relative, in float64: far above rounding, far below any wrong formula
CHECK_TASKS = 2
BATCHES = 2  # different meta-batches that a contender takes in turn
WARM_UP = 2  # meta-steps before time is taken
MATMUL_SIZE = {"cpu": 2048, "cuda": 8192}
COMPILED, UNCOMPILED = ", compiled", "the meta-gradient runs uncompiled"  # in names; how the warning begins
# A step of this, compiled, holds little but the compiler.
NEARLY_NOTHING = {"meta_batch": 1, "shots": 1, "queries": 1, "width": 2}
PACKAGES = tuple(dict.fromkeys(peer.package for peer in PEERS.values() if peer.package))


@dataclass(frozen=True)
class Workload:
    """One cell of the benchmark: ``kind`` is ``"convnet"`` or ``"sine"``; shots and queries are for each class."""

    kind: str
    meta_batch: int
    shots: int = SINE_POINTS
    queries: int = SINE_POINTS
    width: int = SINE_WIDTH

    def __post_init__(self) -> None:
        for name in ("meta_batch", "shots", "queries", "width"):
            at_least_one(name, getattr(self, name))

    @property
    def unit(self) -> str:
        """What is counted in a second."""
        return "tasks" if self.kind == "convnet" else "meta-steps"

    @property
    def order(self) -> tuple[str, int, int, int]:
        """What results are sorted by, whichever run they were added by."""
        return self.kind, self.width, self.shots, self.meta_batch

    def __str__(self) -> str:
        if self.kind == "sine":
            return f"sine waves, 1-{self.width}-{self.width}-1, meta-batch {self.meta_batch}"
        return f"convnet, {self.width} filters, {WAYS}-way {self.shots}-shot, meta-batch {self.meta_batch}"


@dataclass(frozen=True)
class Settings:
    """What all workloads of a run share."""

    device: torch.device
    rounds: int = 5
    seconds: float = 0.3  # that a contender runs in a round, at least
    memory: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        at_least_one("rounds", self.rounds)


def at_least_one(name: str, value: int) -> None:
    """Refuse a number that is not positive."""
    if value < 1:
        raise ValueError(f"{name} is {value}; it must be at least 1")


# ---------------------------------------------------------------------------------------------------------------
# What the contenders are given


def make_problem(workload: Workload, settings: Settings, dtype: torch.dtype, *, relu_first: bool) -> Problem:
    """Return theta and alpha at their random start, the same for every contender, dtype and device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        is_sine = workload.kind == "sine"
        network = mlp(1, (workload.width,) * 2, 1) if is_sine else convnet(WAYS, width=workload.width)
    rates = initial_rates(dict(network.named_parameters()), START_RATES, settings.seed)
    network = (with_relu_first(network) if relu_first else network).to(settings.device, dtype)
    rates = {name: rate.to(settings.device, dtype) for name, rate in rates.items()}
    return Problem(network, rates, F.mse_loss if is_sine else F.cross_entropy)


def with_relu_first(network: nn.Sequential) -> nn.Sequential:
    """Exchange every max-pooling and the ReLU after it: the same function, in the order in which most write it."""
    layers = list(network)
    for index, layer in enumerate(layers):
        if isinstance(layer, nn.MaxPool2d) and isinstance(layers[index + 1], nn.ReLU):
            layers[index], layers[index + 1] = layers[index + 1], layer
    return nn.Sequential(*layers)


def make_tasks(workload: Workload, settings: Settings, dtype: torch.dtype) -> list[Task]:
    """Return the meta-batches that every contender sees, decided by the seed."""
    generator = torch.Generator().manual_seed(settings.seed)  # on the CPU: the same tasks on every device
    if workload.kind == "sine":
        batches = [sine_tasks(workload, generator) for _ in range(BATCHES)]
    else:
        sampler = EpisodeSampler(load_mnist(quiet=True), WAYS, workload.shots, workload.queries)
        batches = [sampler.sample(workload.meta_batch, generator) for _ in range(BATCHES)]
    return [
        Task(*(x.to(settings.device, dtype if x.is_floating_point() else x.dtype) for x in batch)) for batch in batches
    ]


def sine_tasks(workload: Workload, generator: torch.Generator) -> Task:
    """Draw sine waves with amplitudes in 0.1..5, frequencies in 0.8..1.2 and phases in 0..pi, on -5..5 (chapter 6)."""

    def uniform(low: float, high: float, points: int) -> Tensor:
        return low + (high - low) * torch.rand((workload.meta_batch, points, 1), generator=generator)

    amplitude, frequency, phase = uniform(0.1, 5, 1), uniform(0.8, 1.2, 1), uniform(0, math.pi, 1)
    support_x, query_x = uniform(-5, 5, workload.shots), uniform(-5, 5, workload.queries)
    return Task(
        support_x,
        amplitude * (frequency * support_x + phase).sin(),
        query_x,
        amplitude * (frequency * query_x + phase).sin(),
    )


def build(name: str, workload: Workload, settings: Settings, dtype: torch.dtype = torch.float32) -> Contender:
    """Return a contender by its name, at the common start."""
    problem = make_problem(workload, settings, dtype, relu_first=name in PEERS)
    if name in PEERS:
        return PEERS[name].build(problem)
    return ours(problem, name.removesuffix(COMPILED), compile=name.endswith(COMPILED))


def line_up(
    strategies: Sequence[str], packages: Sequence[str], *, compiled: Sequence[str] = ()
) -> tuple[list[str], dict[str, str]]:
    """Return the names of the contenders, and the peers that are not installed with that reason."""
    names = [*strategies, *(name + COMPILED for name in compiled)]
    missing = {}
    for name, peer in PEERS.items():
        if peer.package is None or (peer.package in packages and importlib.util.find_spec(peer.package)):
            names.append(name)
        elif peer.package in packages:
            missing[name] = f"{peer.package} is not installed"
    return names, missing


def must_work(name: str) -> bool:
    """Tell whether a contender that fails ends the benchmark: ours, save that a machine may lack a compiler."""
    return name not in PEERS and not name.endswith(COMPILED)


# ---------------------------------------------------------------------------------------------------------------
# Are they right?


def check(names: Sequence[str], workload: Workload, settings: Settings) -> dict[str, dict[str, Any]]:
    """Compare each contender's meta-gradient with that of the plain loop, in float64 on two small tasks.

    Returns:
        for each name ``{"theta": .., "alpha": .., "wrong": ..}`` with differences relative to the norm of the whole
        gradient, or ``{"error": ..}`` for a peer that fails.

    Raises:
        ValueError: a strategy of ours is wrong.
    """
    small = replace(workload, meta_batch=CHECK_TASKS)
    if workload.kind == "convnet":
        small = replace(small, shots=1, queries=2, width=4)
    batch = make_tasks(small, settings, torch.float64)[0]
    expected = [
        torch.cat([g.flatten() for g in part])
        for part in build("loop", small, settings, torch.float64).gradients(batch)
    ]
    report: dict[str, dict[str, Any]] = {}
    for name in names:
        say(f"  checking {name}")
        try:
            contender = build(name, small, settings, torch.float64)
            found = contender.gradients(contender.prepare(batch))
        except Exception as error:  # whatever another library can raise
            if must_work(name):
                raise
            report[name] = {"error": describe(error)}
            continue
        off = [
            float((torch.cat([g.detach().to(right).flatten() for g in part]) - right).norm() / right.norm())
            for part, right in zip(found, expected, strict=True)
        ]
        wrong = not all(value <= TOLERANCE for value in off)  # so that NaN is wrong
        if wrong and name not in PEERS:
            raise ValueError(
                f"strategy {name!r} gives a wrong meta-gradient on {small}: {off[0]:.1e} off in theta and "
                f"{off[1]:.1e} in alpha, relative to the plain loop; nothing was measured"
            )
        report[name] = {"theta": off[0], "alpha": off[1], "wrong": wrong}
    return report


# ---------------------------------------------------------------------------------------------------------------
# How fast are they?


def interleave(actions: dict[str, Callable[[], Any]], settings: Settings) -> dict[str, list[float]]:
    """Return the seconds that a call of each action takes, one number for each round."""

    def seconds(action: Callable[[], Any], calls: int) -> float:
        gc.collect()
        synchronize(settings.device)
        started = time.perf_counter()
        for _ in range(calls):
            action()
        synchronize(settings.device)
        return (time.perf_counter() - started) / calls

    calls = {}
    for name, action in actions.items():
        seconds(action, WARM_UP)
        calls[name] = max(1, math.ceil(settings.seconds / seconds(action, 1)))
    order, shuffle = list(actions), random.Random(settings.seed).shuffle
    times: dict[str, list[float]] = {name: [] for name in actions}
    for index in range(settings.rounds):
        say(f"  round {index + 1} of {settings.rounds}")
        shuffle(order)
        for name in order:
            times[name].append(seconds(actions[name], calls[name]))
    return times


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done what it was told to do."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def flops_of_task(workload: Workload, settings: Settings) -> int:
    """Count the floating-point operations of one task's meta-gradient by the plain loop."""
    contender = build("loop", workload, settings)
    task = Task(*(x[:1] for x in make_tasks(workload, settings, torch.float32)[0]))
    with FlopCounterMode(display=False) as counter:
        contender.gradients(task)
    return counter.get_total_flops()


def matmul(settings: Settings) -> tuple[Callable[[], Any], int]:
    """Return a large float32 matrix product, and its floating-point operations."""
    size = MATMUL_SIZE.get(settings.device.type, MATMUL_SIZE["cpu"])
    generator = torch.Generator(settings.device).manual_seed(settings.seed)
    factors = torch.rand((2, size, size), generator=generator, device=settings.device)
    out = torch.empty_like(factors[0])
    return lambda: torch.mm(*factors, out=out), 2 * size**3


def sampling(workload: Workload, settings: Settings) -> Callable[[], Task]:
    """Return the drawing of a meta-batch as meta-training does it: new classes, augmented pictures, on the device."""
    recipe = MnistRecipe(shots=workload.shots, train_queries=workload.queries, seed=settings.seed)
    sampler = recipe.training_tasks(load_mnist(quiet=True), settings.device)
    return lambda: sampler.sample(workload.meta_batch)


def measure(workload: Workload, names: Sequence[str], settings: Settings) -> dict[str, Any]:
    """Return times, memory and what follows from them, for the contenders on one workload."""
    actions: dict[str, Callable[[], Any]] = {}
    failed = {}
    for name in names:
        say(f"  starting {name}")
        try:
            step = make_step(name, workload, settings)
            step()
        except Exception as error:  # e.g. out of memory
            if must_work(name):
                raise
            failed[name] = describe(error)
        else:
            actions[name] = step
    product, product_flops = matmul(settings)
    others = {"matmul": product}
    if workload.kind == "convnet":
        others["sampling"] = sampling(workload, settings)
    times = interleave(actions | others, settings)

    flops = flops_of_task(workload, settings)
    ceiling = product_flops / statistics.median(times["matmul"])
    per_step = workload.meta_batch if workload.unit == "tasks" else 1
    contenders = {}
    for name in [name for name in names if name in times]:
        seconds_per_step = statistics.median(times[name])
        contenders[name] = {
            "per_second": spread([per_step / seconds for seconds in times[name]]),
            "times_reference": spread([b / a for a, b in zip(times[name], times.get(REFERENCE, []), strict=False)]),
            "of_ceiling": flops * workload.meta_batch / seconds_per_step / ceiling,
            "peak_memory_mb": memory_of(name, workload, settings) if settings.memory else None,
        }
        if "sampling" in times:
            share = statistics.median(times["sampling"])
            contenders[name]["sampling_share"] = share / (share + seconds_per_step)
        if settings.memory and name.endswith(COMPILED) and settings.device.type == "cpu":
            contenders[name]["compiler_mb"] = memory_of_compiler(name, workload.kind, settings)
    return {
        "workload": asdict(workload),
        "name": str(workload),
        "unit": workload.unit,
        "gflop_per_task": flops / 1e9,
        "ceiling_gflops": spread([product_flops / seconds / 1e9 for seconds in times["matmul"]]),
        "sampling_ms": spread([1e3 * seconds for seconds in times.get("sampling", [])]),
        "contenders": contenders,
        "failed": failed,
    }


def make_step(name: str, workload: Workload, settings: Settings) -> Callable[[], float]:
    """Return a contender's meta-step on one meta-batch after the other."""
    contender = build(name, workload, settings)
    batches = make_tasks(workload, settings, torch.float32)
    prepared = itertools.cycle([contender.prepare(batch) for batch in batches])
    return lambda: contender.step(next(prepared))


def memory_of(name: str, workload: Workload, settings: Settings) -> float | None:
    """Return a contender's peak memory in megabytes (None: it cannot be known, and a message says why)."""
    say(f"  memory of {name}")
    try:
        if settings.device.type == "cuda" and name in PEERS and PEERS[name].package == "jax":
            raise NotImplementedError("JAX does not allocate by PyTorch")
        return peak_memory(make_step, name, workload, settings, device=settings.device)
    except Exception as error:  # whatever the contender raises, or its process was killed for its memory
        say(f"  it is unknown: {describe(error)}")
        return None


@cache
def memory_of_compiler(name: str, kind: str, settings: Settings) -> float | None:
    """Return the megabytes of a compiled step of nearly nothing, which is the same whatever else is measured."""
    return memory_of(name, Workload(kind, **NEARLY_NOTHING), settings)


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Return the median and the range (None: there are no values)."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)} if values else None


# ---------------------------------------------------------------------------------------------------------------
# The whole run


def run_benchmark(
    workloads: Sequence[Workload],
    settings: Settings,
    *,
    strategies: Sequence[str],
    packages: Sequence[str] = (),
    compiled: Sequence[str] = (),
    threads: int | None = None,
    command: str = "",
    earlier: dict[str, Any] | None = None,
    save: Callable[[dict[str, Any]], None] = lambda result: None,
) -> dict[str, Any]:
    """Check all contenders, measure them on every workload, print tables and return all numbers.

    Args:
        workloads: what is measured, one after the other.
        settings: what they share.
        strategies: of ``MetaSGD``, by name.
        packages: the peers.
        compiled: strategies that are measured compiled, too.
        threads: CPU threads, and cores of this process (None: all).
        command: that asked for this; it stands in the result of every workload.
        earlier: what an earlier run returned; a result of it is kept until its workload has been measured again.
        save: called with all numbers so far, after every workload.

    Raises:
        ValueError: an unknown strategy, or one that gives a wrong meta-gradient.
    """
    started = time.perf_counter()
    names, missing = line_up(strategies, packages, compiled=compiled)
    earlier = earlier or {"checks": {}, "results": [], "peers": {}, "seconds": 0}
    checks = dict(earlier["checks"])
    results = {Workload(**result["workload"]): result for result in earlier["results"]}
    peers = {package: version_of(package) for package in packages if importlib.util.find_spec(package)}

    def so_far() -> dict[str, Any]:
        return {
            "command": command,
            "checks": checks,
            "missing": missing,
            "results": [results[workload] for workload in sorted(results, key=lambda workload: workload.order)],
            "peers": earlier["peers"] | peers,
            "seconds": round(earlier["seconds"] + time.perf_counter() - started, 1),
            **circumstances(settings.device),
        }

    with confined_to(threads or torch.get_num_threads()), warnings.catch_warnings():
        warnings.filterwarnings("error", UNCOMPILED)  # it would be measured under a wrong name
        for kind in dict.fromkeys(workload.kind for workload in workloads):
            say(f"{kind}: is every meta-gradient that of the plain loop?")
            checks[kind] = checks.get(kind, {}) | check(names, next(w for w in workloads if w.kind == kind), settings)
        for workload in workloads:
            say(str(workload))
            fit = [name for name in names if "error" not in checks[workload.kind][name]]
            how = {"command": command, "settings": asdict(settings) | {"device": str(settings.device)}}
            results[workload] = measure(workload, fit, settings) | how
            say(table(results[workload], checks[workload.kind]))
            save(so_far())
        for name, reason in missing.items():
            say(f"not measured: {name}, as {reason}")
        final = so_far()
        save(final)  # so that what is returned is what is kept
        return final


@contextmanager
def confined_to(threads: int) -> Iterator[None]:
    """Let PyTorch use so many threads, and the process so many cores: libraries differ in how they are told."""
    before = torch.get_num_threads()
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()  # on Linux alone
    try:
        torch.set_num_threads(threads)
        if cores:
            os.sched_setaffinity(0, sorted(cores)[:threads])
        yield
    finally:
        torch.set_num_threads(before)
        if cores:
            os.sched_setaffinity(0, cores)


def table(result: dict[str, Any], checks: dict[str, Any]) -> str:
    """Return the numbers of one workload for people to read."""
    ceiling = result["ceiling_gflops"]["median"]
    lines = [
        f"\n{result['name']}: {result['unit']} per second; {result['gflop_per_task']:.3g} GFLOP a task, "
        f"matrix product {ceiling:.0f} GFLOP/s",
        f"{'':32}{'median':>9}  {'[min - max]':20}{'x learn2learn':>13}{'peak MB':>9}{'ceiling':>9}{'sampling':>10}",
    ]
    for name, row in result["contenders"].items():
        speed, ratio, memory = row["per_second"], row["times_reference"], row["peak_memory_mb"]
        bounds = f"[{speed['min']:.4g} - {speed['max']:.4g}]"
        lines.append(
            f"{name:32}{speed['median']:9.4g}  {bounds:20}"
            + (f"{ratio['median']:13.2f}" if ratio else f"{'':13}")
            + (f"{memory:9.0f}" if memory is not None else f"{'':9}")
            + f"{row['of_ceiling']:9.1%}"
            + (f"{row['sampling_share']:10.1%}" if "sampling_share" in row else "")
            + (f"  compiler: {row['compiler_mb']:.0f} MB" if row.get("compiler_mb") else "")
            + ("  WRONG meta-gradient" if checks[name]["wrong"] else "")
        )
    broken = {name: entry["error"] for name, entry in checks.items() if "error" in entry} | result["failed"]
    return "\n".join([*lines, *(f"not measured: {name}, as it failed: {why}" for name, why in broken.items()), ""])


def describe(error: Exception) -> str:
    """Return an error in one line."""
    return f"{type(error).__name__}: {(str(error).strip() or '?').splitlines()[0]}"


def version_of(package: str) -> str | None:
    """Return the version of an installed package (None: it does not say)."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def say(message: str) -> None:
    """Print progress."""
    print(message, file=sys.stderr, flush=True)
