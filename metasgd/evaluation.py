"""How well a method adapts: its score on many tasks that it has never seen, with an interval (chapter 8)."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from metasgd._core.checks import check_num_tasks
from metasgd._core.task import Task, as_list
from metasgd.meta_sgd import MetaSGD
from metasgd.tasks import EpisodeSampler

Method = Callable[[Tensor, Tensor, Tensor], Tensor]
DRAW = 20  # tasks drawn at a time


class Sampler(Protocol):
    """Anything that draws tasks."""

    device: torch.device

    def sample(self, num_tasks: int, generator: torch.Generator | None = None) -> Task:
        """Draw a batch of tasks."""
        ...


class Evaluation(NamedTuple):
    """The mean over tasks, the half-width of its 95% interval, and the value of every task, shape (tasks,)."""

    mean: float
    half_width: float
    per_task: Tensor


def accuracy(prediction: Tensor, target: Tensor) -> float:
    """Return the fraction of examples whose largest output, shape (examples, ways), is the target's."""
    return (prediction.argmax(-1) == target).double().mean().item()


def mean_squared_error(prediction: Tensor, target: Tensor) -> float:
    """Return the mean squared error.

    Raises:
        ValueError: the shapes differ, so that broadcasting would compare every prediction with every target.
    """
    if prediction.shape != target.shape:
        raise ValueError(f"predictions have shape {tuple(prediction.shape)}, targets {tuple(target.shape)}")
    return (prediction - target).double().square().mean().item()


def interval(values: Tensor) -> Evaluation:
    """Return the mean of independent values with its 95% interval, ``1.96 * standard deviation / sqrt(n)``.

    >>> mean, half_width, _ = interval(torch.tensor([0.5, 0.7, 0.6, 0.8]))
    >>> f"{mean:.2f} ± {half_width:.2f}"
    '0.65 ± 0.13'
    """
    values = values.double()
    half_width = 1.96 * values.std().item() / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return Evaluation(values.mean().item(), half_width, values)


def evaluate(
    method: Method,
    sampler: Sampler,
    num_tasks: int = 600,
    *,
    seed: int = 0,
    metric: Callable[[Tensor, Tensor], float] | None = None,
    progress: bool = False,
) -> Evaluation:
    """Score a method on ``num_tasks`` tasks: the same seed gives every method the same tasks (chapter 8).

    Args:
        method: ``method(support_x, support_y, query_x) -> prediction`` for one task: a ``MetaSGD`` learner, or a
            function of ``metasgd.baselines``.
        sampler: where tasks come from.
        num_tasks: how many.
        seed: of the tasks.
        metric: ``metric(prediction, query_y) -> float`` (None: accuracy for integer targets, else mean squared error).
        progress: show a bar on standard error.

    Raises:
        ValueError: fewer than one task.
    """
    check_num_tasks(num_tasks)
    generator = torch.Generator(sampler.device).manual_seed(seed)
    values: list[float] = []
    with tqdm(total=num_tasks, disable=not progress, unit="task") as bar:
        while len(values) < num_tasks:
            # Always drawn DRAW at a time, so that 100 tasks are the first 100 of 600.
            tasks = sampler.sample(DRAW, generator)
            tasks = Task(*(field[: num_tasks - len(values)] for field in tasks))
            score = metric or (mean_squared_error if tasks.query_y.is_floating_point() else accuracy)
            with torch.no_grad():
                predictions = predict_all(method, tasks)
            values += map(score, predictions, tasks.query_y)
            bar.update(len(predictions))
    return interval(torch.tensor(values, dtype=torch.float64))


def confusion_counts(
    method: Method, sampler: EpisodeSampler, num_tasks: int = 600, *, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Return which classes each task has, and what is taken for what in it, on the tasks of ``evaluate`` (chapter 12).

    Both are int64 on the CPU: the classes, by their places in the sampler's images, of shape (tasks, ways); and
    counts, (tasks, ways, ways), in row i and column j of queries of a task's i-th class that were taken for its j-th.

    Args:
        method: as in ``evaluate``.
        sampler: where tasks come from.
        num_tasks: how many.
        seed: of the tasks.

    Raises:
        ValueError: fewer than one task.
    """
    check_num_tasks(num_tasks)
    generator = torch.Generator(sampler.device).manual_seed(seed)
    classes, counts = [], []
    for _ in range(0, num_tasks, DRAW):
        before = generator.get_state()
        classes.append(sampler.draw_classes(DRAW, generator))  # which is the first thing that ``sample`` draws, too
        generator.set_state(before)
        tasks = sampler.sample(DRAW, generator)
        with torch.no_grad():
            predictions = predict_all(method, tasks)
        for prediction, target in zip(predictions, tasks.query_y, strict=True):
            pairs = sampler.ways * target + prediction.argmax(-1)
            counts.append(pairs.bincount(minlength=sampler.ways**2).reshape(sampler.ways, sampler.ways))
    return torch.cat(classes)[:num_tasks].cpu(), torch.stack(counts)[:num_tasks].cpu()


def predict_all(method: Method, tasks: Task) -> Sequence[Tensor] | Tensor:
    """Return the method's predictions for a batch of tasks: at once where it can, else one after the other."""
    if isinstance(method, MetaSGD):
        return method.predict_tasks(tasks)
    return [method(task.support_x, task.support_y, task.query_x) for task in as_list(tasks)]
