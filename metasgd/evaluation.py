"""Score a method on many tasks that it has never seen: the mean, with a 95% interval (chapter 8)."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from tqdm import tqdm

from metasgd._core.checks import check_num_tasks
from metasgd._core.modes import evaluation_mode, no_inference_mode
from metasgd._core.task import Task, Tasks, as_list, groups_of, part_of, read_tasks
from metasgd._core.trees import Tree, split
from metasgd.meta_sgd import MetaSGD

Method = Callable[[Tree, Tree, Tree], Tensor]  # (support_x, support_y, query_x) -> prediction, of one task
TASKS_PER_DRAW = 20
IGNORED = -100  # a label that does not count, as by default in PyTorch


class Sampler(Protocol):
    """Anything that draws tasks, such as the samplers of ``metasgd.tasks`` (chapter 7).

    ``evaluate`` and ``metasgd.training.train`` take any object that has these two names; it need not inherit from this
    class. What it draws at random, it should draw by the generator that it is given, on which ``evaluate`` relies for
    the same tasks for every method, and ``train`` for a run that can be repeated and resumed.

    Attributes:
        device: where the tasks are drawn. The generators that are passed to ``sample`` are on this device.

    >>> class Lines:
    ...     device = torch.device("cpu")
    ...
    ...     def sample(self, num_tasks, generator=None):
    ...         slopes = torch.randn(num_tasks, 1, 1, generator=generator)
    ...         x = torch.randn(num_tasks, 15, 1, generator=generator)  # 5 examples to adapt to, and 10 queries
    ...         return Task(x[:, :5], slopes * x[:, :5], x[:, 5:], slopes * x[:, 5:])
    >>> learner = MetaSGD(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss)
    >>> len(evaluate(learner, Lines(), num_tasks=30).per_task)
    30
    """

    device: torch.device

    def sample(self, num_tasks: int, generator: torch.Generator | None = None) -> Tasks:
        """Draw tasks.

        Args:
            num_tasks: how many.
            generator: on the sampler's ``device`` (None: the sampler may draw as it likes).

        Returns:
            A batch of tasks, each tensor with a leading dimension ``num_tasks``, or a list of as many tasks, which may
            then differ in size.
        """
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
        prediction: one score a class, of shape (examples, ways); the class with the largest score is the answer. With
            an answer for each pixel, say, the shape is (examples, ways, height, width), as ``F.cross_entropy`` has it.
            An example with a score of NaN has no answer and counts as wrong.
        target: integer labels of shape (examples,) or (examples, 1); of shape (examples, height, width) for pixels.
            Labels of -100 do not count, as in ``F.cross_entropy``.

    Raises:
        ValueError: a single score an example, shapes that do not belong together, or no label that counts.
    """
    dimension, shape = classes_and_labels(prediction, target)
    labels = target.reshape(shape)
    is_right = (prediction.argmax(dimension) == labels) & has_answer(prediction, dimension)
    is_right = is_right[labels != IGNORED]
    if not is_right.numel():
        raise ValueError(f"all labels are {IGNORED}, which accuracy leaves out; a task needs an example with a label")
    return is_right.double().mean().item()


def has_answer(prediction: Tensor, dimension: int) -> Tensor:
    """Return for each example whether all scores are numbers; ``argmax`` would take a NaN for the largest."""
    return ~prediction.isnan().any(dimension)


def classes_and_labels(prediction: Tensor, target: Tensor) -> tuple[int, torch.Size]:
    """Return which dimension of the predictions is that of the classes, and the shape of the labels without it.

    It is dimension 1, as in ``F.cross_entropy``, or the last one where the targets allow no other reading.

    Raises:
        ValueError: as ``accuracy``.
    """
    shape, labels = prediction.shape, target.shape
    given = f"predictions have shape {tuple(shape)}, and targets {tuple(labels)} are {target.dtype}"
    for dimension, expected in ((1, shape[:1] + shape[2:]), (-1, shape[:-1])):
        with_one = ((*expected[:1], 1, *expected[1:]), (*expected, 1))
        if len(shape) > 1 and shape[dimension] > 1 and labels in (expected, *with_one):
            return dimension, expected
    if prediction.numel() == target.numel():
        raise ValueError(
            f"{given}: accuracy needs a score for each class, of shape (examples, classes); pass your own metric, "
            "e.g. metric=lambda p, y: ((p > 0) == y.reshape(p.shape)).float().mean().item() for one logit an example"
        )
    raise ValueError(
        f"{given}: accuracy needs predictions of shape (examples, classes) with one label an example, of shape "
        "(examples,); pass your own metric, or such targets"
    )


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
    query_statistics: str | None = None,
    progress: bool = False,
) -> Evaluation:
    """Score a method on ``num_tasks`` tasks (chapter 8).

    With the same seed, every method gets the same tasks, and fewer tasks are the first ones of more. A method that is
    an ``nn.Module`` is tested in evaluation mode, as by ``method.eval()``, and is afterwards as it was. Every method
    runs under ``torch.no_grad()``, so a function that trains must enable gradients by ``torch.enable_grad()`` itself.

    Args:
        method: ``method(support_x, support_y, query_x) -> prediction`` for one task: a ``MetaSGD`` learner, or a
            function of ``metasgd.baselines``.
        sampler: draws the tasks, as a batch or as a list of tasks, which may then differ in size.
        num_tasks: the number of tasks.
        seed: decides which tasks are drawn.
        metric: ``metric(prediction, query_y) -> float`` (None: mean squared error for targets that are floating-point
            numbers, else accuracy).
        query_statistics: of a learner in this test, as in ``MetaSGD`` (None: what the learner itself has). By
            ``"support"`` and ``"support+query"``, an answer does not depend on the other queries (chapter 7).
        progress: show a bar on standard error.

    Raises:
        ValueError: ``num_tasks`` is below 1, the default metric cannot compare predictions with targets, or a method
            with ``query_statistics`` that has no such attribute.
    """
    check_num_tasks(num_tasks)
    values: list[float] = []
    with (
        queries_read_by(query_statistics, method),
        tqdm(total=num_tasks, disable=not progress, unit="task") as bar,
        no_inference_mode(),
    ):
        for predictions, targets in predictions_on_tasks(method, sampler, num_tasks, seed):
            values += map(metric or default_metric(predictions[0], targets[0]), predictions, targets)
            bar.update(len(targets))
    return interval(torch.tensor(values, dtype=torch.float64))


def predictions_on_tasks(
    method: Method, sampler: Sampler, num_tasks: int, seed: int
) -> Iterator[tuple[Sequence[Any], list[Any]]]:
    """Yield the predictions and the targets of some tasks, until there were all; the arguments are ``evaluate``'s."""
    generator, drawn = torch.Generator(sampler.device).manual_seed(seed), 0
    while drawn < num_tasks:
        # The same number is drawn each time, so that 100 tasks are the first 100 of 600.
        tasks = first_tasks(sampler.sample(TASKS_PER_DRAW, generator), num_tasks - drawn)
        targets = [task.query_y for task in as_list(tasks)]
        yield predict_all(method, tasks), targets
        drawn += len(targets)


@contextmanager
def queries_read_by(statistics: str | None, method: Any) -> Iterator[None]:
    """Let a learner read queries by other statistics for the body of a ``with`` (None: by its own).

    Raises:
        ValueError: statistics that do not exist, or a method that is a function, which has none to be exchanged.
    """
    if statistics is None:
        yield
        return
    if not isinstance(getattr(type(method), "query_statistics", None), str):
        raise ValueError(
            f"query_statistics={statistics!r} was given for a method of the class {type(method).__name__}, which has "
            "no such attribute; set it where the method is made, or leave it out"
        )
    before = method.query_statistics
    method.query_statistics = statistics
    try:
        yield
    finally:
        method.query_statistics = before


def default_metric(prediction: Any, target: Tree) -> Callable[[Tensor, Tensor], float]:
    """Return the metric for such predictions and targets: accuracy, or the mean squared error of floating-point ones.

    Raises:
        ValueError: one of them is no tensor.
    """
    for what, value in (("predictions", prediction), ("targets", target)):
        if not isinstance(value, Tensor):
            raise ValueError(
                f"{what} are objects of class {type(value).__name__}, of which the default metric knows nothing; pass "
                "metric=lambda prediction, query_y: ..."
            )
    return mean_squared_error if target.is_floating_point() else accuracy


def first_tasks(tasks: Tasks, count: int) -> Tasks:
    """Return the first ``count`` tasks of a batch or of a list."""
    tasks = read_tasks(tasks)
    return part_of(tasks, 0, count) if isinstance(tasks, Task) else tasks[:count]


def confusion_counts(
    method: Method,
    sampler: ClassSampler,
    num_tasks: int = 600,
    *,
    seed: int = 0,
    query_statistics: str | None = None,
) -> tuple[Tensor, Tensor]:
    """Count which class is mistaken for which, on the same tasks that ``evaluate`` draws (chapter 12).

    Args:
        method: as in ``evaluate``, with predictions of shape (queries, ways).
        sampler: draws the tasks, and tells which classes each one has.
        num_tasks: the number of tasks.
        seed: decides which tasks are drawn.
        query_statistics: as in ``evaluate``.

    Returns:
        Two int64 tensors on the CPU. The first has the shape (tasks, ways): the classes of each task, as indices into
        the sampler's images. The second has the shape (tasks, ways, ways): in row i and column j, how many queries of
        the task's class i were taken for its class j. Queries without a label, or with a score of NaN, are left out.

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
        with queries_read_by(query_statistics, method), no_inference_mode():
            predictions = predict_all(method, tasks)
        for prediction, task in zip(predictions, as_list(tasks), strict=True):
            counts_here = (task.query_y != IGNORED) & has_answer(prediction, -1)
            pairs = (sampler.ways * task.query_y + prediction.argmax(-1))[counts_here]
            counts.append(pairs.bincount(minlength=sampler.ways**2).reshape(sampler.ways, sampler.ways))
    return torch.cat(classes)[:num_tasks].cpu(), torch.stack(counts)[:num_tasks].cpu()


def predict_all(method: Method, tasks: Tasks) -> Sequence[Any]:
    """Return a method's predictions for tasks, one of shape (queries, ...) a task, in evaluation mode.

    A ``MetaSGD`` learner predicts for all tasks at once; any other method takes one task after the other.
    """
    if isinstance(method, MetaSGD):
        tasks = read_tasks(tasks)
        if isinstance(tasks, Task):
            return split(method.predict_tasks(tasks))
        # Tasks of one size together, as an output that is a list itself looks like a list of one output a task.
        by_number = {
            number: output
            for group in groups_of(tasks)
            for number, output in zip(group, split(method.predict_tasks([tasks[i] for i in group])), strict=True)
        }
        return [by_number[number] for number in range(len(tasks))]
    with torch.no_grad(), evaluation_mode(method):
        return [method(task.support_x, task.support_y, task.query_x) for task in as_list(tasks)]
