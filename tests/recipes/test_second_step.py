"""The second step, held to the same thing written out, and to what it must and must not depend on."""

import pytest
import torch
from torch import nn

from metasgd import MetaSGD
from metasgd.recipes.second_step import with_second_step


@pytest.fixture
def learner() -> MetaSGD:
    torch.manual_seed(0)
    return MetaSGD(nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)).double(), task_lr=(0.05, 0.5))


@pytest.fixture
def task() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    draw = torch.randn((9, 6), generator=generator, dtype=torch.float64)
    return draw[:3], torch.tensor([0, 1, 2]), draw[3:]


def test_it_is_one_step_from_theta_on_both_losses(learner, task):
    """Written out with a loop over the pictures."""
    support_x, support_y, query_x = task
    answers = learner(support_x, support_y, query_x).detach().softmax(1)
    theta = {name: value.detach().clone().requires_grad_() for name, value in learner.theta.items()}

    def scores(picture: torch.Tensor) -> torch.Tensor:
        hidden = torch.tanh(theta["0.weight"] @ picture + theta["0.bias"])
        return (theta["2.weight"] @ hidden + theta["2.bias"]).log_softmax(0)

    loss, weight = 0.0, 0.0
    for picture, label in zip(support_x, support_y, strict=True):
        loss, weight = loss - scores(picture)[label] / 3, weight + 1 / 3
    for picture, answer in zip(query_x, answers, strict=True):
        share = answer.max() / 6
        loss, weight = loss - share * (answer * scores(picture)).sum(), weight + share
    (loss / weight).backward()
    with torch.no_grad():
        theta = {name: value - learner.alpha[name] * value.grad for name, value in theta.items()}
        expected = torch.stack([scores(picture) for picture in query_x])
    found = with_second_step(learner)(*task)
    torch.testing.assert_close(found.log_softmax(1), expected, rtol=0, atol=1e-12)


def test_the_learner_stays_as_it_is_and_nothing_is_recorded(learner, task):
    before = [value.clone() for value in learner.parameters()]
    found = with_second_step(learner)(*task)
    assert not found.requires_grad
    assert all(torch.equal(own, was) for own, was in zip(learner.parameters(), before, strict=True))
    assert all(value.grad is None for value in learner.parameters())


def test_the_answers_depend_on_the_other_queries_but_not_on_their_order(learner, task):
    support_x, support_y, query_x = task
    method = with_second_step(learner)
    together = method(support_x, support_y, query_x)
    turned = method(support_x, support_y, query_x.flip(0)).flip(0)
    torch.testing.assert_close(turned, together, rtol=0, atol=1e-12)
    assert not torch.allclose(method(support_x, support_y, query_x[:2]), together[:2], atol=1e-6)


def test_without_rates_nothing_changes(learner, task):
    for rate in learner.alpha.values():
        rate.data.zero_()
    torch.testing.assert_close(with_second_step(learner)(*task), learner.model(task[2]), rtol=0, atol=1e-12)
