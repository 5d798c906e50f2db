"""How long things take, timed in turn in one process, so that what disturbs one disturbs all (chapter 9)."""

import gc
import math
import random
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from metasgd._core.task import Task
from metasgd.benchmark.line_up import build_contender
from metasgd.benchmark.report import print_progress
from metasgd.benchmark.workloads import Settings, Workload, make_tasks
from metasgd.data import load_mnist
from metasgd.recipes.mnist import MnistRecipe

WARM_UP_CALLS = 2
MATMUL_SIZE = {"cpu": 2048, "cuda": 8192}  # rows and columns of the matrices


def time_in_rounds(actions: dict[str, Callable[[], Any]], settings: Settings) -> dict[str, list[float]]:
    """Time every action once in each round, in a new random order each time.

    Args:
        actions: functions without arguments, by name.
        settings: the number of rounds, the least number of seconds that an action runs in a round, the device, and the
            seed of the orders.

    Returns:
        For each action, the seconds that one call takes on average, one number a round.
    """
    calls = {}
    for name, action in actions.items():
        seconds_per_call(action, WARM_UP_CALLS, settings.device)
        calls[name] = max(1, math.ceil(settings.seconds / seconds_per_call(action, 1, settings.device)))
    order, shuffle = list(actions), random.Random(settings.seed).shuffle
    times: dict[str, list[float]] = {name: [] for name in actions}
    for index in range(settings.rounds):
        print_progress(f"  round {index + 1} of {settings.rounds}")
        shuffle(order)
        for name in order:
            times[name].append(seconds_per_call(actions[name], calls[name], settings.device))
    return times


def seconds_per_call(action: Callable[[], Any], calls: int, device: torch.device) -> float:
    """Call an action ``calls`` times, wait until the device has finished, and return the seconds of one call."""
    gc.collect()
    synchronize(device)
    started = time.perf_counter()
    for _ in range(calls):
        action()
    synchronize(device)
    return (time.perf_counter() - started) / calls


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has finished all that it was given; on a CPU, return at once."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def flops_per_task(workload: Workload, settings: Settings) -> int:
    """Count the floating-point operations that the plain loop needs for the meta-gradient of one task."""
    contender = build_contender("loop", workload, settings)
    task = Task(*(x[:1] for x in make_tasks(workload, settings, torch.float32)[0]))
    contender.gradients(task)  # the first call looks at the model, too
    with FlopCounterMode(display=False) as counter:
        contender.gradients(task)
    return int(counter.get_total_flops())


def matmul_action(settings: Settings) -> tuple[Callable[[], Any], int]:
    """Return an action that multiplies two large float32 matrices, and its number of floating-point operations."""
    size = MATMUL_SIZE.get(settings.device.type, MATMUL_SIZE["cpu"])
    generator = torch.Generator(settings.device).manual_seed(settings.seed)
    left, right = torch.rand((2, size, size), generator=generator, device=settings.device)
    out = torch.empty_like(left)
    return lambda: torch.mm(left, right, out=out), 2 * size**3


def sampling_action(workload: Workload, settings: Settings) -> Callable[[], Task]:
    """Return an action that draws a meta-batch as meta-training on MNIST does, with augmentation, on the device."""
    recipe = MnistRecipe(shots=workload.shots, train_queries=workload.queries, seed=settings.seed)
    sampler = recipe.training_tasks(load_mnist(quiet=True), settings.device)
    return lambda: sampler.sample(workload.meta_batch)
