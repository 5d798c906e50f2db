"""Score a method on many tasks that it has never seen: the mean, with a 95% interval (chapter 8)."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from metasgd._core.checks import check_num_tasks
from metasgd._core.task import Task, as_list
from metasgd.meta_sgd import MetaSGD

Method = Callable[[Tensor, Tensor, Tensor], Tensor]  # (support_x, support_y, query_x) -> prediction, of one task
TASKS_PER_DRAW = 20


class Sampler(Protocol):
    """Anything that draws tasks, such as the samplers of ``metasgd.tasks`` (chapter 7).

    Attributes:
        device: where the tasks are drawn; a generator that is passed to ``sample`` must be on this device.
    """

    device: torch.device

    def sample(self, num_tasks: int, generator: torch.Generator | None = None) -> Task:
        """Draw a batch of tasks: each of the four tensors has a leading dimension of ``num_tasks``."""
        ...


class ClassSampler(Sampler, Protocol):
    """A sampler of classification tasks that can tell which classes it draws, such as ``EpisodeSampler``.

    Attributes:
        ways: the number of classes in a task.
    """

    ways: int

    def draw_classes(self, num_tasks: int, generator: torch.Generator) -> Tensor:
        """Draw the classes of each task, int64 of shape (num_tasks, ways), as the first thing that ``sample`` does."""
        ...


class Evaluation(NamedTuple):
    """The scores of a method on many tasks (chapter 8).

    Attributes:
        mean: over the tasks.
        half_width: half the width of the 95% interval of the mean.
        per_task: the score on each task, float64 of shape (tasks,).
    """

    mean: float
    half_width: float
    per_task: Tensor


def accuracy(prediction: Tensor, target: Tensor) -> float:
    """Return the fraction of examples that are classified correctly (chapter 7).

    Args:
        prediction: one score a class, of shape (examples, ways); the class with the largest score is the answer.
        target: int64 labels of shape (examples,).
    """
    return (prediction.argmax(-1) == target).double().mean().item()


def mean_squared_error(prediction: Tensor, target: Tensor) -> float:
    """Return the mean of the squared differences of two tensors of the same shape (chapter 6).

    Raises:
        ValueError: the shapes differ; broadcasting would compare every prediction with every target.
    """
    if prediction.shape != target.shape:
        raise ValueError(f"predictions have shape {tuple(prediction.shape)}, targets {tuple(target.shape)}")
    return (prediction - target).double().square().mean().item()


def interval(values: Tensor) -> Evaluation:
    """Return the mean of n independent values with its 95% interval (chapter 7).

    The half-width is ``1.96 * standard deviation / sqrt(n)``, where the variance is that with divisor n - 1. It is NaN
    for a single value.

    Args:
        values: of shape (n,), of any dtype; computed in float64.

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
    """Score a method on ``num_tasks`` tasks (chapter 8).

    With the same seed, every method gets the same tasks, and fewer tasks are the first ones of more.

    Args:
        method: ``method(support_x, support_y, query_x) -> prediction`` for one task: a ``MetaSGD`` learner, or a
            function of ``metasgd.baselines``.
        sampler: draws the tasks.
        num_tasks: the number of tasks.
        seed: decides which tasks are drawn.
        metric: ``metric(prediction, query_y) -> float`` (None: accuracy for integer targets, else mean squared error).
        progress: show a bar on standard error.

    Raises:
        ValueError: ``num_tasks`` is below 1.
    """
    check_num_tasks(num_tasks)
    generator = torch.Generator(sampler.device).manual_seed(seed)
    values: list[float] = []
    with tqdm(total=num_tasks, disable=not progress, unit="task") as bar:
        while len(values) < num_tasks:
            # The same number is drawn each time, so that 100 tasks are the first 100 of 600.
            tasks = sampler.sample(TASKS_PER_DRAW, generator)
            tasks = Task(*(field[: num_tasks - len(values)] for field in tasks))
            score = metric or (mean_squared_error if tasks.query_y.is_floating_point() else accuracy)
            with torch.no_grad():
                predictions = predict_all(method, tasks)
            values += map(score, predictions, tasks.query_y)
            bar.update(len(predictions))
    return interval(torch.tensor(values, dtype=torch.float64))


def confusion_counts(
    method: Method, sampler: ClassSampler, num_tasks: int = 600, *, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Count which class is mistaken for which, on the same tasks that ``evaluate`` draws (chapter 12).

    Args:
        method: as in ``evaluate``, with predictions of shape (queries, ways).
        sampler: draws the tasks, and tells which classes each one has.
        num_tasks: the number of tasks.
        seed: decides which tasks are drawn.

    Returns:
        Two int64 tensors on the CPU. The first has the shape (tasks, ways): the classes of each task, as indices into
        the sampler's images. The second has the shape (tasks, ways, ways): in row i and column j, how many queries of
        the task's class i were taken for its class j.

    Raises:
        ValueError: ``num_tasks`` is below 1.
    """
    check_num_tasks(num_tasks)
    generator = torch.Generator(sampler.device).manual_seed(seed)
    classes, counts = [], []
    for _ in range(0, num_tasks, TASKS_PER_DRAW):
        # `sample` draws the classes first, so from the same state of the generator both draw the same classes.
        state = generator.get_state()
        classes.append(sampler.draw_classes(TASKS_PER_DRAW, generator))
        generator.set_state(state)
        tasks = sampler.sample(TASKS_PER_DRAW, generator)
        with torch.no_grad():
            predictions = predict_all(method, tasks)
        for prediction, target in zip(predictions, tasks.query_y, strict=True):
            pairs = sampler.ways * target + prediction.argmax(-1)
            counts.append(pairs.bincount(minlength=sampler.ways**2).reshape(sampler.ways, sampler.ways))
    return torch.cat(classes)[:num_tasks].cpu(), torch.stack(counts)[:num_tasks].cpu()


def predict_all(method: Method, tasks: Task) -> Sequence[Tensor] | Tensor:
    """Return a method's predictions for a batch of tasks, one tensor of shape (queries, ...) a task.

    A ``MetaSGD`` learner predicts for all tasks at once; any other method takes one task after the other.
    """
    if isinstance(method, MetaSGD):
        return method.predict_tasks(tasks)
    return [method(task.support_x, task.support_y, task.query_x) for task in as_list(tasks)]
