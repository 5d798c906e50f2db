"""What is measured in a cell of a report: one function a kind, which returns numbers (chapter 10)."""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from metasgd._core.task import Task
from metasgd.benchmark import Settings as Timing
from metasgd.benchmark import Workload
from metasgd.benchmark.check import check_meta_gradients
from metasgd.benchmark.timing import synchronize
from metasgd.gpu import program
from metasgd.gpu_report.cells import GOALS
from metasgd.gpu_report.timings import Values, drawing, profile_of, speed, turns
from metasgd.meta_sgd import MetaSGD
from metasgd.models import convnet
from metasgd.tasks import Mixture

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
    "turns": turns,
    "accuracy": accuracy,
    "drawing": drawing,
    "error": error,
    "profile": profile_of,
    "resume": resume,
    "processes": processes,
}
