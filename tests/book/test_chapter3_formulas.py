"""What chapter 3 says beyond the two identities, which test_meta_gradient.py holds: its example and its costs."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from metasgd import MetaSGD, Task
from metasgd.models import linear, mlp

pytestmark = pytest.mark.usefixtures("float64")


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction[:, 0] - target).square().mean()


def learner_at(theta: list[float], alpha: list[float], **options: object) -> MetaSGD:
    learner = MetaSGD(
        linear(len(theta), bias=False), squared_error, task_lr={"weight": torch.tensor([alpha])}, **options
    )
    learner.theta["weight"].data.copy_(torch.tensor([theta]))
    return learner


def line_task(scale: float) -> Task:
    """The chapter's task: weights scale * (2, 1), two support and two query inputs, no noise."""
    weights = scale * torch.tensor([2.0, 1.0])
    support_x = torch.tensor([[2.0, -1.0], [1.0, -2.0]])
    query_x = torch.tensor([[1.0, 1.0], [2.0, -2.0]])
    return Task(support_x, support_x @ weights, query_x, query_x @ weights)


def test_the_example_by_hand() -> None:
    """At theta = 0, alpha = (0.1, 0.1), scale 1: g = (-6, 3), theta' = (0.6, -0.3), v = (-3.1, -2.3).

    grad_alpha = -v * g = (-18.6, 6.9). H = [[5, -4], [-4, 5]], so H (alpha * v) = (-0.63, 0.09) and grad_theta =
    (-2.47, -2.39).
    """
    learner, task = learner_at([0.0, 0.0], [0.1, 0.1]), line_task(1)
    adapted = learner.inner_update(task.support_x, task.support_y)["weight"]
    torch.testing.assert_close(adapted, torch.tensor([[0.6, -0.3]]))
    learner.meta_loss([task]).backward()
    torch.testing.assert_close(learner.alpha["weight"].grad, torch.tensor([[-18.6, 6.9]]))
    torch.testing.assert_close(learner.theta["weight"].grad, torch.tensor([[-2.47, -2.39]]))


@pytest.mark.parametrize("scale", [-3.0, 0.2, 7.0])
@pytest.mark.parametrize("start", [0.0, 1.5])
def test_a_negative_rate_lands_on_every_task_of_the_line(scale: float, start: float) -> None:
    """alpha_i = u_i / (2 (A u)_i) = (1/3, -1/3) from every start on the line of the tasks' weights."""
    learner, task = learner_at([2 * start, start], [1 / 3, -1 / 3]), line_task(scale)
    adapted = learner.inner_update(task.support_x, task.support_y)["weight"]
    torch.testing.assert_close(adapted, torch.tensor([[2 * scale, scale]]))


def test_training_finds_the_negative_rate() -> None:
    learner = learner_at([0.0, 0.0], [0.1, 0.1], meta_lr=0.01, alpha_lr=0.002, meta_optimizer=torch.optim.SGD)
    tasks = [line_task(scale) for scale in (-2.0, -1.0, 1.0, 2.0)]
    for _ in range(120):
        learner.meta_update(tasks)
    torch.testing.assert_close(learner.alpha["weight"], torch.tensor([[1 / 3, -1 / 3]]), atol=1e-4, rtol=0)
    assert learner.theta["weight"].abs().max() < 1e-12


def test_the_gradient_of_one_shared_rate_is_the_sum_over_the_entries() -> None:
    learner, task = learner_at([0.3, -0.4], [0.1, 0.1]), line_task(1)
    rate = torch.tensor(0.1, requires_grad=True)
    theta = learner.theta["weight"][0].detach().requires_grad_()
    (gradient,) = torch.autograd.grad(
        (task.support_x @ theta - task.support_y).square().mean(), theta, create_graph=True
    )
    query = (task.query_x @ (theta - rate * gradient) - task.query_y).square().mean()
    (shared,) = torch.autograd.grad(query, rate)
    learner.meta_loss([task]).backward()
    torch.testing.assert_close(shared, learner.alpha["weight"].grad.sum())


@pytest.mark.parametrize("width", [10, 300])
def test_the_meta_gradient_costs_four_gradients_and_first_order_two(width: int) -> None:
    """In products of matrices, for support and query sets of one size; a small input layer saves a little."""

    def count(compute) -> int:
        with FlopCounterMode(display=False) as counter:
            compute()
        return counter.get_total_flops()

    x, y = torch.ones(20, 10), torch.ones(20, 1)
    cost = {}
    for first_order in (False, True):
        learner = MetaSGD(mlp(10, (width, width), 1), F.mse_loss, first_order=first_order)
        unit = count(lambda: F.mse_loss(learner.predict(x), y).backward())  # noqa: B023
        cost[first_order] = count(lambda: learner.task_loss(Task(x, y, x, y)).backward()) / unit  # noqa: B023
    assert 3.5 < cost[False] <= 4
    assert cost[True] == 2
