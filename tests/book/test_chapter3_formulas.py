"""What chapter 3 says beyond the two identities, which test_meta_gradient.py holds: its example and its costs."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from metasgd import MetaSGD, Task
from metasgd.models import linear, mlp
from metasgd.tasks import Valley

pytestmark = pytest.mark.usefixtures("float64")


def squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction[:, 0] - target).square().mean()


def learner_at(theta: list[float], alpha: list[float], **options: object) -> MetaSGD:
    learner = MetaSGD(
        linear(len(theta), bias=False), squared_error, task_lr={"weight": torch.tensor([alpha])}, **options
    )
    learner.theta["weight"].data.copy_(torch.tensor([theta]))
    return learner


def task_at(minimum: list[float]) -> Task:
    """The valley's task with these true weights; its targets have no second dimension, as in the chapter."""
    task = Valley(dtype=torch.float64).tasks(torch.tensor([minimum]))
    return Task(task.support_x[0], task.support_y[0, :, 0], task.query_x[0], task.query_y[0, :, 0])


def slanted_task(scale: float) -> Task:
    """A task whose minimum lies on the chapter's slanted line, scale * (0.5, -2) away from the start (2, 1)."""
    return task_at([2 + 0.5 * scale, 1 - 2 * scale])


def test_the_example_by_hand() -> None:
    """At theta = (2, 1), alpha = (0.1, 0.1), in the task (4, 2): g = (-1, -5.4), theta' = (2.1, 1.54).

    v = 0.54 (0.2, -2) + 1.6 (-0.6, -1) = (-0.852, -2.68), so grad_alpha = -v * g = (-0.852, -14.472). H = [[0.4, 0.2],
    [0.2, 5]], so H (alpha * v) = (-0.08768, -1.35704) and grad_theta = (-0.76432, -1.32296).
    """
    learner, task = learner_at([2.0, 1.0], [0.1, 0.1]), task_at([4.0, 2.0])
    adapted = learner.inner_update(task.support_x, task.support_y)["weight"]
    torch.testing.assert_close(adapted, torch.tensor([[2.1, 1.54]]))
    learner.meta_loss([task]).backward()
    torch.testing.assert_close(learner.alpha["weight"].grad, torch.tensor([[-0.852, -14.472]]))
    torch.testing.assert_close(learner.theta["weight"].grad, torch.tensor([[-0.76432, -1.32296]]))


@pytest.mark.parametrize("scale", [-3.0, 0.2, 7.0])
@pytest.mark.parametrize("start", [0.0, 1.5])
def test_a_negative_rate_lands_on_every_task_of_the_line(scale: float, start: float) -> None:
    """alpha_i = xi_i / (H xi)_i = (0.5 / -0.2, -2 / -9.9) from every start on the line of the tasks' weights."""
    learner, task = learner_at([2 + 0.5 * start, 1 - 2 * start], [-2.5, 20 / 99]), slanted_task(scale)
    adapted = learner.inner_update(task.support_x, task.support_y)["weight"]
    torch.testing.assert_close(adapted, torch.tensor([[2 + 0.5 * scale, 1 - 2 * scale]]))


def test_training_finds_the_negative_rate() -> None:
    """Every start on the line is as good as (2, 1), so what Adam makes of rounding errors along it is not undone."""
    learner = learner_at([2.0, 1.0], [0.1, 0.1], meta_lr=0.02)
    tasks = [slanted_task(scale) for scale in (-1.0, -0.5, 0.5, 1.0)]
    for _ in range(1000):
        learner.meta_update(tasks)
    torch.testing.assert_close(learner.alpha["weight"], torch.tensor([[-2.5, 20 / 99]]), atol=1e-2, rtol=0)
    torch.testing.assert_close(learner.theta["weight"], torch.tensor([[2.0, 1.0]]), atol=1e-2, rtol=0)


def test_the_gradient_of_one_shared_rate_is_the_sum_over_the_entries() -> None:
    learner, task = learner_at([0.3, -0.4], [0.1, 0.1]), task_at([4.0, 2.0])
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
