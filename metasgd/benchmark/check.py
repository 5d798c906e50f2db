"""Is every contender's meta-gradient right? It is compared with that of the plain loop (chapter 9)."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from metasgd.benchmark.line_up import build_contender, may_fail
from metasgd.benchmark.peers import PEERS
from metasgd.benchmark.report import describe_error, print_progress
from metasgd.benchmark.workloads import Settings, Workload, make_tasks

TOLERANCE = 1e-10  # relative, in float64: far above rounding errors, far below the error of any wrong formula
TASKS = 2


def check_meta_gradients(names: Sequence[str], workload: Workload, settings: Settings) -> dict[str, dict[str, Any]]:
    """Compare each contender's meta-gradient with that of the plain loop, in float64 on two small tasks.

    Args:
        names: of the contenders.
        workload: decides the kind of the tasks; they are made small.
        settings: the device and the seed.

    Returns:
        For each name ``{"theta": ..., "alpha": ..., "wrong": ...}``, where the two numbers are the norms of the
        differences, relative to the norms of the whole gradients; or ``{"error": ...}`` for a contender that may fail
        and did.

    Raises:
        ValueError: a strategy of ``MetaSGD`` gives a wrong meta-gradient.
    """
    small = replace(workload, meta_batch=TASKS)
    if workload.kind == "convnet":
        small = replace(small, shots=1, queries=2, width=4)
    tasks = make_tasks(small, settings, torch.float64)[0]
    expected = [flattened(part) for part in build_contender("loop", small, settings, torch.float64).gradients(tasks)]
    report: dict[str, dict[str, Any]] = {}
    for name in names:
        print_progress(f"  checking {name}")
        try:
            contender = build_contender(name, small, settings, torch.float64)
            found = contender.gradients(contender.prepare(tasks))
        except Exception as error:  # another library may raise anything
            if not may_fail(name):
                raise
            report[name] = {"error": describe_error(error)}
            continue
        theta_error, alpha_error = (
            float((flattened(part).to(right) - right).norm() / right.norm())
            for part, right in zip(found, expected, strict=True)
        )
        # "not <=" rather than ">", so that NaN counts as wrong.
        wrong = not (theta_error <= TOLERANCE and alpha_error <= TOLERANCE)
        if wrong and name not in PEERS:
            raise ValueError(
                f"strategy {name!r} gives a wrong meta-gradient on {small}: {theta_error:.1e} off in theta and "
                f"{alpha_error:.1e} in alpha, relative to the plain loop; nothing was measured"
            )
        report[name] = {"theta": theta_error, "alpha": alpha_error, "wrong": wrong}
    return report


def flattened(tensors: Sequence[Tensor]) -> Tensor:
    """Return all entries of some tensors as one vector, without a gradient."""
    return torch.cat([tensor.detach().flatten() for tensor in tensors])
