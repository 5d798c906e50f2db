"""The experiment of chapter 11 on learned rates: at small size, what they compute, and the stored results."""

import json

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from metasgd import MetaSGD, Task
from metasgd.experiments import EXPERIMENTS, load_results, sine_rates
from metasgd.experiments.experiment import Setup
from metasgd.experiments.results import StoredCell
from metasgd.experiments.sine_rates import order_of, quadratic_model, signs_and_curvature
from metasgd.recipes.sine import SineRecipe


def ran(name, cell, changes, setup, folder):
    cells = EXPERIMENTS[name].make_cells(changes)
    return StoredCell(cell, json.loads(json.dumps(cells[cell].describe() | cells[cell].run(setup, folder))))


@pytest.mark.parametrize(
    ("cell", "variants", "model"),
    [("meta-sgd-2-seed0", 4, True), ("nonnegative-2-seed1", 1, False), ("meta-sgd-3-seed0", 4, False)],
)
def test_the_sine_runs_at_small_size(tmp_path, monkeypatch, cell, variants, model):
    """Only the shortest runs with free rates have the quadratic model."""
    monkeypatch.setattr(sine_rates, "LENGTHS", (2, 3))
    monkeypatch.setattr(sine_rates, "MODEL_TASKS", 3)
    result = ran("sine-rates", cell, {}, Setup(6), tmp_path)
    assert len(result.scores()) == variants
    assert ("model" in result) == model
    if cell.startswith("nonnegative"):
        assert max(tensor["negative"] for tensor in result["rates"].values()) == 0


def tiny_learner():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1, 3), nn.Tanh(), nn.Linear(3, 1)).double()
    return MetaSGD(model, F.mse_loss, task_lr=0.1)


def tiny_tasks(count=5):
    draws = torch.Generator().manual_seed(1)
    return Task(*(torch.randn(count, 4, 1, dtype=torch.float64, generator=draws) for _ in range(4)))


def test_the_quadratic_model_has_the_differences_of_the_objective_at_rates_of_zero():
    """J(alpha) with each support gradient g taken once, at theta: its central differences are -E[v * g] and M.

    The third derivatives of a tanh network are of order one, so differences of 1e-4 leave an error of about 1e-8 in
    E[v * g], and about 1e-7 in M, whose differences are divided by 1e-4 after rounding at 1e-15.
    """
    learner, tasks = tiny_learner(), tiny_tasks()
    slope, matrix = quadratic_model(learner, tasks, chunk=4)
    names = list(learner.theta)

    def objective(rates):
        losses = []
        for index in range(len(tasks.support_x)):
            task = Task(*(part[index] for part in tasks))
            theta = {name: value.detach().clone().requires_grad_() for name, value in learner.theta.items()}
            support = F.mse_loss(functional_call(learner.model, theta, (task.support_x,)), task.support_y)
            gradient = torch.autograd.grad(support, list(theta.values()))
            parts = rates.split([value.numel() for value in theta.values()])
            moved = {
                name: theta[name].detach() - part.reshape(g.shape) * g
                for name, part, g in zip(names, parts, gradient, strict=True)
            }
            losses.append(F.mse_loss(functional_call(learner.model, moved, (task.query_x,)), task.query_y))
        return torch.stack(losses).mean().item()

    size = 1e-4 * torch.eye(len(slope), dtype=torch.float64)
    slopes = [(objective(step) - objective(-step)) / 2e-4 for step in size]
    torch.testing.assert_close(-slope, torch.tensor(slopes, dtype=torch.float64), atol=1e-7, rtol=1e-5)
    for j, k in ((0, 0), (0, 4), (3, 7), (9, 2)):
        up, down = size[j] + size[k], size[j] - size[k]
        mixed = (objective(up) - objective(down) - objective(-down) + objective(-up)) / 4e-8
        assert matrix[j, k].item() == pytest.approx(mixed, abs=1e-5)
    torch.testing.assert_close(matrix, matrix.T)


def test_the_model_leaves_out_parameters_without_effect():
    learner = tiny_learner()
    with torch.no_grad():
        learner.theta["2.weight"][0, 1] = 0.0  # so the second hidden unit's own weight and bias have no gradient
    slope, matrix = quadratic_model(learner, tiny_tasks())
    assert (slope == 0).nonzero().flatten().tolist() == [1, 4]
    assert matrix[[1, 4]].abs().max() == 0


def test_the_order_counts_pairs_with_a_smaller_number_for_the_negative_rate():
    numbers = torch.tensor([0.0, 2.0, 1.0, 2.0, 3.0])
    negative = torch.tensor([True, True, False, False, False])
    assert order_of(numbers, negative) == pytest.approx((3 + 1.5) / 6)  # all three; one larger and one equal
    assert order_of(-numbers, negative) == pytest.approx(1 - 4.5 / 6)


def test_the_order_of_numbers_that_say_nothing_is_one_half():
    draws = torch.Generator().manual_seed(0)
    negative = torch.rand(4000, generator=draws) < 0.4
    # The standard error of this measure is about 0.01 for so many.
    assert order_of(torch.randn(4000, generator=draws), negative) == pytest.approx(0.5, abs=0.04)


def test_the_summary_of_the_model_says_how_many_rates_and_eigenvalues_are_negative(monkeypatch):
    monkeypatch.setattr(sine_rates, "MODEL_TASKS", 3)
    recipe = SineRecipe()
    learner = recipe.make_learner()
    with torch.no_grad():
        learner.alpha["4.bias"].fill_(-1.0)
    found = signs_and_curvature(learner, recipe.training_tasks())
    assert found["negative"] == pytest.approx(1 / found["parameters"], abs=1e-4)
    assert found["smallest eigenvalue"] < found["largest eigenvalue"]
    assert all(0 <= order <= 1 for order in found["order"].values())


def test_with_batch_statistics_a_rate_may_want_to_be_negative_on_its_own():
    """The proposition of chapter 11 needs losses of single examples; here E[v g] by hand.

    Prediction w z of y = x, with z = (x - mean) / sd over the set. Two examples give z = -1, 1, so the mean support
    gradient is 2 (w - E|x1 - x2| / 2) = 2 (w - 1 / sqrt(pi)), zero at w = 0.564; with many examples it is 2 (w - 1).
    Between these two points the two means have opposite signs, and their product is negative. 20,000 sets give it
    with a standard error below 0.01.
    """
    draws = torch.Generator().manual_seed(0)
    w = torch.tensor(0.8, dtype=torch.float64)

    def gradients(size):
        x = torch.randn(20_000, size, dtype=torch.float64, generator=draws)
        z = F.batch_norm(x.T, None, None, training=True, eps=1e-12).T
        return (2 * (w * z - x) * z).mean(1)

    two, many = gradients(2), gradients(50)
    by_hand = 2 * (w.item() - 1 / torch.pi**0.5)
    assert two.mean().item() == pytest.approx(by_hand, abs=0.03)
    assert (two * many).mean() < -0.1
    assert (two * gradients(2)).mean() > 0.1


def test_the_stored_results_are_complete():
    stored = load_results("sine-rates")
    assert [cell.name for cell in stored] == list(EXPERIMENTS["sine-rates"].make_cells({}))
    for cell in stored:
        assert cell.scores()
        assert cell.scores()[0].variant is None
