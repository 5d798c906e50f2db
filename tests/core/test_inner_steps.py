"""Adaptation that goes on, takes other numbers of steps, or minibatches of a large support set."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metasgd import MetaSGD

pytestmark = pytest.mark.usefixtures("float64")


def make(**options: object) -> MetaSGD:
    torch.manual_seed(0)
    return MetaSGD(nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)), F.mse_loss, task_lr=0.1, **options)


def examples(count: int = 6):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 3, generator=generator), torch.randn(count, 2, generator=generator)


def assert_same(one, other):
    for name in one:
        torch.testing.assert_close(one[name], other[name], rtol=1e-13, atol=1e-15)


@pytest.mark.parametrize("context", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_three_steps_and_two_more_are_five(context):
    learner, (x, y) = make(), examples()
    with context():
        adapted = learner.inner_update(x, y, learner.inner_update(x, y, steps=3), steps=2)
        assert_same(adapted, learner.inner_update(x, y, steps=5))
    assert_same(make(inner_steps=5, inner_max_norm=None).inner_update(x, y), learner.inner_update(x, y, steps=5))


def test_the_derivative_goes_through_the_earlier_steps():
    learner, (x, y) = make(), examples()

    def query_loss(params):
        return F.mse_loss(learner.predict(x, params), y + 1)

    variables = [*learner.theta.values(), *learner.alpha.values()]
    whole = torch.autograd.grad(query_loss(learner.inner_update(x, y, steps=2)), variables)
    parts = torch.autograd.grad(query_loss(learner.inner_update(x, y, learner.inner_update(x, y))), variables)
    torch.testing.assert_close(parts, whole, rtol=1e-12, atol=1e-14)


def test_parameters_from_elsewhere_may_be_some_of_them_and_without_a_graph():
    learner, (x, y) = make(), examples()
    bias = torch.ones(2)
    adapted = learner.inner_update(x, y, {"2.bias": bias})
    twin = make()
    twin.model[2].bias.data.fill_(1)
    assert_same(adapted, twin.inner_update(x, y))
    assert not bias.requires_grad


def test_no_step_is_theta():
    learner, (x, y) = make(), examples()
    assert all(value is learner.theta[name] for name, value in learner.inner_update(x, y, steps=0).items())


def test_minibatches_go_around_the_support_set():
    learner, (x, y) = make(), examples(5)
    expected = None
    for part in ([0, 1], [2, 3], [4, 0]):
        expected = learner.inner_update(x[part], y[part], expected)
    assert_same(learner.inner_update(x, y, steps=3, batch_size=2), expected)
    assert_same(learner.inner_update(x, y, batch_size=5), learner.inner_update(x, y))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": -1}, "steps is -1; it must be a whole number of at least 0"),
        ({"steps": True}, "steps is True"),
        ({"steps": 1.0}, "steps is 1.0"),
        ({"batch_size": 0}, "batch_size is 0; it must lie between 1 and 6"),
        ({"batch_size": 7}, "batch_size is 7"),
        ({"batch_size": True}, "batch_size is True"),
        ({"params": {"weight": torch.ones(2)}}, r"'weight' of shape \(2,\), and the model has no such parameter"),
        ({"params": {"2.bias": torch.ones(3)}}, r"'2.bias' of shape \(3,\), and the model has the shape \(2,\)"),
    ],
)
def test_what_is_no_such_thing_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        make().inner_update(*examples(), **arguments)


@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf, "yes", True])
@pytest.mark.parametrize("name", ["max_norm", "inner_max_norm"])
def test_norms_that_are_none_are_refused(name, value):
    with pytest.raises(ValueError, match=f"{name} is .*; it must be a number above 0, None for no clipping"):
        make(**{name: value})


def test_gradients_are_clipped_by_default_where_there_are_several_steps():
    one, several, neither = make(), make(inner_steps=2), make(inner_steps=2, max_norm=None, inner_max_norm=3)
    assert (one.inner_max_norm, one.max_norm) == (None, None)
    assert (several.inner_max_norm, several.max_norm) == (10, 10)
    assert (neither.inner_max_norm, neither.max_norm) == (3, None)
