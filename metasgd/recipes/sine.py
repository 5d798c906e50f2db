"""Few-shot regression on sine waves, ready to run: what chapter 6 and the command line share."""

import copy
import multiprocessing
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from metasgd._core.adam import clipped_adam
from metasgd.evaluation import Evaluation, evaluate
from metasgd.meta_sgd import MetaSGD
from metasgd.models import mlp
from metasgd.tasks import SineWaveSampler
from metasgd.training import train

METHODS = ("meta-sgd", "maml")
SHOTS = (5, 10, 20)  # support points in the paper, in meta-training and in meta-testing
TEST_QUERIES = 100  # points of a test curve on which the error is measured
# The paper's table: mean squared error after one step, by method, shots of meta-training, shots of the test.
PAPER = {
    "maml": {
        5: {5: 1.13, 10: 0.85, 20: 0.71},
        10: {5: 1.17, 10: 0.77, 20: 0.56},
        20: {5: 1.29, 10: 0.76, 20: 0.48},
    },
    "meta-sgd": {
        5: {5: 0.90, 10: 0.63, 20: 0.50},
        10: {5: 0.88, 10: 0.53, 20: 0.35},
        20: {5: 1.01, 10: 0.54, 20: 0.31},
    },
}


@dataclass(frozen=True)
class SineConfig:
    """Everything that decides a run on sine waves, except the device (chapter 6).

    ``method`` is ``"meta-sgd"`` or ``"maml"`` (alpha held at ``task_lr``, which must then be one number). ``task_lr``
    is alpha at the start, a number or a range from which every entry is drawn. ``meta_lr`` is beta and gamma at their
    highest: they rise from zero in the first ``warmup``, a fraction of the run, and then fall to zero, along straight
    lines. ``clip`` is the largest length of the meta-gradient, beyond which it is shortened (None: never).
    """

    shots: int = 10
    method: str = "meta-sgd"
    iterations: int = 6000
    meta_batch: int = 100
    train_queries: int = 10
    meta_lr: float = 3e-2
    task_lr: float | tuple[float, float] = 0.02
    clip: float | None = 1.0
    warmup: float = 0.1
    inner_steps: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ValueError(f"method {self.method!r} does not exist; choose one of {', '.join(METHODS)}")
        if self.method == "maml" and not isinstance(self.task_lr, int | float):
            raise ValueError(f"MAML has one rate for all parameters, but task_lr is {self.task_lr}; name one number")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is {self.warmup}; it is a fraction of the run, at least 0 and below 1")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(f"clip is {self.clip}; it must be above 0, or None for no clipping")


def make_network(seed: int = 0) -> nn.Module:
    """Return the paper's network, 1-40-40-1 with ReLU, at its random start: the same for the same seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return mlp(1, (40, 40), 1)


def make_learner(config: SineConfig, device: torch.device | str = "cpu") -> MetaSGD:
    """Return the untrained learner of a run."""
    return MetaSGD(
        make_network(config.seed),
        F.mse_loss,
        meta_lr=config.meta_lr,
        task_lr=config.task_lr,
        inner_steps=config.inner_steps,
        learn_alpha=config.method == "meta-sgd",
        meta_optimizer=clipped_adam(config.clip),
        seed=config.seed,
        strategy="batched",
    ).to(device)


def up_then_down(warmup: float) -> Callable[[float], float]:
    """Return the schedule that rises along a line in the first fraction ``warmup`` of a run, and then falls to zero.

    >>> schedule = up_then_down(0.2)
    >>> [round(schedule(fraction), 2) for fraction in (0, 0.1, 0.2, 0.6, 1)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    return lambda fraction: fraction / warmup if fraction < warmup else (1 - fraction) / (1 - warmup)


def train_sine(
    config: SineConfig,
    *,
    device: torch.device | str = "cpu",
    out: str | Path | None = None,
    resume: bool = False,
    checkpoint_every: int = 1000,
    progress: bool = True,
) -> tuple[MetaSGD, list[dict[str, float]]]:
    """Meta-train on sine waves and return (learner, history); see ``metasgd.training.train`` for the rest."""
    learner = make_learner(config, device)
    history = train(
        learner,
        SineWaveSampler(config.shots, config.train_queries, device=device),
        config.iterations,
        meta_batch=config.meta_batch,
        seed=config.seed,
        schedule=up_then_down(config.warmup),
        out=out,
        resume=resume,
        checkpoint_every=checkpoint_every,
        config={"data": "sine", **asdict(config)},
        progress=progress,
    )
    return learner, history


def train_side_by_side(
    configs: Mapping[str, SineConfig], *, device: torch.device | str = "cpu", processes: int | None = None
) -> dict[str, tuple[MetaSGD, list[dict[str, float]]]]:
    """Meta-train several runs, on a CPU each in a process and on a core of its own, and return what each returned.

    The network is so small that two cores cannot share one run; they can share six.

    Args:
        configs: the runs, by any name.
        device: a GPU takes one run after the other.
        processes: how many at a time (None: one for each core, at most one for each run); 1 starts none.
    """
    if torch.device(device).type != "cpu":
        processes = 1
    elif processes is None:
        processes = min(len(configs), os.cpu_count() or 1)
    train_quietly = partial(train_sine, device=device, progress=False)
    if processes == 1:
        return {name: train_quietly(config) for name, config in configs.items()}
    context = multiprocessing.get_context("spawn")  # a fork would copy locks that torch's threads may hold
    with ProcessPoolExecutor(processes, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return dict(zip(configs, pool.map(train_quietly, configs.values()), strict=True))


def error_on_new_curves(
    learner: MetaSGD, shots: int, *, steps: int | None = None, num_tasks: int = 2000, seed: int = 0
) -> Evaluation:
    """Return the mean squared error on new curves after adaptation to ``shots`` points of each.

    The same seed and shots give every learner the same curves and points.

    Args:
        learner: a trained learner; it stays as it is.
        shots: support points.
        steps: inner steps (None: as many as in meta-training), all with the same alpha; 0 for no adaptation.
        num_tasks: how many curves.
        seed: of the curves.
    """
    sampler = SineWaveSampler(shots, TEST_QUERIES, device=next(learner.model.parameters()).device)
    if steps == 0:
        return evaluate(lambda support_x, support_y, query_x: learner.predict(query_x), sampler, num_tasks, seed=seed)
    if steps is not None:
        learner = copy.deepcopy(learner)
        learner.inner_steps = steps
    return evaluate(learner, sampler, num_tasks, seed=seed)
