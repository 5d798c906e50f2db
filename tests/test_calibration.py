"""Log-likelihoods and calibration errors, held against slow, obvious ones."""

import math

import pytest
import torch
import torch.nn.functional as F

from metasgd import Task, evaluate
from metasgd.calibration import (
    calibration,
    error_over_tasks,
    expected_calibration_error,
    negative_log_likelihood,
    sums_by_bin,
)


def obvious_nll(logits, labels):
    """Answer by answer, from the definition of the softmax."""
    losses = []
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        total = sum(math.exp(value) for value in row)
        losses.append(-math.log(math.exp(row[label]) / total))
    return sum(losses) / len(losses)


def obvious_error(logits, labels, bins):
    """Bin by bin, with a list of the answers in each."""
    rows = logits.double().softmax(1).tolist()
    answers = [(max(row), row.index(max(row)) == label) for row, label in zip(rows, labels.tolist(), strict=True)]
    error = 0.0
    for number in range(bins):
        inside = [one for one in answers if number / bins < one[0] <= (number + 1) / bins]
        if inside:
            confidence = sum(sure for sure, _ in inside) / len(inside)
            share = sum(right for _, right in inside) / len(inside)
            error += len(inside) / len(answers) * abs(confidence - share)
    return error


@pytest.fixture
def answers():
    generator = torch.Generator().manual_seed(0)
    return 2 * torch.randn(300, 4, generator=generator), torch.randint(4, (300,), generator=generator)


def test_the_log_likelihood_is_that_of_the_definition(answers):
    assert negative_log_likelihood(*answers) == pytest.approx(obvious_nll(*answers), rel=1e-6)


@pytest.mark.parametrize("bins", [1, 7, 15])
def test_the_calibration_error_is_that_of_the_definition(answers, bins):
    assert expected_calibration_error(*answers, bins=bins) == pytest.approx(obvious_error(*answers, bins), abs=1e-12)


def test_one_who_is_always_sure_and_wrong_in_a_quarter_is_off_by_a_quarter():
    logits = torch.tensor([[99.0, 0.0]] * 4)
    assert expected_calibration_error(logits, torch.tensor([0, 0, 0, 1])) == pytest.approx(0.25)


def test_answers_drawn_from_their_own_probabilities_are_calibrated():
    """With 40,000 answers, each bin's share of right ones is within about 0.01 of the confidence by chance."""
    generator = torch.Generator().manual_seed(1)
    logits = 2 * torch.randn(40_000, 5, generator=generator)
    labels = torch.multinomial(logits.softmax(1), 1, generator=generator).squeeze(1)
    assert expected_calibration_error(logits, labels) < 0.01
    assert expected_calibration_error(3 * logits, labels) > 0.1


def test_examples_without_a_label_do_not_count(answers):
    logits, labels = answers
    some = labels.clone()
    some[::3] = -100
    kept = some != -100
    for measure in (negative_log_likelihood, expected_calibration_error):
        assert measure(logits, some) == pytest.approx(measure(logits[kept], labels[kept]), abs=1e-12)
        with pytest.raises(ValueError, match="all labels are -100"):
            measure(logits, torch.full_like(labels, -100))


def test_no_bins_are_refused(answers):
    with pytest.raises(ValueError, match="bins is 0"):
        expected_calibration_error(*answers, bins=0)


class Guesses:
    """Tasks of six queries whose logits are the queries themselves."""

    device = torch.device("cpu")

    def sample(self, num_tasks, generator=None):
        x = 2 * torch.randn(num_tasks, 6, 3, generator=generator)
        y = torch.randint(3, (num_tasks, 6), generator=generator)
        return Task(x, y, x, y)


def read_directly(support_x, support_y, query_x):
    return query_x


def test_many_tasks_are_those_of_evaluate_and_their_answers_are_taken_together():
    found = calibration(read_directly, Guesses(), 50, seed=3)
    accuracy = evaluate(read_directly, Guesses(), 50, seed=3)
    nll = evaluate(read_directly, Guesses(), 50, seed=3, metric=negative_log_likelihood)
    torch.testing.assert_close(found.accuracy.per_task, accuracy.per_task)
    torch.testing.assert_close(found.nll.per_task, nll.per_task)
    generator = torch.Generator().manual_seed(3)
    drawn = [Guesses().sample(20, generator) for _ in range(3)]
    logits, labels = (torch.cat([part[field] for part in drawn])[:50] for field in (2, 3))
    together = expected_calibration_error(logits.flatten(0, 1), labels.flatten())
    assert found.error.mean == pytest.approx(together, abs=1e-12)


def test_the_interval_of_the_error_is_the_jackknife_over_tasks():
    generator = torch.Generator().manual_seed(2)
    logits, labels = torch.randn(12, 30, 3, generator=generator), torch.randint(3, (12, 30), generator=generator)
    found = error_over_tasks(torch.stack([sums_by_bin(*task, 5) for task in zip(logits, labels, strict=True)]))
    without = torch.tensor(
        [
            obvious_error(
                torch.cat([logits[:left], logits[left + 1 :]]).flatten(0, 1),
                torch.cat([labels[:left], labels[left + 1 :]]).flatten(),
                5,
            )
            for left in range(12)
        ],
        dtype=torch.float64,
    )
    variance = 11 / 12 * (without - without.mean()).square().sum()
    assert found.half_width == pytest.approx(1.96 * variance.sqrt().item(), rel=1e-6)


def test_the_log_likelihood_agrees_with_cross_entropy(answers):
    logits, labels = answers
    assert negative_log_likelihood(logits, labels) == pytest.approx(
        F.cross_entropy(logits.double(), labels).item(), rel=1e-12
    )
