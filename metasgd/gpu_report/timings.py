"""What is timed in a cell of a report: speeds, drawing, and where the time of a meta-step goes (chapter 10)."""

import gc
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from metasgd._core.task import Task
from metasgd.benchmark import Settings as Timing
from metasgd.benchmark import Workload
from metasgd.benchmark.contender import META_LR
from metasgd.benchmark.line_up import make_start
from metasgd.benchmark.measure import spread
from metasgd.benchmark.run import limited_to
from metasgd.benchmark.timing import flops_per_task, matmul_action, synchronize, time_in_rounds
from metasgd.benchmark.workloads import make_tasks
from metasgd.gpu import program
from metasgd.gpu_report.cells import COMPILED, PROGRAM, PROGRAM_BATCHED
from metasgd.meta_sgd import MetaSGD
from metasgd.tasks.episodes import draw_without_replacement

Values = dict[str, Any]
ROUNDS = 5


def make_step(device: torch.device, contender: str, precision: str, workload: Workload) -> Callable[[], Any]:
    """Return a whole meta-step of a contender, on two meta-batches in turn."""
    timing = Timing(device)
    batches = make_tasks(workload, timing, torch.float32)
    name, is_compiled = contender.removesuffix(COMPILED), contender.endswith(COMPILED)
    start = make_start(workload, timing, torch.float32, relu_first=False)
    if name not in (PROGRAM, PROGRAM_BATCHED):
        options: dict[str, Any] = {"strategy": name, "precision": precision, "compile": is_compiled}
        learner = MetaSGD(start.network, meta_lr=META_LR, task_lr=start.rates, **options)
        return alternating(batches, lambda tasks: learner.meta_update(tasks))
    program.set_precision(precision)
    chunk = 32 if name == PROGRAM_BATCHED else 1
    execution = "compiled" if is_compiled else "recorded"
    settings = program.Settings(width=workload.width, precision=precision, chunk=chunk, execution=execution)
    values, model = program.make_start(settings, device)
    work, adam = program.make_work(settings, model), torch.optim.Adam([values], lr=META_LR, fused=True)

    def step(tasks: Task) -> None:
        values.grad = (work(values, tasks)[:-1] / workload.meta_batch).view_as(values)
        adam.step()

    return alternating(batches, step)


def alternating(batches: list[Task], step: Callable[[Task], Any]) -> Callable[[], Any]:
    """Return a function that takes a step on the batches in turn."""
    calls = 0

    def call() -> None:
        nonlocal calls
        step(batches[calls % len(batches)])
        calls += 1

    return call


def speed(
    device: torch.device, contender: str, precision: str, meta_batch: int, width: int, shots: int, least: float
) -> Values:
    """Return tasks per second, the peak memory, and the fraction of a large matrix product of float32 beside it.

    In TF32 this product is in TF32, too. The peak is that of what PyTorch has reserved, recordings included.
    """
    workload = Workload("convnet", meta_batch, shots, 15, width)
    timing = Timing(device, rounds=ROUNDS, seconds=least)
    program.set_precision(precision)  # also of the large product
    started = time.perf_counter()
    step = make_step(device, contender, precision, workload)
    step()
    synchronize(device)
    first = time.perf_counter() - started
    matmul, matmul_flops = matmul_action(timing)
    before = reset_peak(device)
    step()
    synchronize(device)
    peak = peak_of(device)
    times = time_in_rounds({"step": step, "matmul": matmul}, timing)
    median = statistics.median(times["step"])
    flops = flops_per_task(workload, timing) * meta_batch / median
    ceiling = matmul_flops / statistics.median(times["matmul"])
    return {
        "per_second": spread([meta_batch / seconds for seconds in times["step"]]),
        "of_ceiling": flops / ceiling,
        "ceiling_gflops": ceiling / 1e9,
        "peak_memory_mb": None if peak is None else (peak - (before or 0)) / 1e6,
        "held_mb": None if peak is None else peak / 1e6,
        "seconds_to_start": first,
    }


def turns(
    device: torch.device, contenders: tuple[str, ...], meta_batch: int, width: int, shots: int, rounds: int = 15
) -> Values:
    """Return tasks per second of contenders that take turns in float32, so that what disturbs one disturbs all.

    On a CPU, tasks per second of one core: the seconds are those that the process computes, on one thread.
    """
    workload = Workload("convnet", meta_batch, shots, 15, width)
    on_cpu = device.type == "cpu"
    clock = time.process_time if on_cpu else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in contenders}
    with limited_to(1) if on_cpu else nullcontext():
        steps = {name: make_step(device, name, "float32", workload) for name in contenders}
        for turn in range(rounds + 1):  # the first prepares
            for name, step in steps.items():
                synchronize(device)
                started = clock()
                step()
                synchronize(device)
                if turn:
                    times[name].append(clock() - started)
    return {name: spread([meta_batch / seconds for seconds in found]) for name, found in times.items()}


def reset_peak(device: torch.device) -> int | None:
    """Forget the peak of a GPU's memory, and return the bytes that are in use; None on a CPU."""
    gc.collect()
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    torch.cuda.reset_peak_memory_stats(device)
    return torch.cuda.memory_allocated(device)


def peak_of(device: torch.device) -> int | None:
    """Return the most bytes that PyTorch has reserved on a GPU, recordings included; None on a CPU."""
    return torch.cuda.max_memory_reserved(device) if device.type == "cuda" else None


def drawing(device: torch.device, meta_batch: int, width: int) -> Values:
    """Return milliseconds: of drawing a meta-batch, of the draws in it in two ways, and of its meta-gradient.

    The draws are those of classes and of their pictures, as many and from as many as in the recipe of chapter 8: by
    Floyd's algorithm, or by random numbers of which the largest are taken.
    """
    settings = program.Settings(classes=200, width=width, meta_batch=meta_batch)
    program.set_precision("float32")
    sampler = program.make_sampler(settings, device)
    values, model = program.make_start(settings, device)
    work, tasks = program.make_work(settings, model), program.draw(sampler, settings, 0)
    generator, classes = torch.Generator(device).manual_seed(0), program.Settings().classes
    # Half of the tasks are of glyphs, each in four positions, the other half of families of four.
    draws, half = [], max(1, meta_batch // 2)
    for shape, most, size in (((half,), 4 * classes, 5), ((half,), classes, 5), *[((half, 5), 20, 6)] * 2):
        draws.append((torch.full(shape, most, device=device), (*shape, most), size))

    def by_floyd() -> None:
        for counts, _, size in draws:
            draw_without_replacement(counts, size, generator)

    def by_largest() -> None:
        for _, shape, size in draws:
            torch.rand(shape, generator=generator, device=device).topk(size)

    actions: dict[str, Callable[[], Any]] = {
        "whole": lambda: program.draw(sampler, settings, 0),
        "floyd": by_floyd,
        "largest": by_largest,
        "meta_gradient": lambda: work(values, tasks),
    }
    times = time_in_rounds(actions, Timing(device, rounds=ROUNDS, seconds=0.05))
    return {name: 1e3 * statistics.median(found) for name, found in times.items()}


def profile_of(device: torch.device, meta_batch: int, width: int, shots: int) -> Values:
    """Return the milliseconds of each kernel of a meta-step of the program without a recording, the longest first."""
    workload = Workload("convnet", meta_batch, shots, 15, width)
    program.set_precision("float32")
    settings = program.Settings(width=width, chunk=32, execution="plain")
    values, model = program.make_start(settings, device)
    work, batch = program.make_work(settings, model), make_tasks(workload, Timing(device), torch.float32)[0]
    call = partial(work, values, batch)
    call()
    on_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_gpu]) as record:
        synchronize(device)
        started = time.perf_counter()
        call()
        synchronize(device)
        wall = 1e3 * (time.perf_counter() - started)
    name = "self_device_time_total" if on_gpu else "self_cpu_time_total"
    rows = [(event.key, getattr(event, name) / 1e3, event.count) for event in record.key_averages()]
    rows = sorted((row for row in rows if row[1] > 0), key=lambda row: -row[1])
    return {"wall_ms": wall, "busy_ms": sum(row[1] for row in rows), "kernels": [list(row) for row in rows[:15]]}
