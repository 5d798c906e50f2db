"""One task after the other: what the loop keeps in memory, and what it predicts."""

import torch

from metasgd.strategies import loop
from tests.strategies.helpers import batch_of, draw_tasks, make_learner, mlp, peak_of_saved_bytes


def test_the_graph_of_one_task_is_in_memory_at_a_time(device: torch.device) -> None:
    learner = make_learner(mlp, device, strategy="loop")
    tasks = draw_tasks(device, sizes=[(50, 50)] * 4)
    assert peak_of_saved_bytes(learner, tasks) < 1.2 * peak_of_saved_bytes(learner, tasks[:1])


def test_predictions_are_those_of_the_learner_task_by_task(device: torch.device) -> None:
    learner, tasks = make_learner(mlp, device), draw_tasks(device)
    found = list(loop.predict(learner, batch_of(tasks)))
    assert [tuple(prediction.shape) for prediction in found] == [(1, 5, 2)] * 5
    for prediction, task in zip(found, tasks, strict=True):
        assert torch.equal(prediction[0], learner(task.support_x, task.support_y, task.query_x))
