"""Every strategy refuses the same tasks and models as the loop, before it computes anything."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd import Task
from metasgd.strategies.preflight import check_tasks
from tests.strategies.helpers import (
    EVERY,
    EXACT,
    FAST,
    batch_of,
    draw_tasks,
    dropout_net,
    make_learner,
    meta_gradient,
    mlp,
    relative_error,
    with_options,
)

pytestmark = pytest.mark.usefixtures("no_channel_is_small")


def replaced(**fields: Tensor) -> list[Task]:
    tasks = draw_tasks(torch.device("cpu"))
    return [*tasks[:2], tasks[2]._replace(**fields), *tasks[3:]]


WRONG = [
    (replaced(support_y=torch.tensor([0, 1, 2, 0])), "labels run from 0 to 2, but the model has 2 outputs"),
    (replaced(query_y=torch.tensor([0, 1, -1, 0, 0])), "labels run from -1 to 1"),
    (replaced(query_y=torch.tensor([0, 1])), "the query set has 5 inputs but 2 targets"),
    (replaced(query_x=torch.zeros(0, 3), query_y=torch.zeros(0).long()), "the query set is empty"),
    (
        replaced(query_x=torch.zeros(5, 3).double()),
        "support inputs have dtype torch.float32, query inputs torch.float64",
    ),
    ([], "no tasks given"),
    (batch_of(replaced())._replace(query_y=torch.zeros(3, 5).long()), "disagree about the number of tasks"),
    (Task(*(values[:0] for values in batch_of(replaced()))), "no tasks given"),
]


@EVERY
@pytest.mark.parametrize(("tasks", "message"), WRONG, ids=[message for _, message in WRONG])
def test_every_strategy_refuses_the_same_tasks(strategy: str, tasks: Task | list[Task], message: str) -> None:
    learner = make_learner(mlp, torch.device("cpu"), strategy=strategy)
    with pytest.raises(ValueError, match=message):
        learner.meta_update(tasks)


@EVERY
def test_every_strategy_refuses_a_loss_that_is_no_scalar(strategy: str, device: torch.device) -> None:
    learner = make_learner(
        mlp, device, lambda p, y: F.cross_entropy(p, y, reduction="none"), strategy=strategy, chunk=2
    )
    with pytest.raises(ValueError, match="it must be a scalar"):
        learner.meta_update(draw_tasks(device))


def segmenter(classes: int, pixels: int) -> nn.Module:
    return nn.Sequential(nn.Linear(3, classes * pixels), nn.Unflatten(1, (classes, pixels)))


@EVERY
def test_classes_are_counted_in_dimension_1(strategy: str, device: torch.device, float64: None) -> None:
    """Of outputs (N, C, d), as in ``F.cross_entropy``: with C = 3 and d = 2 there is a class 2, not the other way."""
    tasks = [
        task._replace(support_y=torch.full((4, 2), 2).to(device), query_y=torch.full((5, 2), 2).to(device))
        for task in draw_tasks(device)
    ]
    learner = make_learner(lambda: segmenter(3, 2), device, strategy=strategy)
    expected = meta_gradient(with_options(learner, "loop"), tasks)
    assert relative_error(meta_gradient(learner, tasks), expected) < EXACT
    learner = make_learner(lambda: segmenter(2, 3), device, strategy=strategy)
    tasks = [task._replace(support_y=task.support_y[:, :1].expand(-1, 3).clone()) for task in tasks]
    with pytest.raises(ValueError, match="labels run from 2 to 2, but the model has 2 outputs"):
        learner.meta_update(tasks)


@EVERY
def test_every_strategy_allows_the_ignored_label(strategy: str, device: torch.device, float64: None) -> None:
    learner = make_learner(mlp, device, strategy=strategy)
    tasks = draw_tasks(device)
    tasks[1].support_y[0] = -100
    expected = meta_gradient(with_options(learner, "loop"), tasks)
    assert relative_error(meta_gradient(learner, tasks), expected) < EXACT


@FAST
def test_computing_random_numbers_twice_is_refused(strategy: str, device: torch.device) -> None:
    learner = make_learner(dropout_net, device, strategy=strategy, recompute=True)
    with pytest.raises(ValueError, match="draws random numbers"):
        learner.meta_update(draw_tasks(device))
    learner.eval().meta_update(draw_tasks(device, (3,), sizes=[(6, 2)]))  # nothing is drawn


@FAST
def test_looking_at_the_model_draws_no_random_numbers(strategy: str, device: torch.device) -> None:
    learner = make_learner(dropout_net, device, strategy=strategy)
    before = torch.get_rng_state()
    check_tasks(learner, draw_tasks(device))
    assert torch.equal(torch.get_rng_state(), before)


class ShiftsItsInput(nn.Linear):
    """A layer with a buffer that may write into its input."""

    def __init__(self, writes: bool) -> None:
        super().__init__(3, 2)
        self.writes = writes
        self.register_buffer("shift", torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.add_(self.shift) if self.writes else x + self.shift)


@FAST
@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("writes", [False, True])
def test_recompute_refuses_a_model_that_writes_into_its_input_and_no_other(strategy: str, writes: bool) -> None:
    learner = make_learner(lambda: ShiftsItsInput(writes), torch.device("cpu"), strategy=strategy, recompute=True)
    tasks = draw_tasks(torch.device("cpu"))
    if not writes:
        expected = meta_gradient(with_options(learner, "loop"), tasks)
        assert relative_error(meta_gradient(learner, tasks), expected) < EXACT
        return
    with pytest.raises(ValueError, match="writes into its input"):
        learner.meta_backward(tasks)


@FAST
def test_what_evaluation_mode_allows_is_refused_in_training(strategy: str) -> None:
    learner = make_learner(dropout_net, torch.device("cpu"), strategy=strategy, recompute=True)
    tasks = draw_tasks(torch.device("cpu"))
    learner.predict_tasks(tasks)
    with pytest.raises(ValueError, match="draws random numbers"):
        learner.meta_backward(tasks)
