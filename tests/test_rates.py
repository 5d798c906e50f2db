"""Shared and frozen rates, against an explicit scalar in float64, and what is done to a trained alpha."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from metasgd import MetaSGD, Task, rates
from metasgd.models import convnet
from metasgd.rates import SharedRates


def network() -> nn.Sequential:
    """Two layers, the same at every call."""
    model = nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Linear(3, 2))
    generator = torch.Generator().manual_seed(0)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.get_default_dtype())
    return model


def tasks(count: int = 3) -> Task:
    generator = torch.Generator().manual_seed(1)

    def part(examples: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(count, examples, 2, generator=generator, dtype=torch.get_default_dtype())
        return x, torch.randint(2, (count, examples), generator=generator)

    return Task(*part(4), *part(5))


def explicit_gradients(keys: dict[str, str], start: float, *, steps: int) -> tuple[Tensor, dict[str, Tensor]]:
    """Meta-loss and its gradient in one scalar for each key, by a plain loop in which the rate is that scalar."""
    model = network()
    scalars = {key: torch.tensor(start, requires_grad=True) for key in dict.fromkeys(keys.values())}
    losses = []
    for support_x, support_y, query_x, query_y in zip(*tasks(), strict=True):
        params = dict(model.named_parameters())
        for _ in range(steps):
            loss = F.cross_entropy(functional_call(model, params, (support_x,)), support_y)
            gradients = torch.autograd.grad(loss, list(params.values()), create_graph=True)
            params = {
                name: value - scalars[keys[name]] * gradient if name in keys else value
                for (name, value), gradient in zip(params.items(), gradients, strict=True)
            }
        losses.append(F.cross_entropy(functional_call(model, params, (query_x,)), query_y))
    loss = torch.stack(losses).mean()
    return loss, dict(zip(scalars, torch.autograd.grad(loss, list(scalars.values())), strict=True))


LAYER = {"0.weight": "0", "0.bias": "0", "2.weight": "2", "2.bias": "2"}
TENSOR = {name: name for name in LAYER}


@pytest.mark.parametrize("strategy", ["loop", "threads", "batched"])
@pytest.mark.parametrize(("shared", "keys"), [("tensor", TENSOR), ("layer", LAYER), ("all", dict.fromkeys(LAYER, ""))])
def test_the_gradient_of_a_shared_rate_is_that_of_an_explicit_scalar(float64, strategy, shared, keys):
    """Two inner steps, so that the rate enters in a product, too. Float64: equal to rounding."""
    learner = SharedRates(network(), shared=shared, task_lr=0.3, inner_steps=2, strategy=strategy)
    loss = learner.meta_backward(tasks())
    expected_loss, expected = explicit_gradients(keys, 0.3, steps=2)
    torch.testing.assert_close(loss, expected_loss.detach())
    for name, rate in learner.alpha.items():
        torch.testing.assert_close(rate.grad, expected[keys[name]].expand_as(rate))


def test_the_gradient_of_a_rate_that_the_head_shares_is_not_that_of_the_frozen_body(float64):
    keys = {"2.weight": "", "2.bias": ""}
    learner = SharedRates(network(), shared="all", adapts=lambda name: name in keys, task_lr=0.3, strategy="loop")
    learner.meta_backward(tasks())
    _, expected = explicit_gradients(keys, 0.3, steps=1)
    torch.testing.assert_close(learner.alpha["2.bias"].grad, expected[""].expand(2))
    assert not learner.alpha["0.weight"].grad.any()


def test_nothing_shared_and_nothing_frozen_is_meta_sgd(float64):
    options = {"task_lr": (0.1, 0.2), "strategy": "loop"}
    learners = [SharedRates(network(), **options), MetaSGD(network(), **options)]
    for _ in range(3):
        assert len({learner.meta_update(tasks())["loss"] for learner in learners}) == 1
    assert all(torch.equal(learners[0].alpha[name], rate) for name, rate in learners[1].alpha.items())


@pytest.mark.parametrize("shared", ["layer", "all"])
def test_shared_rates_stay_equal_and_learn(shared):
    """Bit for bit, in float32, whatever kernel Adam takes."""
    learner = SharedRates(convnet(2, width=3), shared=shared, task_lr=(0.1, 0.2), strategy="loop")
    start = {name: rate.detach().clone() for name, rate in learner.alpha.items()}
    pictures = torch.rand(2, 4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([[0, 1, 0, 1]] * 2)
    for _ in range(3):
        learner.meta_update(Task(pictures, labels, pictures.flip(0), labels))
    layers = {name.rpartition(".")[0] for name in learner.alpha}
    values = {rate.item() for tensor in learner.alpha.values() for rate in tensor.flatten()}
    assert len(values) == (len(layers) if shared == "layer" else 1)
    assert all(not torch.equal(start[name], rate) for name, rate in learner.alpha.items())


def test_entries_of_a_shared_rate_that_were_rounded_differently_are_made_equal():
    learner = SharedRates(network(), shared="all", strategy="loop")
    learner.alpha["2.bias"].data[1] += 1e-7
    learner.meta_update(tasks())
    assert len({rate.item() for tensor in learner.alpha.values() for rate in tensor.flatten()}) == 1


def test_a_frozen_part_keeps_rates_of_zero_and_learns_where_to_start():
    learner = SharedRates(network(), adapts=lambda name: name.startswith("2"), task_lr=0.1, strategy="loop")
    before = learner.theta["0.weight"].detach().clone()
    for _ in range(3):
        learner.meta_update(tasks())
    task = Task(*(field[0] for field in tasks()))
    adapted = learner.inner_update(task.support_x, task.support_y)
    assert not learner.alpha["0.weight"].any()
    assert not learner.alpha["0.bias"].any()
    assert torch.equal(adapted["0.weight"], learner.theta["0.weight"])
    assert not torch.equal(adapted["2.weight"], learner.theta["2.weight"])
    assert not torch.equal(before, learner.theta["0.weight"])


def test_anil_holds_the_rate_of_the_head_and_freezes_the_body():
    learner = SharedRates(network(), adapts=lambda name: name.startswith("2"), task_lr=0.4, learn_alpha=False)
    learner.meta_update(tasks())
    expected = {"0.weight": 0.0, "0.bias": 0.0, "2.weight": 0.4, "2.bias": 0.4}
    for name, rate in learner.alpha.items():
        assert torch.equal(rate, torch.full_like(rate, expected[name]))


def test_rates_that_would_become_negative_stop_at_zero():
    """Rates of 0.01 and a step of Adam of 0.05: after the first step a rate is 0, 0.01 or about 0.06."""
    options = {"task_lr": 0.01, "alpha_lr": 0.05, "strategy": "loop"}
    free, limited = SharedRates(network(), **options), SharedRates(network(), nonnegative=True, **options)
    for learner in (free, limited):
        learner.meta_update(tasks())
    assert any((rate < 0).any() for rate in free.alpha.values())
    assert all(torch.equal(rate, free.alpha[name].clamp(min=0)) for name, rate in limited.alpha.items())


def test_a_copy_shares_its_own_rates():
    learner = SharedRates(network(), shared="all", strategy="loop")
    changed = copy.deepcopy(learner)
    changed.meta_update(tasks())
    assert len({rate.item() for tensor in changed.alpha.values() for rate in tensor.flatten()}) == 1
    assert not torch.equal(changed.alpha["2.bias"], learner.alpha["2.bias"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"shared": "row"}, "sharing 'row' does not exist; choose tensor, layer, all, or None"),
        ({"adapts": lambda name: False}, r"no parameter adapts; let adapts\(\) be true for some of 0.weight, 0.bias"),
    ],
)
def test_impossible_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SharedRates(network(), **settings)


@pytest.fixture
def learner() -> MetaSGD:
    """A learner with the rates -0.2, 0.1, ... in its first tensor, 0.3 in the head's bias, and 0 elsewhere."""
    learner = MetaSGD(network(), task_lr=0.0)
    learner.alpha["0.weight"].data.copy_(torch.tensor([[-0.2, 0.1], [0.4, -0.6], [0.0, 0.3]]))
    learner.alpha["2.bias"].data.fill_(0.3)
    return learner


def test_statistics_of_rates_are_those_of_the_entries(learner):
    """Two of six entries are negative; they have 0.8 of a total size of 1.6."""
    statistics = rates.rate_statistics(learner)
    first = statistics["0.weight"]
    assert first["entries"] == 6
    assert first["mean"] == pytest.approx(0.0, abs=1e-8)
    assert first["negative"] == pytest.approx(2 / 6)
    assert first["negative_mass"] == pytest.approx(0.5)
    assert first["middle"] == pytest.approx(0.05)
    assert statistics["0.bias"]["negative_mass"] == 0


# Sum of all entries: 0 in the first tensor, 0.6 in the head; there are 6 + 3 + 6 + 2 = 17 of them.
@pytest.mark.parametrize(
    ("name", "first", "head"),
    [
        ("clipped", [0, 0.1, 0.4, 0, 0, 0.3], 0.3),
        ("absolute", [0.2, 0.1, 0.4, 0.6, 0, 0.3], 0.3),
        ("positive clipped", [-0.2, 0, 0, -0.6, 0, 0], 0),
        ("layer means", [0] * 6, 0.3),
        ("one mean", [0.6 / 17] * 6, 0.6 / 17),
        ("head", [0] * 6, 0.3),
        ("body", [-0.2, 0.1, 0.4, -0.6, 0, 0.3], 0),
        ("none", [0] * 6, 0),
    ],
)
def test_changes_of_rates_do_what_their_names_say(learner, name, first, head):
    before = learner.alpha["0.weight"].detach().clone()
    changed = rates.with_rates(learner, rates.changes_of_rates(learner)[name])
    torch.testing.assert_close(changed.alpha["0.weight"].flatten().detach(), torch.tensor(first).float())
    torch.testing.assert_close(changed.alpha["2.bias"].detach(), torch.tensor([head, head]).float())
    assert torch.equal(learner.alpha["0.weight"], before)


def test_shuffled_rates_are_the_same_numbers_elsewhere(learner):
    changed = rates.with_rates(learner, rates.changes_of_rates(learner)["shuffled"]).alpha["0.weight"].flatten()
    assert sorted(changed.tolist()) == sorted(learner.alpha["0.weight"].flatten().tolist())
    assert not torch.equal(changed, learner.alpha["0.weight"].flatten())


def test_layers_of_the_convnet_have_readable_names():
    names = rates.layers_of(convnet(5, width=2))
    assert list(names) == list(convnet(5, width=2).state_dict())
    assert [names[key] for key in ("0.weight", "1.bias", "12.weight", "17.bias")] == [
        "conv 1 weight",
        "norm 1 bias",
        "conv 4 weight",
        "head bias",
    ]


# ---------------------------------------------------------------------------------------------------------------
# Ordinary fine-tuning with learned rates


def fine_tune(learner: MetaSGD, optimizer: torch.optim.Optimizer, steps: int) -> dict[str, Tensor]:
    """Train the learner's model on the support set of a task by an optimiser of PyTorch."""
    x, y = tasks().support_x[0], tasks().support_y[0]
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(learner.model(x), y).backward()
        optimizer.step()
    return {name: value.detach() for name, value in learner.theta.items()}


def inner_steps(learner: MetaSGD, steps: int) -> dict[str, Tensor]:
    with torch.no_grad():
        return learner.inner_update(tasks().support_x[0], tasks().support_y[0], steps=steps)


def test_gradients_scaled_by_the_rates_make_sgd_the_inner_steps(float64):
    """For rates of both signs, entry by entry; and after ``remove`` no more."""
    learner = MetaSGD(network(), task_lr=(-0.2, 0.4), strategy="loop")
    expected = inner_steps(learner, 3)
    optimizer = torch.optim.SGD(learner.model.parameters(), lr=1)
    handle = rates.scale_gradients(optimizer, learner)
    torch.testing.assert_close(fine_tune(learner, optimizer, 3), expected, rtol=1e-12, atol=1e-14)
    handle.remove()
    before, rate = learner.theta["2.bias"].detach().clone(), 1.0
    fine_tune(learner, optimizer, 1)
    torch.testing.assert_close(learner.theta["2.bias"], before - rate * learner.theta["2.bias"].grad)


@pytest.mark.parametrize("shared", ["tensor", "layer", "all"])
def test_groups_of_parameters_make_sgd_the_inner_steps_where_a_tensor_has_one_rate(float64, shared):
    learner = SharedRates(network(), shared=shared, task_lr=(0.1, 0.4), strategy="loop")
    expected = inner_steps(learner, 3)
    optimizer = torch.optim.SGD(rates.parameter_groups(learner))
    assert len({group["lr"] for group in optimizer.param_groups}) == {"tensor": 4, "layer": 2, "all": 1}[shared]
    torch.testing.assert_close(fine_tune(learner, optimizer, 3), expected, rtol=1e-12, atol=1e-14)


def test_the_rate_of_a_group_is_the_mean_of_its_tensor(learner):
    learner.alpha["0.weight"].data.abs_()
    other = copy.deepcopy(learner.model)
    groups = rates.parameter_groups(learner, other)
    assert all(group["params"][0] is value for group, value in zip(groups, other.parameters(), strict=True))
    assert groups[0]["lr"] == pytest.approx(1.6 / 6)


def test_a_negative_mean_rate_is_refused(learner):
    learner.alpha["0.weight"].data.abs_()
    learner.alpha["2.bias"].data.fill_(-0.1)
    with pytest.raises(ValueError, match=r"rates of '2.bias' have the mean -0.1, .* use scale_gradients"):
        rates.parameter_groups(learner)


def test_what_adapts_may_be_a_list_of_names():
    by_name, by_function = (
        SharedRates(network(), adapts=adapts) for adapts in (["2.bias"], lambda name: name == "2.bias")
    )
    assert by_name.adapting == by_function.adapting == ["2.bias"]
    with pytest.raises(ValueError, match=r"adapts names 3.bias; the model's parameters are 0.weight"):
        SharedRates(network(), adapts=["3.bias"])
