"""Sine waves: what a run is."""

import pytest
import torch

from metasgd import plotting
from metasgd.evaluation import Evaluation
from metasgd.recipes import meta_train, sine
from metasgd.recipes.sine import SineRecipe
from metasgd.tasks import SineWaveSampler

SMALL = {"iterations": 3, "meta_batch": 2, "train_queries": 4}


def test_sampling_and_making_a_network_leave_the_global_random_state_alone():
    before = torch.get_rng_state()
    SineWaveSampler().sample(3)
    SineRecipe(seed=3).make_network()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "sgd"}, "method 'sgd' does not exist; choose one of meta-sgd, maml"),
        ({"method": "maml", "task_lr": (0.1, 0.2)}, r"MAML has one rate.*\(0.1, 0.2\); name one number"),
        ({"warmup": 1.0}, "warmup is 1.0; it is a fraction of the run"),
        ({"clip": 0.0}, "clip is 0.0; it must be above 0, or None"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        SineRecipe(**settings)


def test_the_network_is_that_of_the_paper():
    shapes = [tuple(value.shape) for value in SineRecipe().make_learner().theta.values()]
    assert shapes == [(40, 1), (40,), (40, 40), (40,), (1, 40), (1,)]


@pytest.mark.parametrize(("clip", "factor"), [(None, 1.0), (100.0, 1.0), (2.5, 0.5)])
def test_clipping_shortens_the_whole_gradient(float64, clip, factor):
    """The gradients (3, 0) and (4) of two groups have length 5 together; clipping to 2.5 halves both.

    The tolerance is that of ``clip_grad_norm_``, which adds 1e-6 to the length.
    """
    first, second = torch.zeros(2, requires_grad=True), torch.zeros(1, requires_grad=True)
    optimizer = sine.clipped_adam(clip)([{"params": [first], "lr": 0.1}, {"params": [second], "lr": 0.1}])
    first.grad, second.grad = torch.tensor([3.0, 0.0]), torch.tensor([4.0])
    optimizer.step()
    torch.testing.assert_close(first.grad, factor * torch.tensor([3.0, 0.0]), rtol=1e-6, atol=0)
    torch.testing.assert_close(second.grad, factor * torch.tensor([4.0]), rtol=1e-6, atol=0)


def test_the_schedule_rises_and_falls_along_straight_lines():
    schedule = sine.up_then_down(0.2)
    assert [schedule(fraction) for fraction in (0.0, 0.05, 0.2, 0.4, 1.0)] == pytest.approx([0, 0.25, 1, 0.75, 0])
    assert sine.up_then_down(0.0)(0.0) == 1


def test_training_lowers_the_error_on_new_curves():
    """80 meta-updates bring it from about 4.4, the variance of the curves, below 3.5 at 10 points."""
    config = SineRecipe(iterations=80, meta_batch=10, train_queries=10)
    before = sine.error_on_new_curves(config.make_learner(), 10, num_tasks=100).mean
    learner, history = meta_train(config, progress=False)
    assert sine.error_on_new_curves(learner, 10, num_tasks=100).mean < 0.8 * before
    assert len(history) == 80


def test_runs_side_by_side_are_those_of_one_after_the_other():
    """Another process, and one thread instead of several, may round sums in another order: 1e-5 after 3 updates."""
    configs = {"first": SineRecipe(**SMALL), "second": SineRecipe(method="maml", seed=1, **SMALL)}
    together = sine.train_side_by_side(configs, processes=2)
    alone = sine.train_side_by_side(configs, processes=1)
    assert list(together) == list(configs)
    for name in configs:
        for key, value in alone[name][0].theta.items():
            torch.testing.assert_close(together[name][0].theta[key], value, rtol=1e-5, atol=1e-6)
        assert len(together[name][1]) == SMALL["iterations"]


def test_no_step_is_the_initialisation_and_more_steps_leave_the_learner_alone():
    learner = SineRecipe().make_learner()
    errors = [sine.error_on_new_curves(learner, 5, steps=steps, num_tasks=30).mean for steps in (0, 1, 2)]
    assert len(set(errors)) == 3
    assert errors[1] == sine.error_on_new_curves(learner, 5, num_tasks=30).mean
    assert learner.inner_steps == 1
    task = SineWaveSampler(5, sine.TEST_QUERIES).sample(20, torch.Generator().manual_seed(0))
    with torch.no_grad():
        first_20 = (learner.predict(task.query_x) - task.query_y).square().mean().item()
    start = sine.error_on_new_curves(learner, 5, steps=0, num_tasks=20, seed=0).mean
    assert start == pytest.approx(first_20, rel=1e-5)  # float32 sums


def test_the_figure_of_the_table_draws_the_paper_open_and_ours_filled():
    score = Evaluation(0.4, 0.1, torch.empty(0))
    row = {5: score, 10: score._replace(mean=0.2)}
    ours = {label: {5: row, 10: row} for label in ("Meta-SGD", "MAML")}
    published = {"Meta-SGD": {5: 0.9, 10: 0.6}, "MAML": {5: 1.1, 10: 0.8}}
    paper = {label: {5: values, 10: values} for label, values in published.items()}
    panel = plotting.sine_cells(ours, paper).axes[1]
    lines = {line.get_label(): line for line in panel.lines}
    assert list(lines["Meta-SGD, the paper"].get_ydata()) == [0.9, 0.6]
    assert lines["Meta-SGD, the paper"].get_markerfacecolor() == "white"
    assert [list(bars.lines[0].get_ydata()) for bars in panel.containers] == [[0.4, 0.2]] * 2
    assert panel.get_title() == "trained with 10"
