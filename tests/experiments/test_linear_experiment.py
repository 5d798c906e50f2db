"""The experiment ``linear`` runs at a small size, compares like with like, and its stored file is complete."""

from pathlib import Path

import pytest
import torch

from metasgd.baselines import ridge
from metasgd.experiments import linear, load_results
from metasgd.experiments.experiment import Setup
from metasgd.recipes.recipe import without_step


def test_a_cell_runs_at_a_small_size(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr(linear, "UPDATES", 2)
    monkeypatch.setattr(linear, "SHIFTS", (0.0, 1.0))
    cell = linear.make_cells()["10shot-seed0"]
    found = cell.run(Setup(tasks=30), tmp_path)
    names = {"meta-sgd", "no adaptation", "least squares", "ridge", "ridge from the start", "ideal"}
    assert {score["method"] for score in found["scores"]} == names
    for kind in ("mean", "median"):
        assert {name: len(errors) for name, errors in found["errors"][kind].items()} == dict.fromkeys(names, 2)


def test_the_step_is_that_of_the_learner(float64) -> None:
    learner = linear.meta_train_on_linear_tasks(4, updates=3).double()
    task = linear.linear_tasks(4).sample(1)
    support_x, support_y, query_x = (values[0] for values in task[:3])
    theta, alpha = learner.theta["weight"].detach()[0], learner.alpha["weight"].detach()[0]
    assert not torch.equal(alpha, torch.full_like(alpha, 0.01))  # it has learned
    expected = learner(support_x, support_y, query_x).detach()
    torch.testing.assert_close(linear.one_step(theta, alpha)(support_x, support_y, query_x), expected)
    start = without_step(learner)(support_x, support_y, query_x).detach()
    torch.testing.assert_close(linear.one_step(theta, 0 * alpha)(support_x, support_y, query_x), start)


def test_least_squares_does_not_depend_on_where_the_weights_lie() -> None:
    """With more examples than weights its errors are those of the noise: the same tasks, shifted."""
    alone = {"least squares": ridge(0.0)}
    (near,), (far,) = (
        linear.task_errors(alone, linear.linear_tasks(16, shift), 50, seed=0).values() for shift in (0.0, 3.0)
    )
    torch.testing.assert_close(near, far, rtol=1e-8, atol=1e-10)


def test_a_penalty_at_the_edge_of_those_tried_is_refused(monkeypatch) -> None:
    monkeypatch.setattr(linear, "PENALTIES", (1e-3, 1e-2, 1e4))
    monkeypatch.setattr(linear, "VALIDATED", 50)
    linear.best_penalty(16, None, seed=0)
    monkeypatch.setattr(linear, "PENALTIES", (1e3, 1e4))
    with pytest.raises(RuntimeError, match="at the edge"):
        linear.best_penalty(16, None, seed=0)


def test_a_crossing_lasts_to_the_end() -> None:
    """The other one is smaller at 2, not at 3, and again from 4 on; in the second run it never is at the end."""
    x = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    ours = torch.ones(2, 4, dtype=torch.float64)
    other = torch.tensor([[2.0, 0.5, 2.0, 0.5], [0.5, 0.5, 0.5, 2.0]], dtype=torch.float64)
    assert linear.crossing(x, ours, other).tolist() == [4.0, torch.inf]


def test_the_stored_file_has_every_run() -> None:
    results = load_results("linear")
    assert {cell.name for cell in results} == linear.make_cells().keys()


def test_stored_runs_are_as_good_as_the_closed_form_allows() -> None:
    """Their mean over 2,000 tasks is within two percent and five standard errors of the best step's expectation."""
    for score in load_results("linear").scores(method="meta-sgd"):
        tasks = linear.linear_tasks(score.shots)
        best = tasks.expected_query_loss(tasks.best_alpha()).item()
        assert abs(score.mean - best) < 2.5 * score.half_width + 0.02 * best
