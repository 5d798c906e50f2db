"""Rates for what adapts alone; parameters that would never train are refused."""

import copy
import io

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metasgd import MetaSGD, Task
from metasgd.rates import SharedRates

EVERY = pytest.mark.parametrize("strategy", ["loop", "threads", "batched"])


def net(frozen: bool = False) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))
    model[0].register_buffer("scale", torch.ones(1000))
    model[0].requires_grad_(not frozen)
    return model


def tasks() -> Task:
    generator = torch.Generator().manual_seed(1)
    return Task(*(torch.randn(3, 5, size, generator=generator) for size in (3, 2, 3, 2)))


@EVERY
def test_alpha_is_kept_for_what_adapts_and_for_nothing_else(strategy):
    learner = MetaSGD(net(frozen=True), F.mse_loss, strategy=strategy)
    assert list(learner.alpha) == ["2.weight", "2.bias"]
    assert [key for key in learner.state_dict() if key.startswith("rates")] == ["rates.2.weight", "rates.2.bias"]
    before = copy.deepcopy(learner)
    learner.meta_update(tasks())
    assert not torch.equal(learner.alpha["2.bias"], before.alpha["2.bias"])
    assert torch.equal(learner.theta["0.weight"], before.theta["0.weight"])


def test_what_is_frozen_makes_no_difference_to_the_rates_that_are_drawn():
    whole, part = MetaSGD(net()), MetaSGD(net(frozen=True))
    assert all(torch.equal(whole.alpha[name], rate) for name, rate in part.alpha.items())


def test_rates_may_be_given_for_all_parameters_or_for_those_that_adapt():
    rates = {name: torch.full_like(value, 0.5) for name, value in net().named_parameters()}
    for given in (rates, {name: rate for name, rate in rates.items() if name.startswith("2")}):
        assert MetaSGD(net(frozen=True), task_lr=given).alpha["2.bias"].tolist() == [0.5, 0.5]


def test_a_state_with_rates_of_frozen_parameters_and_copies_of_buffers_is_loaded():
    """As versions before 0.2 stored it: ``rates`` was a copy of the model."""
    learner = MetaSGD(net(frozen=True), F.mse_loss)
    learner.meta_update(tasks())
    state = learner.state_dict()
    ballast = {name.replace("model", "rates", 1): value for name, value in state.items() if name.startswith("model.0")}
    assert len(ballast) == 3
    file = io.BytesIO()
    torch.save({**state, **ballast}, file)
    file.seek(0)
    fresh = MetaSGD(net(frozen=True), F.mse_loss, seed=9)
    fresh.load_state_dict(torch.load(file, weights_only=True))
    assert all(torch.equal(fresh.alpha[name], rate) for name, rate in learner.alpha.items())
    with pytest.raises(RuntimeError, match=r"Unexpected key"):
        fresh.load_state_dict({**state, "rates.3.weight": torch.ones(1)})


@EVERY
@pytest.mark.parametrize("use", ["meta_update", "meta_loss", "predict_tasks"])
def test_a_parameter_unfrozen_later_is_refused(strategy, use):
    learner = MetaSGD(net(frozen=True), F.mse_loss, strategy=strategy)
    learner.model[0].requires_grad_(True)
    with pytest.raises(ValueError, match=r"parameter '0.weight' had no requires_grad.*make a new learner"):
        getattr(learner, use)(tasks())


@EVERY
@pytest.mark.parametrize("use", ["meta_update", "meta_loss", "predict_tasks"])
def test_a_learner_with_nothing_left_to_adapt_is_refused(strategy, use):
    learner = MetaSGD(net(), F.mse_loss, strategy=strategy).requires_grad_(False)
    with pytest.raises(ValueError, match=r"no parameter of the model has requires_grad any more"):
        getattr(learner, use)(tasks())


@EVERY
@pytest.mark.parametrize("kind", [MetaSGD, SharedRates])
def test_a_parameter_frozen_later_stays(strategy, kind):
    options = {"shared": "layer"} if kind is SharedRates else {}
    learner = kind(net(), F.mse_loss, strategy=strategy, **options)
    learner.model[0].requires_grad_(False)
    before = copy.deepcopy(learner)
    learner.meta_update(tasks())
    for name in learner.theta:
        assert torch.equal(learner.theta[name], before.theta[name]) == name.startswith("0")
        assert torch.equal(learner.alpha[name], before.alpha[name]) == name.startswith("0")


@EVERY
def test_a_parameter_exchanged_later_is_refused(strategy):
    learner = MetaSGD(net(), F.mse_loss, strategy=strategy)
    learner.model[2] = nn.Linear(4, 2)
    with pytest.raises(ValueError, match=r"parameter '2.weight' is another one than when the learner was made"):
        learner.meta_update(tasks())


class Weighted(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, prediction, target):
        return self.weight * F.mse_loss(prediction, target)


@pytest.mark.parametrize("argument", ["loss_fn", "query_loss_fn"])
def test_a_loss_with_parameters_of_its_own_is_refused(argument):
    losses = {"loss_fn": F.mse_loss, argument: Weighted()}
    with pytest.raises(ValueError, match=r"the loss Weighted has a trainable parameter 'weight'.*requires_grad_"):
        MetaSGD(net(), **losses)
    losses[argument].requires_grad_(False)
    assert MetaSGD(net(), **losses).meta_update(tasks())["loss"] > 0


def test_models_that_cannot_be_trained_are_refused():
    with torch.inference_mode():
        model = net()
    with pytest.raises(ValueError, match=r"parameter '0.weight' was made under torch.inference_mode"):
        MetaSGD(model)
    with pytest.raises(ValueError, match=r"parameter 'weight' has no shape yet; call the model once"):
        MetaSGD(nn.LazyLinear(2))


def test_names_with_dots_and_numbers_are_those_of_the_model():
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ParameterDict({"a": torch.ones(2), "b": torch.ones(1)})
            self.rest = nn.ParameterList([torch.ones(3)])
            self.layer = torch.nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))
            self.again = self.layer

    learner = MetaSGD(Odd())
    assert list(learner.alpha) == list(learner.theta)
    assert list(copy.deepcopy(learner).alpha) == list(learner.theta)
