"""What is measured in a cell of a report: one function a kind, which returns numbers (chapter 10)."""

import gc
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from metasgd._core.task import Task
from metasgd.benchmark import Settings as Timing
from metasgd.benchmark import Workload
from metasgd.benchmark.check import check_meta_gradients
from metasgd.benchmark.contender import META_LR
from metasgd.benchmark.line_up import make_start
from metasgd.benchmark.measure import spread
from metasgd.benchmark.timing import flops_per_task, matmul_action, synchronize, time_in_rounds
from metasgd.benchmark.workloads import make_tasks
from metasgd.gpu import program
from metasgd.gpu_report.cells import COMPILED, GOALS, PROGRAM, PROGRAM_BATCHED
from metasgd.meta_sgd import MetaSGD
from metasgd.models import convnet
from metasgd.tasks import Mixture
from metasgd.tasks.episodes import draw_without_replacement

Values = dict[str, Any]
ROUNDS = 5
CHECKED = program.Settings(width=4, classes=40, iterations=6, meta_batch=3, save_every=3)


def relative(found: Tensor, exact: Tensor) -> float:
    """Return the length of the difference, relative to the exact vector."""
    return float((found.double().cpu() - exact.cpu()).norm() / exact.cpu().norm())


def in_dtype(tasks: Task, dtype: torch.dtype) -> Task:
    """Return tasks with their pictures in a precision."""
    return Task(*(x.to(dtype) if x.is_floating_point() else x for x in tasks))


# Is it right?


def meta_gradient(device: torch.device, execution: str) -> Values:
    """Return how far the program's meta-gradient is from that of the plain loop, in float64, on two meta-batches."""
    program.set_precision("float32")
    sampler = program.make_sampler(CHECKED, device)
    torch.manual_seed(1)
    loop = MetaSGD(convnet(5, width=4), strategy="loop", task_lr=(0.05, 0.2)).to(device, torch.float64)
    values = torch.stack(
        [torch.cat([value.detach().flatten() for value in part.values()]) for part in (loop.theta, loop.alpha)]
    )
    model = program.make_start(CHECKED, device)[1]
    work, errors = program.make_work(replace(CHECKED, execution=execution), model), []
    for number in range(2):  # the second is replayed
        tasks = in_dtype(program.draw(sampler, CHECKED, number), torch.float64)
        loop.meta_backward(tasks)
        parts = (value.grad for part in (loop.theta, loop.alpha) for value in part.values())
        exact = torch.cat([grad.flatten() for grad in parts if grad is not None])
        errors.append(relative(work(values, tasks)[:-1] / CHECKED.meta_batch, exact))
    return {"error": max(errors), "right": max(errors) < 1e-10}


def strategies(device: torch.device, strategies: tuple[str, ...]) -> Values:
    """Return how far each strategy's meta-gradient is from that of the plain loop, in float64."""
    workload = Workload("convnet", meta_batch=2, shots=1, queries=2, width=4)
    checks = check_meta_gradients(list(strategies), workload, Timing(device))
    return {"checks": checks, "right": not any(check["wrong"] for check in checks.values())}


def switches(device: torch.device) -> Values:
    """Return the error of a convolution in float32 and in TF32: is float32 what it says?"""
    generator = torch.Generator(device).manual_seed(0)
    x, w = (torch.randn(64, n, 9, 9, generator=generator, device=device, dtype=torch.float64) for n in (64, 64))
    exact, found = torch.nn.functional.conv2d(x, w), {}
    for precision in ("float32", "tf32"):
        program.set_precision(precision)
        found[precision] = relative(torch.nn.functional.conv2d(x.float(), w.float()), exact)
    program.set_precision("float32")
    return {"errors": found, "right": found["float32"] < 1e-5}


def resume(device: torch.device) -> Values:
    """Return how far a run that was resumed in its middle ends from one that was not; 0 is to the last bit.

    A GPU may add in another order each time, so it is also told whether two uninterrupted runs are the same.
    """

    def until_the_fifth(sampler: Mixture, settings: program.Settings, number: int) -> Task:
        if number == 5:
            raise KeyboardInterrupt
        return draw(sampler, settings, number)

    draw = program.draw
    with tempfile.TemporaryDirectory() as folder:
        (whole, losses), (_, repeated) = (
            program.train(CHECKED, device, f"{folder}/whole-{number}.pt") for number in range(2)
        )
        program.draw = until_the_fifth
        try:
            program.train(CHECKED, device, f"{folder}/killed.pt")
        except KeyboardInterrupt:
            pass
        finally:
            program.draw = draw
        resumed, again = program.train(CHECKED, device, f"{folder}/killed.pt")
    same, repeats = bool(torch.equal(losses, again)), bool(torch.equal(losses, repeated))
    off = float((losses - again).abs().max())
    return {
        "error": relative(resumed, whole.double()),
        "loss_error": off,
        "same": same,
        "repeats": repeats,
        "right": same or (not repeats and off < 0.05),
    }


def error(device: torch.device, width: int, precision: str) -> Values:
    """Return how far the meta-gradient at the start is from that in float64, for three meta-batches of four tasks."""
    settings = replace(CHECKED, width=width, meta_batch=4, execution="plain", precision=precision)
    sampler = program.make_sampler(settings, device)
    values, model = program.make_start(settings, device)
    exact_model = program.make_start(replace(settings, precision="float32"), device)[1]
    errors = []
    for number in range(3):
        tasks = program.draw(sampler, settings, number)
        program.set_precision("float32")
        judge = program.make_work(settings, exact_model)
        exact = judge(values.double(), in_dtype(tasks, torch.float64))[:-1]
        program.set_precision(precision)
        errors.append(relative(program.make_work(settings, model)(values, tasks)[:-1], exact))
    program.set_precision("float32")
    return {"errors": errors}


# How fast is it?


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
    settings = replace(CHECKED, classes=200, width=width, meta_batch=meta_batch)
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


# What does it learn?


class Watch:
    """Times a training run of the program, and tests its checkpoints on the way; the time of the tests is not counted.

    The program draws the tasks of its next iteration while it computes one. This draws in its place, and looks first
    whether a checkpoint was written at the end of the iteration before.

    Args:
        settings: of the run, which writes a checkpoint every ``settings.save_every`` iterations.
        device: where it runs.
        path: its checkpoint.
    """

    def __init__(self, settings: program.Settings, device: torch.device, path: str) -> None:
        self.settings, self.device, self.path = settings, device, path
        self._draw, self._tested, self._started, self._paused = program.draw, 0, time.perf_counter(), 0.0
        self.curve: list[dict[str, float]] = []

    def draw(self, sampler: Mixture, settings: program.Settings, number: int) -> Task:
        """Draw as the program does, after a test of the checkpoint that is new."""
        done = number - 1
        if done > self._tested and done % settings.save_every == 0:
            self.test(done)
        return self._draw(sampler, settings, number)

    def test(self, done: int) -> None:
        """Note the seconds of training so far and the accuracy, the mean over the folds."""
        synchronize(self.device)
        paused = time.perf_counter()
        seconds = paused - self._started - self._paused
        values = torch.load(self.path, self.device, weights_only=True)["values"]
        how = replace(self.settings, test_tasks=min(40, self.settings.test_tasks), chunk=20)
        right = statistics.mean(program.accuracy(how, values, fold).mean().item() for fold in range(5))
        self.curve.append({"iterations": done, "seconds": seconds, "accuracy": right})
        self._tested = done
        synchronize(self.device)
        self._paused += time.perf_counter() - paused


def first_reached(curve: list[dict[str, float]], accuracy: float) -> float | None:
    """Return the seconds of the first point of a curve at or above an accuracy; None if there is none."""
    return next((point["seconds"] for point in curve if point["accuracy"] >= accuracy), None)


def accuracy(device: torch.device, precision: str, **training: Any) -> Values:
    """Train the recipe of chapter 8 in a precision; return its time, its losses, and its accuracy on each fold.

    On the way, ten checkpoints are tested on 40 tasks of each fold, so that there are times to reach an accuracy, too.
    The last point of the curve is the end of training. The seconds of drawing the glyphs, on the CPU, are told apart.
    """
    settings = program.Settings(precision=precision, **training)
    settings = replace(settings, save_every=max(1, settings.iterations // 10))
    make_sampler, draw, started = program.make_sampler, program.draw, time.perf_counter()
    sampler = make_sampler(settings, device)
    drawn = time.perf_counter()
    program.make_sampler = lambda *_: sampler
    try:
        with tempfile.TemporaryDirectory() as folder:
            watch = Watch(settings, device, f"{folder}/checkpoint.pt")
            program.draw = watch.draw
            values, losses = program.train(settings, device, watch.path)
            watch.test(settings.iterations)
    finally:
        program.make_sampler, program.draw = make_sampler, draw
    every = max(1, len(losses) // 50)
    return {
        "seconds": watch.curve[-1]["seconds"],
        "seconds_of_glyphs": drawn - started,
        "accuracy": [program.accuracy(settings, values, fold).mean().item() for fold in range(5)],
        "accuracy_curve": watch.curve,
        "seconds_to": {str(goal): first_reached(watch.curve, goal / 100) for goal in GOALS},
        "loss_curve": {"every": every, "mean_loss": [part.mean().item() for part in losses.split(every)]},
    }


def processes(device: torch.device, **training: Any) -> Values:
    """Train by two processes and by one for a few steps; return the losses of both."""
    if device.type == "cuda" and torch.cuda.device_count() < 2:
        raise ValueError("there is one GPU; two processes need two")
    settings = {"iterations": 20, "classes": 40, "meta_batch": 8, "test_tasks": 20} | training
    launch = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node")
    found = {}
    for count in (1, 2):
        with tempfile.TemporaryDirectory() as folder:
            options = [f"--{name}={value}" for name, value in settings.items()]
            command = [
                sys.executable,
                *launch,
                str(count),
                "-m",
                "metasgd.gpu.program",
                *options,
                f"--out={folder}/run.pt",
            ]
            hidden = {} if device.type == "cuda" else {"CUDA_VISIBLE_DEVICES": ""}
            subprocess.run(command, check=True, capture_output=True, env=os.environ | hidden)
            state = torch.load(f"{folder}/run.pt", "cpu", weights_only=True)
        found[str(count)] = state["losses"].tolist()
    return {"losses": found}


MEASURES: dict[str, Callable[..., Values]] = {
    "meta_gradient": meta_gradient,
    "strategies": strategies,
    "switches": switches,
    "speed": speed,
    "accuracy": accuracy,
    "drawing": drawing,
    "error": error,
    "profile": profile_of,
    "resume": resume,
    "processes": processes,
}
