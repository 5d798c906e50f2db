"""The learner as an object: how it starts, what a meta-update changes, what it saves and what it refuses."""

import copy
import io
import math
from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd import MetaSGD, Task

BETA, GAMMA = 0.1, 0.01


def net(device: torch.device, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2)).to(device)


def draw_batch(device: torch.device, seed: int = 0, dtype: torch.dtype | None = None) -> Task:
    """A batch of three tasks of five support and five query examples: three inputs, two targets."""
    generator = torch.Generator().manual_seed(seed)
    return Task(*(torch.randn(3, 5, size, generator=generator).to(device, dtype) for size in (3, 2, 3, 2)))


def trained(learner: MetaSGD, device: torch.device, seeds: range = range(3)) -> MetaSGD:
    for seed in seeds:
        learner.meta_update(draw_batch(device, seed))
    return learner


def snapshot(learner: MetaSGD) -> list[Tensor]:
    return [value.detach().clone() for value in learner.parameters()]


def assert_same_bits(one: MetaSGD, other: MetaSGD) -> None:
    torch.testing.assert_close(snapshot(one), snapshot(other), rtol=0, atol=0)


# ---------------------------------------------------------------------------------------------------------------
# How it starts


def test_theta_is_the_model_itself(device: torch.device) -> None:
    model = net(device)
    learner = MetaSGD(model, F.mse_loss)
    assert all(learner.theta[name] is value for name, value in model.named_parameters())


def test_alpha_has_the_names_shapes_and_device_of_theta(device: torch.device) -> None:
    learner = MetaSGD(net(device))
    like = {name: (value.shape, value.device, value.dtype) for name, value in learner.theta.items()}
    assert {name: (rate.shape, rate.device, rate.dtype) for name, rate in learner.alpha.items()} == like


def test_alpha_starts_at_a_number(device: torch.device) -> None:
    learner = MetaSGD(net(device), task_lr=0.25)
    assert all((rate == 0.25).all() for rate in learner.alpha.values())


def test_alpha_starts_uniform_in_a_range(device: torch.device) -> None:
    """Of 10,000 uniform numbers the mean is within 5 / sqrt(12 * 10,000) = 0.0144 widths of the middle."""
    learner = MetaSGD(nn.Linear(100, 100).to(device), task_lr=(-1.0, 3.0))
    rate = learner.alpha["weight"].detach()
    assert -1 <= rate.min() < -0.99
    assert 2.99 < rate.max() <= 3
    assert abs(rate.mean().item() - 1) < 0.0144 * 4


def test_alpha_starts_the_same_where_pytorch_makes_tensors_elsewhere() -> None:
    """As after ``torch.set_default_device("cuda")``; here the other device is one that every machine has."""
    model = net(torch.device("cpu"))
    expected = MetaSGD(model, seed=3).alpha
    with torch.device("meta"):
        found = MetaSGD(model, seed=3).alpha
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_alpha_starts_at_a_copy_of_given_tensors(device: torch.device) -> None:
    given = {"weight": torch.tensor([[0.5, -0.25]]), "bias": torch.tensor([2.0])}
    learner = MetaSGD(nn.Linear(2, 1).to(device), task_lr=given)
    given["bias"].zero_()
    assert learner.alpha["weight"].tolist() == [[0.5, -0.25]]
    assert learner.alpha["bias"].tolist() == [2.0]


def test_the_same_seed_draws_the_same_alpha(device: torch.device) -> None:
    first, again, other = (MetaSGD(net(device), seed=seed).alpha["0.weight"] for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_predict_uses_theta_or_the_given_parameters(device: torch.device) -> None:
    learner, x = MetaSGD(net(device)), draw_batch(device).support_x[0]
    zeros = {name: torch.zeros_like(value) for name, value in learner.theta.items()}
    assert torch.equal(learner.predict(x), learner.model(x))
    assert torch.equal(learner.predict(x, zeros), torch.zeros(5, 2, device=device))
    assert learner.theta["0.weight"].abs().min() > 0  # the zeros went through, they did not go in


def test_forward_adapts_and_then_predicts(device: torch.device) -> None:
    learner, task = MetaSGD(net(device), F.mse_loss), draw_batch(device)
    support_x, support_y, query_x, _ = (values[0] for values in task)
    expected = learner.predict(query_x, learner.inner_update(support_x, support_y))
    assert torch.equal(learner(support_x, support_y, query_x), expected)


# ---------------------------------------------------------------------------------------------------------------
# What a meta-update changes


@pytest.mark.parametrize(("alpha_lr", "gamma"), [(GAMMA, GAMMA), (None, BETA), (0, 0)])
def test_sgd_steps_theta_by_meta_lr_and_alpha_by_alpha_lr(
    alpha_lr: float | None, gamma: float, device: torch.device
) -> None:
    """theta <- theta - beta * gradient and alpha <- alpha - gamma * gradient, to the rounding of float64."""
    learner = MetaSGD(
        net(device).double(), F.mse_loss, meta_lr=BETA, alpha_lr=alpha_lr, meta_optimizer=torch.optim.SGD
    )
    batch = draw_batch(device, dtype=torch.float64)
    theta, alpha = list(learner.theta.values()), list(learner.alpha.values())
    gradients = torch.autograd.grad(learner.meta_loss(batch), [*theta, *alpha])
    rates = [BETA] * len(theta) + [gamma] * len(alpha)
    expected = [
        value.detach() - rate * gradient
        for value, rate, gradient in zip([*theta, *alpha], rates, gradients, strict=True)
    ]
    learner.meta_update(batch)
    after = [value.detach() for value in [*learner.theta.values(), *learner.alpha.values()]]
    torch.testing.assert_close(after, expected, rtol=1e-12, atol=1e-14)


def test_meta_update_returns_the_loss_before_the_step(device: torch.device) -> None:
    learner, batch = MetaSGD(net(device), F.mse_loss, meta_lr=0.1), draw_batch(device)
    before = learner.meta_loss(batch).item()
    metrics = learner.meta_update(batch)
    assert metrics == {"loss": pytest.approx(before, rel=1e-5)}  # float32: a mean of three, in another order
    assert learner.meta_loss(batch).item() != pytest.approx(before, rel=1e-3)


def test_gradients_left_from_elsewhere_do_not_leak_into_a_meta_step(device: torch.device) -> None:
    clean, dirty = (MetaSGD(net(device), F.mse_loss) for _ in range(2))
    for parameter in dirty.parameters():
        parameter.grad = torch.full_like(parameter, 100.0)
    assert_same_bits(trained(clean, device), trained(dirty, device))


def test_meta_training_lowers_the_loss_after_adaptation(device: torch.device) -> None:
    """Tasks that share one linear map: its loss goes from about 1 to almost nothing."""
    learner = MetaSGD(nn.Linear(3, 2).to(device), F.mse_loss, meta_lr=0.05, task_lr=0.01)
    shared = torch.randn(3, 2, generator=torch.Generator().manual_seed(0)).to(device)

    def tasks(seed: int) -> Task:
        support_x, _, query_x, _ = draw_batch(device, seed)
        return Task(support_x, support_x @ shared, query_x, query_x @ shared)

    losses = [learner.meta_update(tasks(seed))["loss"] for seed in range(100)]
    assert losses[-1] < 0.01 * losses[0]


def test_maml_is_meta_sgd_with_alpha_held_fixed(device: torch.device) -> None:
    """Three steps against MAML (Finn et al. 2017, Algorithm 1) written out: its inner rate is one number."""
    inner_rate = 0.3
    learner = MetaSGD(
        net(device).double(),
        F.mse_loss,
        meta_lr=BETA,
        task_lr=inner_rate,
        learn_alpha=False,
        meta_optimizer=torch.optim.SGD,
    )
    theta = [value.detach().clone().requires_grad_() for value in learner.theta.values()]

    def loss(params: list[Tensor], x: Tensor, y: Tensor) -> Tensor:
        w1, b1, w2, b2 = params
        return ((torch.tanh(x @ w1.T + b1) @ w2.T + b2 - y) ** 2).mean()

    for seed in range(3):
        batch = draw_batch(device, seed, dtype=torch.float64)
        query_losses = []
        for x_train, y_train, x_val, y_val in zip(*batch, strict=True):
            gradients = torch.autograd.grad(loss(theta, x_train, y_train), theta, create_graph=True)
            adapted = [p - inner_rate * g for p, g in zip(theta, gradients, strict=True)]
            query_losses.append(loss(adapted, x_val, y_val))
        meta_gradients = torch.autograd.grad(sum(query_losses) / 3, theta)
        theta = [(p - BETA * g).detach().requires_grad_() for p, g in zip(theta, meta_gradients, strict=True)]
        learner.meta_update(batch)

    torch.testing.assert_close(list(learner.theta.values()), theta, rtol=1e-10, atol=1e-12)
    assert all((rate == inner_rate).all() and rate.grad is None for rate in learner.alpha.values())


def test_frozen_parameters_stay_inside_and_outside(device: torch.device) -> None:
    model = net(device)
    model[0].requires_grad_(False)
    learner, batch = MetaSGD(model, F.mse_loss), draw_batch(device)
    before = copy.deepcopy(learner)
    adapted = learner.inner_update(batch.support_x[0], batch.support_y[0])
    learner.meta_update(batch)
    for name in learner.theta:
        frozen = name.startswith("0.")
        assert torch.equal(adapted[name], before.theta[name]) == frozen
        assert torch.equal(learner.theta[name], before.theta[name]) == frozen
        assert frozen or not torch.equal(learner.alpha[name], before.alpha[name])


def test_the_outer_optimiser_gets_neither_frozen_parameters_nor_their_rates(device: torch.device) -> None:
    model = net(device)
    model[0].requires_grad_(False)
    learner = MetaSGD(model, F.mse_loss)
    groups = [{id(p) for p in group["params"]} for group in learner.meta_optimizer.param_groups]
    assert groups == [
        {id(value) for name, value in values.items() if not name.startswith("0.")}
        for values in (learner.theta, learner.alpha)
    ]
    assert list(learner.alpha) == ["2.weight", "2.bias"]


def test_inner_update_leaves_theta_and_its_gradients_alone(device: torch.device) -> None:
    learner, batch = MetaSGD(net(device), F.mse_loss), draw_batch(device)
    before = snapshot(learner)
    learner.inner_update(batch.support_x[0], batch.support_y[0])
    assert all(torch.equal(value, old) for value, old in zip(learner.parameters(), before, strict=True))
    assert all(value.grad is None for value in learner.parameters())


# ---------------------------------------------------------------------------------------------------------------
# What it saves, copies and moves. Equal bits are asked for: the same operations in the same order.


def test_the_same_seeds_give_the_same_bits(device: torch.device) -> None:
    assert_same_bits(*(trained(MetaSGD(net(device), F.mse_loss, seed=3), device) for _ in range(2)))


def test_a_saved_state_continues_like_the_original(device: torch.device) -> None:
    """Through a file's bytes and back: without Adam's moments the two would part at the next step."""
    original = trained(MetaSGD(net(device), F.mse_loss), device)
    file = io.BytesIO()
    torch.save(original.state_dict(), file)
    file.seek(0)
    restored = MetaSGD(net(device, seed=99), F.mse_loss, seed=99)
    restored.load_state_dict(torch.load(file, weights_only=True))
    assert_same_bits(restored, original)
    assert_same_bits(trained(restored, device, range(3, 6)), trained(original, device, range(3, 6)))


def test_loading_a_state_copies_it(device: torch.device) -> None:
    """Training the one learner first must not push the other's moments along."""
    original = trained(MetaSGD(net(device), F.mse_loss), device)
    restored = MetaSGD(net(device), F.mse_loss)
    restored.load_state_dict(original.state_dict())
    trained(original, device, range(3, 6))
    assert_same_bits(trained(restored, device, range(3, 6)), original)


def test_a_deep_copy_trains_on_its_own(device: torch.device) -> None:
    original = trained(MetaSGD(net(device), F.mse_loss), device)
    before, twin = snapshot(original), copy.deepcopy(original)
    trained(twin, device, range(3, 6))
    assert all(torch.equal(value, old) for value, old in zip(original.parameters(), before, strict=True))
    assert_same_bits(trained(original, device, range(3, 6)), twin)


def test_conversion_takes_the_optimiser_along(device: torch.device) -> None:
    """``.double()`` goes the way of ``.to(device)``: parameters, rates and Adam's moments change together."""
    learner = trained(MetaSGD(net(device), F.mse_loss), device).double()
    moments = [entry["exp_avg"] for entry in learner.meta_optimizer.state.values()]
    assert len(moments) == len(list(learner.parameters())) == 8
    assert {moment.dtype for moment in moments} == {torch.float64}
    before = snapshot(learner)
    learner.meta_update(draw_batch(device, dtype=torch.float64))
    assert not any(torch.equal(value, old) for value, old in zip(learner.parameters(), before, strict=True))


def test_a_learner_moved_to_the_device_trains_there(device: torch.device) -> None:
    learner = trained(MetaSGD(net(torch.device("cpu")), F.mse_loss), torch.device("cpu")).to(device)
    trained(learner, device)
    moments = [entry["exp_avg"] for entry in learner.meta_optimizer.state.values()]
    assert {value.device.type for value in [*moments, *learner.parameters()]} == {device.type}


# ---------------------------------------------------------------------------------------------------------------
# What it refuses


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (nn.BatchNorm1d(2), "BatchNorm1d"),
        (nn.BatchNorm2d(2), "BatchNorm2d"),
        (nn.BatchNorm3d(2), "BatchNorm3d"),
        (nn.SyncBatchNorm(2), "SyncBatchNorm"),
        (nn.InstanceNorm2d(2, track_running_stats=True), "InstanceNorm2d"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_running_statistics_are_refused(module: nn.Module, name: str) -> None:
    with pytest.raises(ValueError, match=rf"module '1' \({name}\) .* track_running_stats=False"):
        MetaSGD(nn.Sequential(nn.Conv2d(1, 2, 3), module))


def test_a_model_without_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="Flatten has no trainable parameters"):
        MetaSGD(nn.Flatten())


def test_a_model_with_only_frozen_parameters_is_refused() -> None:
    with pytest.raises(ValueError, match="Linear has no trainable parameters"):
        MetaSGD(nn.Linear(2, 2).requires_grad_(False))


def test_zero_inner_steps_are_refused() -> None:
    with pytest.raises(ValueError, match="inner_steps is 0"):
        MetaSGD(nn.Linear(2, 2), inner_steps=0)


@pytest.mark.parametrize(
    ("task_lr", "message"),
    [
        ((0.1, 0.01), r"range \(0.1, 0.01\)"),
        ({"weight": torch.ones(2, 2)}, r"differs at \['bias'\]"),
        ({"weight": torch.ones(2, 2), "bias": torch.ones(3)}, r"differs at \['bias'\]"),
        ({"weight": torch.ones(2, 2), "bias": torch.ones(2), "scale": torch.ones(1)}, r"differs at \['scale'\]"),
    ],
    ids=["reversed range", "missing name", "wrong shape", "unknown name"],
)
def test_an_impossible_start_of_alpha_is_refused(task_lr: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MetaSGD(nn.Linear(2, 2), task_lr=task_lr)


GOOD = Task(torch.ones(4, 3), torch.zeros(4, 2), torch.ones(5, 3), torch.zeros(5, 2))


@pytest.mark.parametrize(
    ("tasks", "message"),
    [
        ([], "no tasks given"),
        (GOOD, r"disagree about the number of tasks: .*'support_x': 4.*'query_x': 5.*pass one task as \[task\]"),
        (
            Task(torch.ones(4, 3), torch.zeros(4), torch.ones(4, 3), torch.zeros(4)),
            r"no dimension of examples; pass one task as \[task\]",
        ),
        ([GOOD._replace(support_y=torch.zeros(3, 2))], "support set has 4 inputs but 3 targets"),
        ([GOOD._replace(query_x=torch.ones(6, 3))], "query set has 6 inputs but 5 targets"),
        ([GOOD._replace(support_x=torch.ones(0, 3), support_y=torch.ones(0, 2))], "support set is empty"),
        ([GOOD._replace(query_x=torch.ones(5, 3).double())], "support inputs have dtype torch.float32, query"),
        ([GOOD._replace(query_y=torch.zeros(5, 2).double())], "support targets have dtype torch.float32, query"),
        ([GOOD._replace(query_x=torch.ones(5, 3, device="meta"))], "support inputs have device cpu, query"),
        ([GOOD._replace(query_y=torch.ones(5, 2, device="meta"))], "support targets have device cpu, query"),
    ],
    ids=[
        "none",
        "one task as a batch",
        "one task as a batch of single examples",
        "support lengths",
        "query lengths",
        "empty",
        "dtype of inputs",
        "dtype of targets",
        "device of inputs",
        "device of targets",
    ],
)
def test_malformed_tasks_are_refused(tasks: Task | list[Task], message: str) -> None:
    learner = MetaSGD(net(torch.device("cpu")), F.mse_loss)
    for use in (learner.meta_loss, learner.meta_update):
        with pytest.raises(ValueError, match=message):
            use(tasks)


@pytest.mark.parametrize("wrong", [-1, 2])
@pytest.mark.parametrize("part", ["support_y", "query_y"])
@pytest.mark.parametrize("loss_fn", [F.cross_entropy, nn.CrossEntropyLoss()], ids=["function", "module"])
def test_labels_out_of_range_are_refused(loss_fn: Callable, part: str, wrong: int, device: torch.device) -> None:
    """On a GPU such a label would end the process; the check comes before the loss."""
    labels = torch.tensor([0, 1, 1, 0], device=device)
    x = torch.ones(4, 3, device=device)
    task = Task(x, labels, x, labels)._replace(**{part: torch.tensor([0, 1, wrong, 0], device=device)})
    with pytest.raises(ValueError, match=r"has 2 outputs; labels must lie in 0\.\.1"):
        MetaSGD(net(device), loss_fn).meta_loss([task])


def test_classes_are_counted_in_dimension_1(device: torch.device) -> None:
    """Of outputs (N, C, d), as in ``F.cross_entropy``: with C = 3 and d = 2 there is a class 2, not the other way."""
    x, labels = torch.randn(2, 4, 3, device=device), torch.full((2, 4, 2), 2, device=device)
    learner = MetaSGD(nn.Sequential(nn.Linear(3, 6), nn.Unflatten(1, (3, 2))).to(device), strategy="loop")
    assert learner.meta_loss(Task(x, labels, x, labels)).isfinite()
    labels = torch.full((2, 4, 3), 2, device=device)
    learner = MetaSGD(nn.Sequential(nn.Linear(3, 6), nn.Unflatten(1, (2, 3))).to(device), strategy="loop")
    with pytest.raises(ValueError, match="labels run from 2 to 2, but the model has 2 outputs"):
        learner.meta_loss(Task(x, labels, x, labels))


def test_the_ignored_label_of_cross_entropy_is_no_label(device: torch.device) -> None:
    x, labels = torch.ones(4, 3, device=device), torch.tensor([0, -100, 1, 0], device=device)
    assert MetaSGD(net(device)).meta_loss([Task(x, labels, x, labels)]).isfinite()


def test_a_loss_that_is_not_reduced_is_refused(device: torch.device) -> None:
    learner = MetaSGD(net(device), lambda prediction, target: (prediction - target) ** 2)
    with pytest.raises(ValueError, match=r"the loss has shape \(5, 2\); it must be a scalar"):
        learner.meta_loss(draw_batch(device))


def infinite(prediction: Tensor, target: Tensor) -> Tensor:
    return F.mse_loss(prediction, target) / 0


def root(prediction: Tensor, target: Tensor) -> Tensor:
    """With a target of zero this is zero, but its slope is that of the square root at zero."""
    return (prediction * target).square().sum().sqrt()


@pytest.mark.parametrize(
    ("loss_fn", "field", "value", "message"),
    [
        (F.mse_loss, "support_x", float("nan"), "task 1 has NaN or infinite values in support_x"),
        (F.mse_loss, "query_y", float("inf"), "task 1 has NaN or infinite values in query_y"),
        (infinite, "query_y", 0.0, "the loss is not finite"),
        (root, "query_y", 0.0, "the meta-gradient is not, first in"),
    ],
    ids=["NaN in support_x", "infinity in query_y", "the loss", "the meta-gradient"],
)
def test_what_is_not_finite_stops_the_step_and_changes_nothing(
    loss_fn: Callable, field: str, value: float, message: str, device: torch.device
) -> None:
    learner, batch = trained(MetaSGD(net(device), F.mse_loss), device), draw_batch(device)
    untouched = copy.deepcopy(learner)
    learner.loss_fn = loss_fn
    getattr(batch, field)[1] = value
    with pytest.raises(FloatingPointError, match=message):
        learner.meta_update(batch)
    learner.loss_fn = F.mse_loss
    assert_same_bits(learner, untouched)
    assert_same_bits(trained(learner, device), trained(untouched, device))  # nor did the optimiser's state move


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"meta_lr": -1}, "meta_lr is -1; a learning rate must be finite and at least 0"),
        ({"meta_lr": math.nan}, "meta_lr is nan"),
        ({"alpha_lr": math.inf}, "alpha_lr is inf"),
        ({"task_lr": -0.1}, "task_lr is -0.1; .* climbs the loss"),
        ({"task_lr": math.nan}, "task_lr is nan"),
        ({"task_lr": (0.1, math.nan)}, "both ends must be finite"),
        ({"inner_steps": 2.5}, "inner_steps is 2.5; it must be a whole number"),
    ],
)
def test_rates_and_steps_that_are_none_are_refused(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MetaSGD(nn.Linear(2, 1), F.mse_loss, **options)
