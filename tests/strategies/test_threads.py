"""One task in each thread: the same result for any number of threads, also after an error."""

import copy
import threading

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.strategies.helpers import (
    EXACT,
    batch_of,
    draw_tasks,
    dropout_net,
    make_learner,
    meta_gradient,
    mlp,
    relative_error,
    small_convnet,
    with_options,
)

pytestmark = pytest.mark.usefixtures("no_channel_is_small")


def test_result_has_the_same_bits_for_any_number_of_threads(device: torch.device) -> None:
    learner = make_learner(small_convnet, device, strategy="threads")
    tasks = draw_tasks(device, (1, 6, 6), sizes=[(4, 5), (6, 3)] * 6)
    results = []
    for workers in (1, 2, 4, 2):
        torch.set_num_threads(workers)
        results.append(meta_gradient(learner, tasks))
    assert all(torch.equal(result, results[0]) for result in results)


@pytest.mark.usefixtures("float64")
def test_a_model_that_draws_random_numbers_draws_them_task_by_task(device: torch.device) -> None:
    """As the loop does, with the same random numbers; so two runs have the same bits, however many cores there are."""
    tasks = draw_tasks(device, sizes=[(4, 5), (6, 3)] * 8)
    results = {}
    for strategy in ("loop", "threads"):
        for workers in (1, 2, 2):
            torch.set_num_threads(workers)
            learner = make_learner(dropout_net, device, strategy=strategy)
            torch.manual_seed(5)
            results.setdefault(strategy, []).append(meta_gradient(learner, tasks))
    assert all(torch.equal(result, results["threads"][0]) for result in results["threads"])
    assert relative_error(results["threads"][0], results["loop"][0]) < EXACT


@pytest.mark.usefixtures("float64")
def test_a_model_that_writes_into_the_input_of_one_task_does_not_disturb_another(device: torch.device) -> None:
    """The second task is written into when the first one has saved its input for the way back."""
    saved, written, order = threading.Event(), threading.Event(), iter(range(10**6))

    class Writes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = mlp()

        def __deepcopy__(self, memo: dict) -> nn.Module:
            copied = Writes()
            copied.net = copy.deepcopy(self.net, memo)
            return copied

        def forward(self, x: Tensor) -> Tensor:
            number = next(order) if threading.current_thread().name.startswith("metasgd") else 2
            if number == 1:
                assert saved.wait(20)
            y: Tensor = self.net(x.mul_(1.5))
            if number == 0:
                saved.set()
                assert written.wait(20)
            elif number == 1:
                written.set()
            return y

    torch.set_num_threads(2)
    tasks = batch_of(draw_tasks(device)[:2])
    expected = meta_gradient(make_learner(Writes, device, strategy="loop"), copy.deepcopy(tasks))
    found = meta_gradient(make_learner(Writes, device, strategy="threads"), tasks)
    assert written.is_set()
    assert relative_error(found, expected) < EXACT


def test_an_error_in_one_task_comes_out_and_leaves_nothing_behind(device: torch.device) -> None:
    def brittle(prediction: Tensor, target: Tensor) -> Tensor:
        if (target == 1).all():
            raise ArithmeticError("all labels are 1")
        return F.cross_entropy(prediction, target)

    learner = make_learner(mlp, device, brittle, strategy="threads")
    tasks = draw_tasks(device, sizes=[(8, 8)] * 9)
    bad = [*tasks[:4], tasks[4]._replace(query_y=torch.ones_like(tasks[4].query_y)), *tasks[5:]]
    with pytest.raises(ArithmeticError, match="all labels are 1"):
        learner.meta_backward(bad)
    assert all(value.grad is None for value in learner.parameters())
    expected = meta_gradient(with_options(learner, "loop"), tasks)
    assert relative_error(meta_gradient(learner, tasks), expected) < 1e-5  # float32


def test_learners_may_be_used_in_several_threads_at_once(device: torch.device, float64: None) -> None:
    learner = make_learner(mlp, device, strategy="threads")
    tasks = draw_tasks(device)
    expected = meta_gradient(learner, tasks)
    twin = copy.deepcopy(learner)
    other = threading.Thread(target=lambda: [twin.meta_backward(tasks) for _ in range(5)])
    other.start()
    results = [meta_gradient(learner, tasks) for _ in range(5)]
    other.join()
    assert all(relative_error(result, expected) < EXACT for result in [*results, meta_gradient(twin, tasks)])
