"""Whether probabilities say how often they are right: the log-likelihood, and the calibration error (chapter 14)."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from metasgd._core.checks import check_num_tasks
from metasgd._core.modes import no_inference_mode
from metasgd.evaluation import (
    IGNORED,
    Evaluation,
    Method,
    Sampler,
    classes_and_labels,
    interval,
    predictions_on_tasks,
)

BINS = 15  # of equal width, as in Guo et al. 2017


class Calibration(NamedTuple):
    """How often a method is right, and how well it knows that (chapter 14).

    Attributes:
        accuracy: over the tasks, each with the share of its right answers.
        nll: over the tasks, each with the mean negative log-likelihood of its answers in nats.
        error: the expected calibration error of all answers of all tasks together, between 0 and 1, with a 95%
            interval over the tasks, by the jackknife. Its ``per_task`` is empty, as a single task has too few answers.
    """

    accuracy: Evaluation
    nll: Evaluation
    error: Evaluation


def negative_log_likelihood(prediction: Tensor, target: Tensor) -> float:
    """Return the mean of ``-log p(right class)`` in nats, with p the softmax of the predictions (chapter 14).

    Uniform answers over n classes give ``log(n)``. It can be given to ``metasgd.evaluate`` as its ``metric``.

    Args:
        prediction: logits of shape (examples, ways).
        target: labels, as ``metasgd.evaluation.accuracy`` takes them; those of -100 do not count.

    Raises:
        ValueError: as ``metasgd.evaluation.accuracy``.

    >>> negative_log_likelihood(torch.zeros(3, 2), torch.tensor([0, 1, 1])) == math.log(2)
    True
    """
    logits, labels = counted(prediction, target)
    return F.cross_entropy(logits.double(), labels).item()


def expected_calibration_error(prediction: Tensor, target: Tensor, *, bins: int = BINS) -> float:
    """Return the expected calibration error of some answers (Guo, Pleiss, Sun and Weinberger 2017; chapter 14).

    An answer's confidence is the largest softmax probability. Answers are sorted by confidence into bins of equal
    width. In each bin, the share of right answers is compared with the mean confidence; the error is the mean of the
    absolute differences, in which each bin counts by its answers. So 0 is best. With few answers it comes out too
    large, as the share of right ones in a bin is then off by chance: give it the answers of many tasks together.

    Args:
        prediction: logits of shape (examples, ways).
        target: labels, as ``metasgd.evaluation.accuracy`` takes them; those of -100 do not count.
        bins: how many.

    Raises:
        ValueError: as ``metasgd.evaluation.accuracy``, or ``bins`` is below 1.

    >>> expected_calibration_error(torch.zeros(4, 2), torch.tensor([0, 0, 1, 1]))  # sure to 1/2, and right as often
    0.0
    """
    check_bins(bins)
    sums = sums_by_bin(prediction, target, bins)
    return error_of_sums(sums).item()


def calibration(
    method: Method, sampler: Sampler, num_tasks: int = 600, *, seed: int = 0, bins: int = BINS
) -> Calibration:
    """Return the accuracy, the log-likelihood and the calibration error of a method on many tasks (chapter 14).

    The tasks are those that ``metasgd.evaluate`` draws.

    Args:
        method: as in ``metasgd.evaluate``, with logits of shape (queries, ways).
        sampler: draws the tasks.
        num_tasks: the number of tasks, at least 2.
        seed: decides which tasks are drawn.
        bins: of the calibration error.

    Raises:
        ValueError: ``num_tasks`` or ``bins`` is below 1, or see ``metasgd.evaluation.accuracy``.
    """
    check_num_tasks(num_tasks)
    check_bins(bins)
    losses: list[float] = []
    found: list[Tensor] = []
    with no_inference_mode():
        for predictions, targets in predictions_on_tasks(method, sampler, num_tasks, seed):
            for prediction, target in zip(predictions, targets, strict=True):
                losses.append(negative_log_likelihood(prediction, target))
                found.append(sums_by_bin(prediction, target, bins))
    sums = torch.stack(found)  # (tasks, 3, bins)
    right = sums[:, 1].sum(1) / sums[:, 0].sum(1)
    return Calibration(interval(right), interval(torch.tensor(losses, dtype=torch.float64)), error_over_tasks(sums))


def check_bins(bins: int) -> None:
    """Refuse a number of bins below 1."""
    if bins < 1:
        raise ValueError(f"bins is {bins}; give 1 or more")


def error_over_tasks(sums: Tensor) -> Evaluation:
    """Return the calibration error of all tasks together, with a 95% interval by leaving out each task once.

    Args:
        sums: of ``sums_by_bin``, shape (tasks, 3, bins).
    """
    count, whole = len(sums), sums.sum(0)
    without = error_of_sums(whole - sums)
    half_width = 1.96 * math.sqrt((count - 1) * without.var(correction=0).item()) if count > 1 else math.nan
    return Evaluation(error_of_sums(whole).item(), half_width, torch.empty(0, dtype=torch.float64))


def sums_by_bin(prediction: Tensor, target: Tensor, bins: int) -> Tensor:
    """Return, for each bin of confidence, the answers, the right ones and the sum of their confidences.

    Returns:
        float64 of shape (3, bins), on the CPU. A confidence on the edge of two bins belongs to the lower one.
    """
    logits, labels = counted(prediction, target)
    confidence, answer = logits.double().softmax(1).max(1)
    place = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    entries = torch.stack([torch.ones_like(confidence), (answer == labels).double(), confidence])
    sums = entries.new_zeros(3, bins).index_add_(1, place, entries)
    return sums.cpu()


def error_of_sums(sums: Tensor) -> Tensor:
    """Return the calibration error from sums of shape (..., 3, bins), shape (...)."""
    answers, right, confidence = sums.unbind(-2)
    return (right - confidence).abs().sum(-1) / answers.sum(-1)


def counted(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the logits, shape (examples, ways), and the labels, shape (examples,), of the examples that count.

    Raises:
        ValueError: as ``metasgd.evaluation.accuracy``.
    """
    dimension, shape = classes_and_labels(prediction, target)
    labels = target.reshape(shape).flatten()
    logits = prediction.movedim(dimension, -1).flatten(0, -2)
    counts = labels != IGNORED
    if not counts.any():
        raise ValueError(f"all labels are {IGNORED}, which do not count; a task needs an example with a label")
    return logits[counts], labels[counts].long()
