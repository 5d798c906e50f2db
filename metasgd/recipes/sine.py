"""Few-shot regression on sine waves (chapter 6)."""

import copy
import multiprocessing
import os
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import nn

from metasgd._core.adam import clipped_adam
from metasgd.evaluation import Evaluation, evaluate
from metasgd.meta_sgd import MetaSGD
from metasgd.models import mlp
from metasgd.recipes.recipe import METHODS, Recipe, device_of, setting, without_step
from metasgd.recipes.training import meta_train
from metasgd.tasks import SineWaveSampler

Name = TypeVar("Name", bound=Hashable)
SHOTS = (5, 10, 20)  # support points in the paper, in meta-training and in meta-testing
TEST_QUERIES = 100  # points of a test curve on which the error is measured


@dataclass(frozen=True)
class SineRecipe(Recipe):
    """A run on sine waves (chapter 6). Its tasks need no data.

    The outer rates rise from zero during ``warmup``, and then fall to zero, along straight lines.

    Raises:
        ValueError: a method that does not exist, MAML with a range of rates, a ``warmup`` outside [0, 1), or a
            ``clip`` that is not positive.
    """

    name = "sine"
    about = "regression on sine waves, the paper's first table (chapter 6)"
    example = "--shots 5 --task-lr 0.005 0.1"
    metric = "mean_squared_error"
    num_test_tasks = 2000
    checkpoint_every = 1000

    shots: int = setting(10, "support points of a curve in meta-training; the test has 5, 10 and 20", least=1)
    method: str = setting("meta-sgd", "what is trained: maml holds alpha at task_lr", choices=METHODS)
    iterations: int = setting(6000, "meta-updates in all", least=1)
    meta_batch: int = setting(100, "curves in a meta-update", least=1)
    train_queries: int = setting(10, "query points of a curve in meta-training", least=1)
    meta_lr: float = setting(3e-2, "beta and gamma, Adam's rate for theta and alpha, at its highest", least=0)
    task_lr: float | tuple[float, float] = setting(
        0.02, "alpha at the start: a number, or the two ends of a range from which every entry is drawn", least=0
    )
    clip: float | None = setting(1.0, "length to which a longer meta-gradient is shortened (none: never)", above=0)
    warmup: float = setting(0.1, "fraction of the run in which the outer rates rise")
    inner_steps: int = setting(1, "gradient steps on a support set", least=1)
    seed: int = setting(0, "of the network's start, of alpha drawn from a range, and of the training tasks", least=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method == "maml" and not isinstance(self.task_lr, int | float):
            raise ValueError(f"MAML has one rate for all parameters, but task_lr is {self.task_lr}; name one number")
        if not 0 <= self.warmup < 1:
            raise ValueError(f"warmup is {self.warmup}; it is a fraction of the run, at least 0 and below 1")

    def build_network(self) -> nn.Module:
        """Return the paper's network, 1-40-40-1 with ReLU, drawing its start from the global random state."""
        return mlp(1, (40, 40), 1)

    def learner_options(self, network: nn.Module, device: torch.device) -> dict[str, Any]:
        """Return the arguments of ``MetaSGD``."""
        return {
            "loss_fn": F.mse_loss,
            "meta_lr": self.meta_lr,
            "task_lr": self.task_lr,
            "inner_steps": self.inner_steps,
            "learn_alpha": self.method == "meta-sgd",
            "meta_optimizer": clipped_adam(self.clip),
            "seed": self.seed,
            "strategy": "batched",
        }

    def schedule(self, fraction: float) -> float:
        """Return the factor of the outer rates after a fraction of the run, see ``up_then_down``."""
        return up_then_down(self.warmup)(fraction)

    def training_tasks(
        self, data: None = None, device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> SineWaveSampler:
        """Return the curves of meta-training."""
        return SineWaveSampler(self.shots, self.train_queries, device=device)

    def test_tasks(
        self, data: None = None, device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> SineWaveSampler:
        """Return curves that are measured at ``TEST_QUERIES`` points."""
        return SineWaveSampler(self.shots, TEST_QUERIES, device=device)

    def test(
        self,
        learner: MetaSGD,
        data: None = None,
        num_tasks: int | None = None,
        *,
        seed: int = 0,
        progress: bool = False,
    ) -> dict[str, Evaluation]:
        """Return the error on new curves after one step on 5, 10 and 20 points; see ``Recipe.test``."""
        count = self.num_test_tasks if num_tasks is None else num_tasks
        return {
            f"{self.method}, {shots} points": error_on_new_curves(
                learner, shots, num_tasks=count, seed=seed, progress=progress
            )
            for shots in SHOTS
        }


def up_then_down(warmup: float) -> Callable[[float], float]:
    """Return the schedule that rises along a line in the first fraction ``warmup`` of a run, and then falls to zero.

    >>> schedule = up_then_down(0.2)
    >>> [round(schedule(fraction), 2) for fraction in (0, 0.1, 0.2, 0.6, 1)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    return lambda fraction: fraction / warmup if fraction < warmup else (1 - fraction) / (1 - warmup)


def train_side_by_side(
    recipes: Mapping[Name, SineRecipe], *, device: torch.device | str = "cpu", processes: int | None = None
) -> dict[Name, tuple[MetaSGD, list[dict[str, float]]]]:
    """Meta-train several runs at the same time and return (learner, history) of each.

    On a CPU, each run has a process and a core of its own: the network is too small for two cores to share one run.

    Args:
        recipes: the runs, by any name.
        device: a GPU takes one run after the other.
        processes: how many at a time (None: one for each core, at most one for each run); 1 starts none.
    """
    if torch.device(device).type != "cpu":
        processes = 1
    elif processes is None:
        processes = min(len(recipes), os.cpu_count() or 1)
    train_quietly = partial(meta_train, device=device, progress=False)
    if processes == 1:
        return {name: train_quietly(recipe) for name, recipe in recipes.items()}
    context = multiprocessing.get_context("spawn")  # a fork would copy locks that torch's threads may hold
    with ProcessPoolExecutor(processes, context, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return dict(zip(recipes, pool.map(train_quietly, recipes.values()), strict=True))


def error_on_new_curves(
    learner: MetaSGD,
    shots: int,
    *,
    steps: int | None = None,
    num_tasks: int = 2000,
    seed: int = 0,
    progress: bool = False,
) -> Evaluation:
    """Return the mean squared error on new curves after adaptation to ``shots`` points of each.

    The same seed and shots give every learner the same curves and points.

    Args:
        learner: a trained learner; it stays as it is.
        shots: support points.
        steps: inner steps (None: as many as in meta-training), all with the same alpha; 0 for no adaptation.
        num_tasks: how many curves.
        seed: of the curves.
        progress: show a bar on standard error.
    """
    sampler = SineWaveSampler(shots, TEST_QUERIES, device=device_of(learner))
    if steps == 0:
        return evaluate(without_step(learner), sampler, num_tasks, seed=seed, progress=progress)
    if steps is not None:
        learner = copy.deepcopy(learner)
        learner.inner_steps = steps
    return evaluate(learner, sampler, num_tasks, seed=seed, progress=progress)
