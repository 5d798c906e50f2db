"""One task that is passed bare is taken for a batch only where it can be one."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd import MetaSGD, Task
from tests.strategies.helpers import Apply

WAYS = pytest.mark.parametrize("strategy", ["loop", "threads", "batched"])


class Scalars(nn.Module):
    """A function of examples that are single numbers, of shape (examples,)."""

    def __init__(self) -> None:
        super().__init__()
        self.slope, self.offset = nn.Parameter(torch.ones(())), nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        return self.slope * x + self.offset


def task_of(x: tuple[int, ...], y: tuple[int, ...]) -> Task:
    generator = torch.Generator().manual_seed(0)
    return Task(*(torch.randn(shape, generator=generator) for shape in (x, y, x, y)))


BARE: dict[str, tuple[Callable[[], nn.Module], Task]] = {
    "one feature": (lambda: nn.Linear(1, 1), task_of((5, 1), (5, 1))),
    "as many targets as features": (lambda: nn.Linear(3, 3), task_of((5, 3), (5, 3))),
    "one example": (lambda: nn.Linear(1, 1), task_of((1, 1), (1, 1))),
    "pictures": (lambda: nn.Conv2d(1, 1, 3, padding=1), task_of((5, 1, 4, 4), (5, 1, 4, 4))),
}


@WAYS
@pytest.mark.parametrize("name", BARE)
def test_a_bare_task_is_refused_where_the_model_cannot_take_it_for_a_batch(name: str, strategy: str) -> None:
    build, task = BARE[name]
    learner = MetaSGD(build(), F.mse_loss, strategy=strategy)
    sentence = rf"takes it for {len(task.support_x)} examples of one task; pass one task as \[task\]"
    for function in (learner.meta_update, learner.meta_loss, learner.predict_tasks):
        for given in (task, tuple(task)):  # both times
            with pytest.raises(ValueError, match=sentence):
                function(given)
    assert learner.meta_update([task])["loss"] > 0


def test_a_bare_task_in_a_tree_is_refused() -> None:
    net = Apply(lambda m, x: m.net(x["x"]), net=nn.Linear(1, 1))
    x, y, query_x, query_y = BARE["one feature"][1]
    with pytest.raises(ValueError, match=r"pass one task as \[task\]"):
        MetaSGD(net, F.mse_loss).meta_update(Task({"x": x}, y, {"x": query_x}, query_y))


BATCHES: dict[str, tuple[Callable[[], nn.Module], Task]] = {
    "single numbers": (Scalars, task_of((5, 1), (5, 1))),
    "three single numbers": (Scalars, task_of((5, 3), (5, 3))),
    "words": (
        lambda: nn.Embedding(7, 2),
        Task(*(torch.tensor([[1, 2, 3], [4, 5, 6]]), torch.ones(2, 3, 2)) * 2),
    ),
    "one feature": (lambda: nn.Linear(1, 1), task_of((5, 3, 1), (5, 3, 1))),
    "one example": (lambda: nn.Linear(2, 1), task_of((5, 1, 2), (5, 1, 1))),
    "one task": (lambda: nn.Linear(2, 1), task_of((1, 3, 2), (1, 3, 1))),
    "a fixed number of examples": (
        lambda: Apply(lambda m, x: m.net(x.reshape(4, -1)), net=nn.Linear(3, 2)),
        task_of((5, 4, 3), (5, 4, 2)),
    ),
    "pictures": (lambda: nn.Conv2d(1, 1, 3, padding=1), task_of((5, 2, 1, 4, 4), (5, 2, 1, 4, 4))),
}


@WAYS
@pytest.mark.parametrize("name", BATCHES)
def test_a_batch_is_taken_for_one(name: str, strategy: str) -> None:
    build, batch = BATCHES[name]
    learner = MetaSGD(build(), F.mse_loss, strategy=strategy)
    before = torch.get_rng_state()
    single = learner.meta_loss([Task(*parts) for parts in zip(*batch, strict=True)]).item()
    assert learner.predict_tasks(batch).shape == batch.query_y.shape
    assert learner.meta_loss(batch).item() == pytest.approx(single)
    assert learner.meta_update(batch)["loss"] == pytest.approx(single, rel=1e-4)
    assert torch.equal(torch.get_rng_state(), before)
