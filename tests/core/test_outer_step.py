"""What surrounds the outer step: gradients in parts, clipping, a warning, explanations, modes without gradients."""

import copy
import warnings

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd import MetaSGD, Task
from metasgd.methods import Reptile
from metasgd.rates import SharedRates

EVERY = pytest.mark.parametrize("strategy", ["loop", "threads", "batched"])


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def tasks(count: int = 5) -> Task:
    generator = torch.Generator().manual_seed(1)
    dtype = torch.get_default_dtype()
    return Task(*(torch.randn(count, 5, size, generator=generator, dtype=dtype) for size in (3, 2, 3, 2)))


def part(batch: Task, start: int, stop: int) -> Task:
    return Task(*(values[start:stop] for values in batch))


def gradients(learner: MetaSGD) -> list[Tensor | None]:
    return [None if p.grad is None else p.grad.clone() for p in learner.parameters()]


# ---------------------------------------------------------------------------------------------------------------
# Gradients in parts


@EVERY
@pytest.mark.parametrize(
    ("kind", "options"), [(MetaSGD, {}), (SharedRates, {"shared": "layer"}), (Reptile, {"inner_steps": 2})]
)
@pytest.mark.usefixtures("float64")
def test_weighted_parts_have_the_gradient_of_the_whole(kind, options, strategy):
    learner, batch = kind(net(), F.mse_loss, strategy=strategy, **options), tasks()
    whole_loss = learner.meta_backward(batch)
    expected = gradients(learner)
    learner.meta_step(whole_loss, batch)  # whose gradients must not be added to
    learner = kind(net(), F.mse_loss, strategy=strategy, **options)
    loss = 0.0
    for start, stop in ((0, 2), (2, 5)):
        share = (stop - start) / 5
        loss += share * learner.meta_backward(part(batch, start, stop), accumulate=True, weight=share)
    torch.testing.assert_close(gradients(learner), expected, rtol=1e-12, atol=1e-15)
    torch.testing.assert_close(loss, whole_loss, rtol=1e-12, atol=0)


def test_nothing_is_added_to_the_gradients_of_the_last_step_or_of_elsewhere():
    learner, batch = MetaSGD(net(), F.mse_loss, meta_optimizer=torch.optim.SGD, meta_lr=0.0), tasks()
    for parameter in learner.parameters():
        parameter.grad = torch.ones_like(parameter)
    fresh = MetaSGD(net(), F.mse_loss)
    fresh.meta_backward(batch)
    for _ in range(2):
        loss = learner.meta_backward(batch, accumulate=True)
        torch.testing.assert_close(gradients(learner), gradients(fresh), rtol=0, atol=0)
        learner.meta_step(loss, batch)


def test_without_asking_the_second_call_replaces_the_first():
    learner, batch = MetaSGD(net(), F.mse_loss), tasks()
    learner.meta_backward(batch)
    expected = gradients(learner)
    learner.meta_backward(batch)
    torch.testing.assert_close(gradients(learner), expected, rtol=0, atol=0)


def test_a_part_that_fails_leaves_the_gradients_of_those_before():
    learner, batch = MetaSGD(net(), F.mse_loss), tasks()
    learner.meta_backward(batch)
    expected = gradients(learner)
    with pytest.raises(ValueError, match="must be the same"):
        learner.meta_backward([batch._replace(query_x=batch.query_x.double())], accumulate=True)
    torch.testing.assert_close(gradients(learner), expected, rtol=0, atol=0)


def test_a_weight_that_is_not_finite_is_refused():
    with pytest.raises(ValueError, match="weight is nan; it must be finite"):
        MetaSGD(net(), F.mse_loss).meta_backward(tasks(), weight=float("nan"))


# ---------------------------------------------------------------------------------------------------------------
# Clipping, and a warning


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("max_norm", [0.01, 1e6])
def test_a_long_meta_gradient_is_shortened(max_norm):
    options = {"meta_optimizer": torch.optim.SGD, "meta_lr": 1.0}
    learner, batch = MetaSGD(net(), F.mse_loss, max_norm=max_norm, **options), tasks()
    before = [p.detach().clone() for p in learner.parameters()]
    learner.meta_update(batch)
    step = torch.cat([(old - new.detach()).flatten() for old, new in zip(before, learner.parameters(), strict=True)])
    free = MetaSGD(net(), F.mse_loss)
    free.meta_backward(batch)
    gradient = torch.cat([gradient.flatten() for gradient in gradients(free)])
    expected = gradient * min(1.0, max_norm / gradient.norm().item())
    torch.testing.assert_close(step, expected, rtol=1e-8, atol=1e-12)


def scaled(losses: list[float]):
    """A loss whose meta-losses are the given numbers, one meta-update after the other."""
    remaining = iter(losses)
    state = {"calls": 0}

    def loss_fn(prediction: Tensor, target: Tensor) -> Tensor:
        state["calls"] += 1
        if state["calls"] % 2 == 0:
            state["value"] = next(remaining)
        return state.get("value", 1.0) + 0 * prediction.sum()

    return loss_fn


def warned(losses: list[float]) -> list[int]:
    """The numbers of the meta-updates that give a warning."""
    learner = MetaSGD(net(), scaled(losses), strategy="loop")
    found = []
    for number in range(len(losses)):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            learner.meta_update([Task(*(values[0] for values in tasks()))])
        found += [number] * len(caught)
    return found


def test_a_loss_that_jumps_a_hundredfold_is_warned_of_once():
    assert warned([2.0, 1.0, 1.0, 90.0, 1.0, 5000.0, 1.0, 1e7]) == [5]


def test_a_loss_that_was_almost_zero_is_not_warned_of():
    assert warned([2.0, *[1e-6] * 60, 0.5, 1e-6]) == []


def test_negative_losses_are_compared_by_size():
    assert warned([-2.0, -1.0, 5.0, -3.0, 4000.0]) == [4]


def test_the_warning_names_the_remedies():
    learner = MetaSGD(net(), scaled([1.0, 1.0, 1e4]), strategy="loop")
    task = [Task(*(values[0] for values in tasks()))]
    learner.meta_update(task)
    learner.meta_update(task)
    with pytest.warns(RuntimeWarning, match=r"jumped from about 1 to 1e\+04.*task_lr.*inner_max_norm.*max_norm"):
        learner.meta_update(task)


# ---------------------------------------------------------------------------------------------------------------
# Why something is not finite


def norm_loss(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).norm()


class NormOfZero(nn.Module):
    """Its output is right, and the slope of the norm at zero is not a number."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x) + (0 * self.layer(x)).square().sum().sqrt()


@EVERY
def test_a_norm_at_zero_is_told_from_rates_that_are_too_large(strategy):
    learner = MetaSGD(NormOfZero(), F.mse_loss, strategy=strategy)
    message = (
        r"the loss is not finite \(nan\), as the first inner step of task 0 is not: its support loss is finite "
        r"\(.*\), but the gradient is not, first in 'layer.weight'; typical is a square root, norm"
    )
    with pytest.raises(FloatingPointError, match=message) as caught:
        learner.meta_update(tasks())
    assert "lr" not in str(caught.value)  # at the first step, lower rates are of no help


@EVERY
def test_a_norm_at_zero_in_the_query_loss_names_the_parameter(strategy):
    learner = MetaSGD(net(), F.mse_loss, query_loss_fn=lambda p, y: (0 * p).square().sum().sqrt(), strategy=strategy)
    with pytest.raises(FloatingPointError, match=r"the loss is finite \(0\), .* is not, first in '0.weight'; typical"):
        learner.meta_update(tasks())


def test_a_loss_that_is_not_finite_itself_names_the_rates_that_can_help():
    learner = MetaSGD(net(), lambda p, y: p.sum() / 0, strategy="loop")
    with pytest.raises(FloatingPointError, match=r"the loss is not finite \(.*\); lower task_lr, or clip inner steps"):
        learner.meta_update(tasks())


# ---------------------------------------------------------------------------------------------------------------
# Modes without gradients


@EVERY
@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("shared", [None, "layer"])
def test_meta_steps_without_gradients_around_them_are_those_with(mode, shared, strategy):
    with mode():
        batch = tasks()
    make = SharedRates if shared else MetaSGD
    options = {"shared": shared} if shared else {}
    inside, outside = (make(net(), F.mse_loss, strategy=strategy, **options) for _ in range(2))
    with mode():
        inside.meta_update(batch)
    inside.meta_update(tasks(2))  # with the optimiser's state from inside
    outside.meta_update(tasks())
    outside.meta_update(tasks(2))
    for one, other in zip(inside.parameters(), outside.parameters(), strict=True):
        assert torch.equal(one, other)
    moments = [value for entry in inside.meta_optimizer.state.values() for value in entry.values()]
    assert not any(value.is_inference() for value in moments)


def test_everything_works_under_inference_mode():
    model = net()
    with torch.inference_mode():
        learner, batch = MetaSGD(model, F.mse_loss), tasks()
        task = Task(*(values[0] for values in batch))
        adapted = learner.inner_update(task.support_x, task.support_y)
        results = [
            learner.meta_loss(batch),
            learner.task_loss(task),
            learner(*task[:3]),
            learner.meta_backward(batch),
            learner.predict(task.query_x, adapted),
            learner.predict_tasks(batch),
        ]
        learner.load_state_dict(copy.deepcopy(learner.state_dict()))
    assert all(not result.requires_grad and result.isfinite().all() for result in results)
    assert not any(value.is_inference() or value.requires_grad for value in adapted.values())
    learner.meta_update(tasks())
