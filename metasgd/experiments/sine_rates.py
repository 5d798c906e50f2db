"""The experiment ``sine-rates``: what negative rates of a small network do, and what predicts them (chapter 11)."""

from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import functional_call, grad, vjp, vmap

from metasgd._core.adam import clipped_adam
from metasgd._core.task import Task
from metasgd.experiments.experiment import TEST_SEED, Cell, Cells, Experiment, Setup
from metasgd.experiments.results import SQUARED_ERROR, score_record
from metasgd.meta_sgd import MetaSGD
from metasgd.rates import SharedRates, changes_of_rates, rate_statistics, with_rates
from metasgd.recipes.recipe import device_of
from metasgd.recipes.sine import SineRecipe, error_on_new_curves
from metasgd.tasks import SineWaveSampler
from metasgd.training import train

SEEDS = 3
LENGTHS = (500, 1500)  # meta-updates of a run; learners without negative rates have the first
LONGEST = 3000  # those of one more run, from the first seed
CHANGES = ("clipped", "absolute", "none")
MODEL_TASKS = 400  # curves over which the quadratic model is averaged
MODEL_SEED = 7  # of these curves
# The fractions of the largest eigenvalue that are added to the diagonal of M, until M alpha = b has a minimum.
RIDGES = (0.03, 0.1, 0.3, 1.0)


def make_cells(*, seed: int = 0, **changes: Any) -> Cells:
    """Return runs of each of ``LENGTHS`` from ``SEEDS`` seeds, short ones with no rate below zero, and a long one.

    Args:
        seed: the first.
        changes: settings that differ from the book's in every run.
    """
    cells: dict[str, Cell] = {}
    runs = [("meta-sgd", LENGTHS[0]), ("nonnegative", LENGTHS[0])] + [("meta-sgd", more) for more in LENGTHS[1:]]
    all_runs = [(*run, start) for start in range(seed, seed + SEEDS) for run in runs]
    for method, length, start in [*all_runs, ("meta-sgd", LONGEST, seed)]:
        recipe = SineRecipe(**{"iterations": length, "meta_batch": 50, "seed": start} | changes)
        cell = Cell("clipping", recipe, partial(run_sine_rates, method, recipe), {"method": method})
        cells[f"{method}-{length}-seed{start}"] = cell
    return cells


def train_with_limits(
    recipe: SineRecipe,
    *,
    device: torch.device | str = "cpu",
    out: Path | None = None,
    **limits: Any,
) -> SharedRates:
    """Return the learner of sine waves, meta-trained with limits on its rates (chapter 11).

    Args:
        recipe: all other settings.
        device: where to train.
        out: folder of the checkpoint, from which an unfinished run goes on (None: none is written).
        limits: of the rates, as in ``SharedRates``.
    """
    learner = SharedRates(
        recipe.make_network(),
        F.mse_loss,
        meta_lr=recipe.meta_lr,
        task_lr=recipe.task_lr,
        meta_optimizer=clipped_adam(recipe.clip),
        strategy="batched",
        **limits,
    ).to(device)
    train(
        learner,
        recipe.training_tasks(device=device),
        recipe.iterations,
        meta_batch=recipe.meta_batch,
        seed=recipe.seed,
        schedule=recipe.schedule,
        out=out,
        resume=True,
        config=recipe.config(),
        progress=False,
    )
    return learner


def run_sine_rates(method: str, recipe: SineRecipe, setup: Setup, folder: Path) -> dict[str, Any]:
    """Train one learner, going on from its checkpoint if there is one, and test it as it is and with other rates.

    Args:
        method: ``"meta-sgd"``, or ``"nonnegative"``, whose rates may not be negative.
        recipe: settings of the run.
        setup: of all cells.
        folder: of the checkpoint.

    Returns:
        the scores, the statistics of the rates and, for free rates of the shortest runs, what
        ``signs_and_curvature`` finds.
    """
    learner = train_with_limits(recipe, device=setup.device, out=folder, nonnegative=method == "nonnegative")
    tests: dict[str | None, MetaSGD] = {None: learner}
    kept: dict[str, Any] = {"rates": rate_statistics(learner)}
    if method == "meta-sgd":
        ways = changes_of_rates(learner)
        tests |= {change: with_rates(learner, ways[change]) for change in CHANGES}
        if recipe.iterations == LENGTHS[0]:
            kept["model"] = signs_and_curvature(learner, recipe.training_tasks(device=setup.device))
    scores = [
        score_record(
            error_on_new_curves(tested, recipe.shots, num_tasks=setup.tasks, seed=TEST_SEED),
            SQUARED_ERROR,
            method=method,
            data="sine waves",
            shots=recipe.shots,
            variant=variant,
        )
        for variant, tested in tests.items()
    ]
    return {"scores": scores, **kept}


def quadratic_model(learner: MetaSGD, tasks: Task, *, chunk: int = 32) -> tuple[Tensor, Tensor]:
    """Return slope and curvature of the objective's quadratic model in the rates, around rates of zero (chapter 11).

    J(alpha) - J(0) is about -E[v * g] alpha + alpha M alpha / 2, with M_jk = E[g_j H_jk g_k]: g is the
    gradient of a support set, v and H are gradient and Hessian of the query loss, all at the learner's theta. Rates
    enter J with g held fixed, so -E[v * g] and M are its gradient and its Hessian there.

    Args:
        learner: whose model has no buffers that its forward pass changes.
        tasks: a batch of tasks, over which the mean is taken.
        chunk: columns of M that are computed at a time.

    Returns:
        E[v * g] of shape (P,) and the symmetric M of shape (P, P), with P the number of parameters, in theta's order.
    """
    shapes = {name: value.shape for name, value in learner.theta.items()}
    theta = torch.cat([value.detach().flatten() for value in learner.theta.values()])
    counts = [shape.numel() for shape in shapes.values()]

    def loss(flat: Tensor, x: Tensor, y: Tensor) -> Tensor:
        parts = zip(shapes.items(), flat.split(counts), strict=True)
        values = {name: part.reshape(shape) for (name, shape), part in parts}
        result: Tensor = learner.loss_fn(functional_call(learner.model, values, (x,)), y)
        return result

    support = vmap(grad(loss), in_dims=(None, 0, 0))(theta, tasks.support_x, tasks.support_y)

    def objective(rates: Tensor) -> Tensor:
        return vmap(loss)(theta - rates * support, tasks.query_x, tasks.query_y).mean()

    zero = torch.zeros_like(theta)
    gradient = grad(objective)
    below, pull_back, *_ = vjp(gradient, zero)
    columns = vmap(lambda direction: pull_back(direction)[0], chunk_size=chunk)
    slope = -below.detach()
    alive = slope != 0  # all other rows and columns of M are zero, since g is
    curvature = torch.zeros(len(theta), len(theta), dtype=theta.dtype, device=theta.device)
    curvature[alive] = columns(torch.eye(len(theta), dtype=theta.dtype, device=theta.device)[alive])
    return slope, (curvature + curvature.T).detach() / 2


def signs_and_curvature(learner: MetaSGD, sampler: SineWaveSampler) -> dict[str, Any]:
    """Return the ends of M's spectrum, and how well the model tells which of the learned rates are negative.

    A rate is predicted to be negative if it is so in the minimum of the model, made convex by a ridge; or, more
    simply, if the model wants it to fall from the best common rate. Both predictors give every rate a number. The
    measure is the probability that of two rates, one learned negative and one not, the negative one has the smaller
    number: 0.5 by chance, 1 for a perfect order. Rates without effect are left out.

    Args:
        learner: with the rates.
        sampler: of the curves over which the model is averaged.
    """
    device = device_of(learner)
    tasks = sampler.sample(MODEL_TASKS, torch.Generator(device).manual_seed(MODEL_SEED))
    slope, matrix = (part.double().cpu() for part in quadratic_model(learner, tasks))
    rates = torch.cat([rate.detach().flatten() for rate in learner.alpha.values()]).cpu()
    alive = slope != 0
    slope, matrix, negative = slope[alive], matrix[alive][:, alive], rates[alive] < 0
    values, vectors = torch.linalg.eigh(matrix)
    largest = values[-1].item()
    projected = vectors.T @ slope
    common = slope.sum() / matrix.sum()
    orders = {"common rate": order_of(slope - common * matrix.sum(1), negative)}
    for ridge in RIDGES:
        shifted = values + ridge * largest
        if shifted.min() > 0:
            orders[f"minimum, ridge {ridge:g}"] = order_of(vectors @ (projected / shifted), negative)
    return {
        "parameters": int(alive.sum()),
        "negative": round(negative.double().mean().item(), 4),
        "smallest eigenvalue": values[0].item(),
        "largest eigenvalue": largest,
        "negative eigenvalues": int((values < 0).sum()),
        "order": orders,
    }


def order_of(numbers: Tensor, negative: Tensor) -> float:
    """Return the probability that a negative rate has a smaller number than another rate; ties count one half.

    >>> order_of(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([True, False, False]))
    1.0
    """
    below, above = numbers[negative], numbers[~negative].sort().values
    larger = len(above) - torch.searchsorted(above, below, right=True)
    equal = torch.searchsorted(above, below, right=True) - torch.searchsorted(above, below)
    return ((larger + equal / 2).double().mean() / len(above)).item()


SINE_RATES = Experiment(
    name="sine-rates",
    description="Clipped rates of the sine network after runs of three lengths, and what predicts a rate's sign",
    cells=make_cells,
    recipe=SineRecipe,
    tasks=600,
)
