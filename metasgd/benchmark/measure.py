"""Measure all contenders on one workload: time, memory, and what follows from them (chapters 9 and 10)."""

import itertools
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import cache
from typing import Any

import torch

from metasgd.benchmark.line_up import COMPILED, build_contender, may_fail
from metasgd.benchmark.peak_memory import peak_memory
from metasgd.benchmark.peers import PEERS, REFERENCE
from metasgd.benchmark.report import describe_error, print_progress
from metasgd.benchmark.timing import flops_per_task, matmul_action, sampling_action, time_in_rounds
from metasgd.benchmark.workloads import Settings, Workload, make_tasks

# A workload so small that its compiled meta-update holds hardly more memory than the compiler itself.
TINY = {"meta_batch": 1, "shots": 1, "queries": 1, "width": 2}


def measure(workload: Workload, names: Sequence[str], settings: Settings) -> dict[str, Any]:
    """Measure the contenders on one workload.

    Returns:
        What a results file holds of a workload. ``contenders`` has for each name: ``per_second`` (the speed, in the
        workload's ``unit``), ``times_reference`` (the speed relative to the reference), ``of_ceiling`` (floating-point
        operations per second, relative to the matrix product), ``peak_memory_mb`` (None: not known), for the convnet
        ``sampling_share`` (the fraction of a training step that drawing the tasks takes), and for a compiled strategy
        on a CPU ``compiler_mb`` (the memory of the compiler, part of the peak). ``failed`` has the reason for each
        contender that failed. Every spread has ``median``, ``min`` and ``max`` over the rounds.

    Raises:
        Exception: whatever a contender raises that must not fail, see ``may_fail``.
    """
    steps, failed = start_contenders(workload, names, settings)
    matmul, matmul_flops = matmul_action(settings)
    other_actions: dict[str, Callable[[], Any]] = {"matmul": matmul}
    if workload.kind == "convnet":
        other_actions["sampling"] = sampling_action(workload, settings)
    times = time_in_rounds(steps | other_actions, settings)

    flops = flops_per_task(workload, settings)
    ceiling = matmul_flops / statistics.median(times["matmul"])
    units_per_step = workload.meta_batch if workload.unit == "tasks" else 1
    contenders = {}
    for name in steps:
        step_seconds = statistics.median(times[name])
        contenders[name] = {
            "per_second": spread([units_per_step / seconds for seconds in times[name]]),
            "times_reference": spread([b / a for a, b in zip(times[name], times.get(REFERENCE, []), strict=False)]),
            "of_ceiling": flops * workload.meta_batch / step_seconds / ceiling,
            "peak_memory_mb": contender_memory(name, workload, settings) if settings.memory else None,
        }
        if "sampling" in times:
            sampling_seconds = statistics.median(times["sampling"])
            contenders[name]["sampling_share"] = sampling_seconds / (sampling_seconds + step_seconds)
        if settings.memory and name in COMPILED and settings.device.type == "cpu":
            contenders[name]["compiler_mb"] = compiler_memory(name, workload.kind, settings)
    return {
        "workload": asdict(workload),
        "name": str(workload),
        "unit": workload.unit,
        "gflop_per_task": flops / 1e9,
        "ceiling_gflops": spread([matmul_flops / seconds / 1e9 for seconds in times["matmul"]]),
        "sampling_ms": spread([1e3 * seconds for seconds in times.get("sampling", [])]),
        "contenders": contenders,
        "failed": failed,
    }


def start_contenders(
    workload: Workload, names: Sequence[str], settings: Settings
) -> tuple[dict[str, Callable[[], float]], dict[str, str]]:
    """Build the contenders and let each take one meta-update.

    Returns:
        The meta-update of each contender that works, and for each contender that fails and may fail, the reason.
    """
    steps: dict[str, Callable[[], float]] = {}
    failed: dict[str, str] = {}
    for name in names:
        print_progress(f"  starting {name}")
        try:
            step = make_step(name, workload, settings)
            step()
        except Exception as error:  # e.g. out of memory
            if not may_fail(name):
                raise
            failed[name] = describe_error(error)
        else:
            steps[name] = step
    return steps, failed


def make_step(name: str, workload: Workload, settings: Settings) -> Callable[[], float]:
    """Return the meta-update of a contender, which takes the meta-batches of the workload in turn."""
    contender = build_contender(name, workload, settings)
    batches = make_tasks(workload, settings, torch.float32)
    prepared = itertools.cycle([contender.prepare(batch) for batch in batches])
    return lambda: contender.step(next(prepared))


def contender_memory(name: str, workload: Workload, settings: Settings) -> float | None:
    """Return the peak memory of a contender in megabytes (None: it cannot be measured, and a message says why)."""
    print_progress(f"  memory of {name}")
    try:
        if settings.device.type == "cuda" and name in PEERS and PEERS[name].package == "jax":
            raise NotImplementedError("JAX does not allocate GPU memory through PyTorch")
        return peak_memory(make_step, name, workload, settings, device=settings.device)
    except Exception as error:  # of any kind: also the system may have killed the process for lack of memory
        print_progress(f"  it is unknown: {describe_error(error)}")
        return None


@cache
def compiler_memory(name: str, kind: str, settings: Settings) -> float | None:
    """Return about how many megabytes the compiler takes: the peak memory of a tiny compiled workload of this kind."""
    return contender_memory(name, Workload(kind, **TINY), settings)


def spread(values: Sequence[float]) -> dict[str, float] | None:
    """Return the median, the smallest and the largest of some values (None if there are no values)."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)} if values else None
