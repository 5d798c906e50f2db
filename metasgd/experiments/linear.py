"""The experiment ``linear``: where a learned step stops paying, on linear regression (chapter 15)."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd.baselines import ridge
from metasgd.evaluation import Method, interval
from metasgd.experiments.experiment import TEST_SEED, VALIDATION_SEED, Cell, Cells, Experiment, Setup
from metasgd.experiments.results import SQUARED_ERROR, Results, score_record
from metasgd.meta_sgd import MetaSGD
from metasgd.tasks import LinearRegressionSampler
from metasgd.training import cosine_decay, train

# The family of tasks: eight inputs of different scales, and weights that differ from task to task more or less.
INPUT_SCALE = torch.logspace(0.5, -0.5, 8).tolist()
WEIGHT_SCALE = torch.logspace(-1, 0.3, 8).tolist()
WEIGHT_MEAN = (1.0, -2.0, 0.5, 1.0, -1.0, 2.0, 0.0, 1.0)
NOISE = 0.5
QUERIES = 50  # of a test task

LINEAR_SEEDS = 3  # runs, each with its own meta-training and test tasks
LINEAR_SHOTS = (1, 8, 10, 12, 32)
SHIFTED_SHOTS = (10,)  # with these, the weights of new tasks also lie elsewhere
SHIFTS = tuple(step / 4 for step in range(17))  # by so many of their standard deviations
UPDATES, META_BATCH = 150, 100
PENALTIES = tuple(10 ** (step / 4) for step in range(-12, 13))  # tried for ridge, from 0.001 to 1,000
VALIDATED = 1000  # tasks on which a penalty is chosen
TASKS_PER_DRAW = 1000


def linear_tasks(shots: int, shift: float = 0.0, *, dtype: torch.dtype = torch.float64) -> LinearRegressionSampler:
    """Return the family of tasks of chapter 15, or one whose weights lie elsewhere.

    Args:
        shots: support examples of a task.
        shift: by how many standard deviations of each weight its mean lies higher than in meta-training.
        dtype: of the tasks.
    """
    mean = [m + shift * scale for m, scale in zip(WEIGHT_MEAN, WEIGHT_SCALE, strict=True)]
    return LinearRegressionSampler(
        INPUT_SCALE, WEIGHT_SCALE, mean, noise=NOISE, shots=shots, queries=QUERIES, dtype=dtype
    )


def meta_train_on_linear_tasks(shots: int, seed: int = 0, updates: int = UPDATES) -> MetaSGD:
    """Return Meta-SGD for a linear model, meta-trained from weights of zero and one rate on the family of tasks.

    Args:
        shots: support examples of a task.
        seed: of the training tasks.
        updates: meta-updates.
    """
    model = nn.Linear(len(WEIGHT_MEAN), 1, bias=False, dtype=torch.float32)
    nn.init.zeros_(model.weight)
    options: dict[str, Any] = {"meta_lr": 0.1, "task_lr": 0.01, "strategy": "batched", "seed": seed}
    learner = MetaSGD(model, F.mse_loss, **options, inner_max_norm=None, max_norm=None)
    tasks = linear_tasks(shots, dtype=torch.float32)
    train(learner, tasks, updates, meta_batch=META_BATCH, seed=seed, schedule=cosine_decay, progress=False)
    return learner


def one_step(theta: Tensor, alpha: Tensor) -> Method:
    """Return the method that takes one step of a linear model on the mean squared error, for one task or many.

    Args:
        theta: the start, shape (weights,).
        alpha: the rates, shape (weights,).
    """

    def method(support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
        start = theta[:, None]
        gradient = 2 / support_x.shape[-2] * support_x.mT @ (support_x @ start - support_y)
        return query_x @ (start - alpha[:, None] * gradient)

    return method


def task_errors(
    methods: Mapping[str, Method], sampler: LinearRegressionSampler, num_tasks: int, seed: int
) -> dict[str, Tensor]:
    """Return for each method its mean squared error on the query set of each task, float64 of shape (tasks,)."""
    generator = torch.Generator(sampler.device).manual_seed(seed)
    found: dict[str, list[Tensor]] = {name: [] for name in methods}
    for first in range(0, num_tasks, TASKS_PER_DRAW):
        task = sampler.sample(min(TASKS_PER_DRAW, num_tasks - first), generator)
        for name, method in methods.items():
            prediction = method(task.support_x, task.support_y, task.query_x)
            found[name].append((prediction - task.query_y).square().mean((1, 2)))
    return {name: torch.cat(errors) for name, errors in found.items()}


def best_penalty(shots: int, start: Tensor | None, seed: int, num_tasks: int = VALIDATED) -> float:
    """Return the penalty of ridge that has the smallest mean error on validation tasks of the family.

    Raises:
        RuntimeError: it is the smallest or the largest that was tried.
    """
    tried = {f"{penalty:g}": ridge(penalty, start) for penalty in PENALTIES}
    errors = [found.mean().item() for found in task_errors(tried, linear_tasks(shots), num_tasks, seed).values()]
    best = errors.index(min(errors))
    if best in (0, len(PENALTIES) - 1):
        raise RuntimeError(f"the best penalty, {PENALTIES[best]:g}, is at the edge of those that were tried")
    return PENALTIES[best]


def make_cells() -> Cells:
    """Return the runs, one for each seed and number of shots."""
    return {
        f"{shots}shot-seed{seed}": Cell(
            "shift" if shots in SHIFTED_SHOTS else "shots",
            None,
            partial(run_linear, shots, seed),
            {"shots": shots, "seed": seed, "iterations": UPDATES, "task_seed": TEST_SEED + seed},
        )
        for seed in range(LINEAR_SEEDS)
        for shots in LINEAR_SHOTS
    }


def run_linear(shots: int, seed: int, setup: Setup, folder: Path) -> dict[str, Any]:
    """Meta-train one run, choose the penalties of ridge, and test all methods on the same tasks.

    Returns:
        the mean errors as scores; the penalties; and ``errors``: by "mean" and "median" over tasks, and by method, the
        error at each of the ``shifts``.
    """
    learner = meta_train_on_linear_tasks(shots, seed)
    (theta,), (alpha,) = (
        [value.detach().double()[0] for value in values.values()] for values in (learner.theta, learner.alpha)
    )
    family = linear_tasks(shots)
    penalties = {
        "ridge": best_penalty(shots, None, VALIDATION_SEED + seed),
        "ridge from the start": best_penalty(shots, theta, VALIDATION_SEED + seed),
    }
    prior = NOISE**2 / family.weight_scale**2
    methods: dict[str, Method] = {
        "meta-sgd": one_step(theta, alpha),
        "no adaptation": one_step(theta, torch.zeros_like(theta)),
        "least squares": ridge(0.0),
        "ridge": ridge(penalties["ridge"]),
        "ridge from the start": ridge(penalties["ridge from the start"], theta),
        "ideal": ridge(prior, family.weight_mean),
    }
    shifts = SHIFTS if shots in SHIFTED_SHOTS else (0.0,)
    errors: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in methods} for kind in ("mean", "median")}
    scores = []
    for shift in shifts:
        for name, found in task_errors(methods, linear_tasks(shots, shift), setup.tasks, TEST_SEED + seed).items():
            errors["mean"][name].append(round(found.mean().item(), 5))
            errors["median"][name].append(round(found.quantile(0.5).item(), 5))
            if not shift:
                scores.append(score_record(interval(found), SQUARED_ERROR, method=name, data="linear", shots=shots))
    return {"scores": scores, "penalties": penalties, "shifts": list(shifts), "errors": errors}


def linear_errors(results: Results, kind: str, method: str, shots: int) -> Tensor:
    """Return the error of a method in each run, at each shift.

    The mean error of least squares is the expected one where it is known, since that of a sample says nothing where
    the expected one is infinite.

    Args:
        results: those of this experiment.
        kind: ``"mean"`` or ``"median"``, over the test tasks.
        method: e.g. ``"ridge"``.
        shots: support examples.

    Returns:
        float64 of shape (runs, shifts).
    """
    cells = results.select(shots=shots)
    errors = torch.tensor([cell["errors"][kind][method] for cell in cells], dtype=torch.float64)
    if (kind, method) == ("mean", "least squares") and shots >= len(WEIGHT_MEAN):
        return torch.full_like(errors, linear_tasks(shots).expected_least_squares_loss())
    return errors


def crossing(x: Tensor, ours: Tensor, other: Tensor) -> Tensor:
    """Return from which x on another method's error stays smaller than ours.

    Args:
        x: what is varied, rising, of shape (values,).
        ours: errors of shape (runs, values).
        other: errors of the same shape.

    Returns:
        the x of each run, of shape (runs,); infinity where the other one is not smaller at the largest x.

    >>> errors = torch.tensor([[3.0, 2.0, 1.5], [3.0, 2.0, 0.5]])
    >>> crossing(torch.tensor([1.0, 2.0, 4.0]), torch.tensor([[2.0, 2.5, 2.0]] * 2), errors)
    tensor([2., 2.])
    """
    smaller = (other < ours).flip(1).cumprod(1).flip(1)  # from here on to the end
    first = smaller.argmax(1)
    return torch.where(smaller.any(1), x[first].double(), torch.inf).to(x.dtype)


LINEAR = Experiment(
    name="linear",
    description="Where a learned step stops paying on linear regression: against ridge and least squares, by runs",
    cells=make_cells,
    recipe=None,
    tasks=2000,
)
