"""Navigation: its learner, its tasks, a run of it, and the stored results."""

import json
from dataclasses import replace

import pytest
import torch

from metasgd import MetaSGD, experiments, training
from metasgd.__main__ import main
from metasgd.recipes import meta_train, navigation
from metasgd.recipes.navigation import NavigationRecipe
from metasgd.recipes.recipe import METHODS

SMALL = {"iterations": 3, "meta_batch": 2, "trajectories": 4, "horizon": 5, "hidden": 6}


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def small_learner(**changes) -> tuple[MetaSGD, NavigationRecipe]:
    config = NavigationRecipe(**SMALL | changes)
    return config.make_learner(), config


# ---------------------------------------------------------------------------------------------------------------
# The learner


def test_all_tasks_at_once_equal_a_loop_over_tasks(float64):
    """Float64 sums in another order: 1e-10; a wrong formula gives 1e-3 or more."""
    learner, config = small_learner()
    tasks = navigation.NavigationSampler(learner, config).sample(3, generator(0))
    loss = learner.meta_backward(tasks)
    found = [value.grad.clone() for value in (*learner.theta.values(), *learner.alpha.values())]
    expected_loss = learner.meta_loss(tasks)
    expected = torch.autograd.grad(expected_loss, [*learner.theta.values(), *learner.alpha.values()])
    torch.testing.assert_close(loss, expected_loss.detach())
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_many_tasks_adapt_as_each_would_alone(float64):
    learner, config = small_learner()
    tasks = navigation.NavigationSampler(learner, config).sample(3, generator(0))
    together = navigation.adapt(learner, tasks.support_x, tasks.support_y)
    for index in range(3):
        alone = learner.inner_update(tasks.support_x[index], tasks.support_y[index])
        for name, value in alone.items():
            torch.testing.assert_close(together[name][index], value.detach())


def test_a_sample_holds_support_trajectories_of_theta_and_query_trajectories_of_what_it_adapts_to(float64):
    """The same generator draws the same; the loss of a set is minus its mean reward, whatever the parameters."""
    learner, config = small_learner(task_lr=0.0)
    sampler = navigation.NavigationSampler(learner, config)
    tasks = sampler.sample(4, generator(0))
    examples = config.trajectories * config.horizon
    assert [tuple(part.shape) for part in tasks] == [(4, examples, 2), (4, examples, 4)] * 2
    still = sampler.sample(4, generator(0))
    assert torch.equal(tasks.query_y, still.query_y)  # the same generator, the same trajectories
    for rate in learner.alpha.values():
        rate.data.fill_(0.01)
    moved = sampler.sample(4, generator(0))
    assert torch.equal(tasks.support_y, moved.support_y)
    assert not torch.equal(tasks.query_y, moved.query_y)
    assert learner.meta_loss(tasks).item() == pytest.approx(-tasks.query_y[..., 3].mean().item())


def test_both_methods_start_from_the_same_policy():
    starts = [NavigationRecipe(method=method, seed=4).make_learner() for method in METHODS]
    assert all(torch.equal(starts[0].theta[name], value) for name, value in starts[1].theta.items())
    assert [any(rate.requires_grad for rate in learner.alpha.values()) for learner in starts] == [True, False]


def test_making_a_policy_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    NavigationRecipe(**SMALL).make_learner()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "sgd"}, "method 'sgd' does not exist; choose one of meta-sgd, maml"),
        ({"estimator": "exact"}, "estimator 'exact' does not exist; choose one of dice, naive"),
        ({"trajectories": 1}, "trajectories is 1; .* at least 2"),
        ({"horizon": 0}, "horizon is 0; .* at least 1"),
    ],
)
def test_wrong_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        NavigationRecipe(**settings)


# ---------------------------------------------------------------------------------------------------------------
# Runs and results


def test_training_raises_the_return_on_new_goals():
    """20 short meta-updates, by much more than the sum of both 95% intervals."""
    config = NavigationRecipe(iterations=20, meta_batch=10, trajectories=10, horizon=20, hidden=20, task_lr=0.01)
    before, after = (
        navigation.returns_on_new_goals(learner, config, num_tasks=100)["after"]
        for learner in (config.make_learner(), meta_train(config, progress=False)[0])
    )
    assert after.mean > before.mean + before.half_width + after.half_width


def test_every_learner_is_tested_on_the_same_goals():
    learners = [small_learner(seed=seed) for seed in (0, 1)]
    found = [navigation.returns_on_new_goals(learner, config, num_tasks=60) for learner, config in learners]
    assert torch.equal(found[0]["oracle"].per_task, found[1]["oracle"].per_task)
    assert not torch.equal(found[0]["before"].per_task, found[1]["before"].per_task)
    assert len(found[0]["after"].per_task) == 60


def test_without_a_rate_nothing_is_adapted(float64):
    """Before and after the step, the same policy tries; 400 trajectories of a few steps differ by noise alone."""
    learner, config = small_learner(task_lr=0.0)
    found = navigation.returns_on_new_goals(learner, config, num_tasks=100)
    assert abs(found["before"].mean - found["after"].mean) < 0.05 * abs(found["before"].mean)


def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(tmp_path, monkeypatch):
    """The trajectories of an iteration depend on the learner then, and on (seed, iteration), and on nothing else."""
    config = NavigationRecipe(**SMALL | {"iterations": 4})
    whole, _ = meta_train(config, progress=False)

    with monkeypatch.context() as patch:
        patch.setattr("metasgd.training.iteration_generator", interrupted_at(2))
        with pytest.raises(KeyboardInterrupt):
            meta_train(config, out=tmp_path, checkpoint_every=1, progress=False)
    resumed, history = meta_train(config, out=tmp_path, resume=True, progress=False)
    assert len(history) == 4
    assert all(torch.equal(resumed.theta[name], value) for name, value in whole.theta.items())
    assert all(torch.equal(resumed.alpha[name], value) for name, value in whole.alpha.items())


def test_a_run_ends_as_the_iterate_that_does_best_on_goals_of_its_own():
    config = NavigationRecipe(**SMALL | {"iterations": 4, "meta_lr": 0.1})
    learner, history = meta_train(config, validate_every=1, progress=False)
    scores = [entry["validation"] for entry in history]
    goals = {"num_tasks": navigation.VALIDATION_TASKS, "seed": navigation.VALIDATION_SEED}
    assert navigation.returns_on_new_goals(learner, config, **goals)["after"].mean == pytest.approx(max(scores))
    assert max(scores) > min(scores)
    assert navigation.VALIDATION_SEED not in (experiments.TEST_SEED, experiments.VALIDATION_SEED)


def interrupted_at(last):
    """Return ``iteration_generator``, interrupted at one iteration."""
    whole = training.iteration_generator

    def generator_of(seed, iteration, device):
        if iteration == last:
            raise KeyboardInterrupt
        return whole(seed, iteration, device)

    return generator_of


def test_maml_keeps_its_one_rate():
    learner, _ = meta_train(NavigationRecipe(method="maml", task_lr=0.01, **SMALL), progress=False)
    assert all((rate == 0.01).all() for rate in learner.alpha.values())


def test_the_experiment_runs_at_small_size(tmp_path):
    """The code path of the stored results: each cell once."""
    written = experiments.run_experiment(
        "navigation", None, out=tmp_path, work=tmp_path / "work", tasks=3, command="python -m metasgd", **SMALL
    )
    results = json.loads(written.read_text())
    check_results(results)
    assert "images" not in results
    cell = results["cells"]["maml-random-seed1"]["config"]
    assert (cell["method"], cell["random_start"], cell["seed"], cell["hidden"]) == ("maml", True, 1, SMALL["hidden"])
    scores = experiments.navigation_scores(results, "meta-sgd", "fixed", "oracle")
    assert [score.mean for score in scores] == [
        results["cells"][f"meta-sgd-fixed-seed{seed}"]["mean_return"]["oracle"]["mean"]
        for seed in range(experiments.NAVIGATION_SEEDS)
    ]


def test_images_have_no_say_in_navigation(tmp_path, capsys):
    command = ["experiment", "navigation", "--width", "4", "--out", str(tmp_path), "--work", str(tmp_path)]
    assert main(command) == 2
    assert "navigation has no setting width; leave it out" in capsys.readouterr().err


def check_results(results):
    """The schema: each cell says how it was made, and its returns before and after the step."""
    assert results["experiment"] == "navigation"
    assert results["command"].startswith("python -m metasgd")
    for cell in results["cells"].values():
        assert replace(NavigationRecipe(), **cell["config"]).seed == cell["config"]["seed"]
        assert cell["mean_return"].keys() == {"before", "after", "oracle"}
        for score in cell["mean_return"].values():
            assert score["mean"] < 0 < score["half_width_95"]
            assert score["tasks"] == results["tasks"]
        assert {"seconds", "metasgd", "commit", "torch", "device", "threads", "task_seed"} <= cell.keys()
        assert all(loss > 0 for loss in cell["loss_curve"]["mean_loss"])


def test_the_stored_results_are_complete():
    stored = experiments.load_results("navigation")
    check_results(stored)
    cells = experiments.navigation(experiments.Bench(None, 1, "cpu"))
    assert list(stored["cells"]) == list(cells)
    assert stored["tasks"] >= 1000
    for name, cell in stored["cells"].items():
        assert NavigationRecipe(**cell["config"]) == cells[name].args[0]


@pytest.mark.parametrize("start", experiments.NAVIGATION_STARTS)
def test_meta_sgd_is_above_maml_with_every_seed_and_above_the_paper(start):
    """By non-overlapping 95% intervals on the same tasks. The same seed starts both from the same policy."""
    stored = experiments.load_results("navigation")
    ours, maml = (experiments.navigation_scores(stored, method, start) for method in METHODS)
    assert len(ours) == len(maml) == experiments.NAVIGATION_SEEDS
    for a, b in zip(ours, maml, strict=True):
        assert a.mean - a.half_width > b.mean + b.half_width
        assert a.mean - a.half_width > navigation.PAPER["meta-sgd"][start == "random"]


def test_settings_were_chosen_on_other_goals_and_seeds_than_those_of_the_table():
    cells = experiments.load_results("navigation")["cells"]
    tuning = {name: cell for name, cell in cells.items() if name.startswith("tuning")}
    table = [cell for name, cell in cells.items() if name not in tuning]
    assert {cell["task_seed"] for cell in tuning.values()} == {experiments.VALIDATION_SEED}
    assert {cell["task_seed"] for cell in table} == {experiments.TEST_SEED}
    assert {cell["config"]["seed"] for cell in tuning.values()}.isdisjoint(cell["config"]["seed"] for cell in table)


@pytest.mark.parametrize("method", METHODS)
def test_each_method_has_the_best_of_the_settings_that_were_tried(method):
    cells = experiments.load_results("navigation")["cells"]
    tried = [cells[experiments.tuning_name(method, settings)] for settings in experiments.NAVIGATION_TUNING[method]]
    best = max(tried, key=lambda cell: cell["mean_return"]["after"]["mean"])["config"]
    for start in experiments.NAVIGATION_STARTS:
        used = cells[f"{method}-{start}-seed0"]["config"]
        assert [used[rate] for rate in ("meta_lr", "alpha_lr", "task_lr")] == [
            best[rate] for rate in ("meta_lr", "alpha_lr", "task_lr")
        ]
