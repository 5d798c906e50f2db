"""A whole run of the benchmark: check all contenders, then measure them on every workload (chapters 9 and 10)."""

import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch

from metasgd._core.provenance import provenance
from metasgd.benchmark.check import check_meta_gradients
from metasgd.benchmark.line_up import installed_versions, line_up
from metasgd.benchmark.measure import measure
from metasgd.benchmark.report import format_table, print_progress
from metasgd.benchmark.workloads import Settings, Workload

# How the warning begins that a compiled strategy falls back on the uncompiled one.
UNCOMPILED_WARNING = "the meta-gradient runs uncompiled"
NOTHING_YET: dict[str, Any] = {"checks": {}, "results": [], "peers": {}, "seconds": 0}


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
    """Check all contenders, measure them on every workload, print tables and return all numbers (chapter 9).

    Args:
        workloads: measured one after the other.
        settings: what the workloads have in common.
        strategies: of ``MetaSGD``, by name.
        packages: other libraries that take part if they are installed.
        compiled: strategies that are measured in compiled form, too.
        threads: CPU threads of PyTorch, and cores of this process (None: as many as PyTorch uses now).
        command: the command that asked for this run; it is kept in the result of every workload.
        earlier: what an earlier run returned. Its results stay, except those of workloads that are measured again.
        save: called with all results so far after every workload.

    Returns:
        ``checks`` (see ``check_meta_gradients``) by kind of workload, ``results`` (see ``measure``), the peers that
        are ``missing`` with the reason, the versions of the ``peers``, and how the numbers were made.

    Raises:
        ValueError: an unknown strategy, or one that gives a wrong meta-gradient.
    """
    started = time.perf_counter()
    names, missing = line_up(strategies, packages, compiled=compiled)
    earlier = earlier or NOTHING_YET
    checks, peers = dict(earlier["checks"]), earlier["peers"] | installed_versions(packages)
    results = {Workload(**result["workload"]): result for result in earlier["results"]}

    def results_so_far() -> dict[str, Any]:
        return {
            "command": command,
            "checks": checks,
            "missing": missing,
            "results": [results[workload] for workload in sorted(results, key=lambda workload: workload.sort_key)],
            "peers": peers,
            "seconds": round(earlier["seconds"] + time.perf_counter() - started, 1),
            **provenance(settings.device),
        }

    with limited_to(threads or torch.get_num_threads()), uncompiled_is_an_error():
        for kind, found in check_kinds(names, workloads, settings).items():
            checks[kind] = checks.get(kind, {}) | found
        for workload in workloads:
            result = measure_and_print(workload, names, checks[workload.kind], settings)
            results[workload] = result | {"command": command}
            save(results_so_far())
        for name, reason in missing.items():
            print_progress(f"not measured: {name}, as {reason}")
        save(final := results_so_far())  # the file then holds exactly what is returned
        return final


@contextmanager
def uncompiled_is_an_error() -> Iterator[None]:
    """Let a compiled strategy fail that runs uncompiled: it would be measured under a wrong name."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", UNCOMPILED_WARNING)
        yield


def check_kinds(
    names: Sequence[str], workloads: Sequence[Workload], settings: Settings
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return what ``check_meta_gradients`` finds, for each kind of workload."""
    checks = {}
    for workload in workloads:
        if workload.kind not in checks:
            print_progress(f"{workload.kind}: is every meta-gradient that of the plain loop?")
            checks[workload.kind] = check_meta_gradients(names, workload, settings)
    return checks


def measure_and_print(
    workload: Workload, names: Sequence[str], checks: dict[str, Any], settings: Settings
) -> dict[str, Any]:
    """Measure the contenders that could be checked, print their table, and return the result with its settings."""
    print_progress(str(workload))
    working = [name for name in names if "error" not in checks[name]]
    result = measure(workload, working, settings)
    print_progress(format_table(result, checks))
    return result | {"settings": asdict(settings) | {"device": str(settings.device)}}


@contextmanager
def limited_to(threads: int) -> Iterator[None]:
    """Limit PyTorch to a number of threads, and where the system can do that (Linux), the process to as many cores.

    The second limit also holds for libraries that do not ask PyTorch how many threads they may use.
    """
    threads_before = torch.get_num_threads()
    cores_before = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    try:
        torch.set_num_threads(threads)
        if cores_before:
            os.sched_setaffinity(0, sorted(cores_before)[:threads])
        yield
    finally:
        torch.set_num_threads(threads_before)
        if cores_before:
            os.sched_setaffinity(0, cores_before)
