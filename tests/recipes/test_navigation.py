"""Navigation: its learner, its tasks, a run of it, and the stored results."""

import pytest
import torch

from metasgd import MetaSGD
from metasgd.recipes import meta_train, navigation
from metasgd.recipes.navigation import NAVIGATION_METHODS, NavigationRecipe
from metasgd.tasks.navigation import REWARDS, draw_navigation

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


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "sgd"}, "method 'sgd' does not exist; choose one of meta-sgd, maml"),
        ({"reward": "speed"}, "reward 'speed' does not exist; choose one of squared distance, distance"),
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


def test_a_run_ends_as_the_iterate_that_does_best_on_goals_of_its_own():
    config = NavigationRecipe(**SMALL | {"iterations": 4, "meta_lr": 0.1})
    learner, history = meta_train(config, validate_every=1, progress=False)
    scores = [entry["validation"] for entry in history]
    goals = {"num_tasks": navigation.VALIDATION_TASKS, "seed": navigation.VALIDATION_SEED}
    assert navigation.returns_on_new_goals(learner, config, **goals)["after"].mean == pytest.approx(max(scores))
    assert max(scores) > min(scores)


def test_a_learner_is_told_of_its_own_reward_and_scored_in_both_units(float64):
    """The same trajectories in both units; the loss of a task is minus the mean of the rewards that it was told of."""
    learner, config = small_learner(reward="distance")
    tasks = navigation.NavigationSampler(learner, config).sample(3, generator(0))
    position = tasks.support_x.reshape(3, config.trajectories, config.horizon, 2)
    reward = tasks.support_y[..., 3].reshape(position.shape[:3])
    moved, start = position[:, :, 1:], draw_navigation(3, generator(0), dtype=torch.float64)
    torch.testing.assert_close(reward[:, :, :-1], -(moved - start.goal[:, None, None]).norm(dim=-1))
    found = navigation.returns_in_both_units(learner, config, num_tasks=60)
    own = navigation.returns_on_new_goals(learner, config, num_tasks=60)
    assert {name: score.mean for name, score in own.items()} == {
        name: score.mean for name, score in found["distance"].items()
    }
    assert found["distance"]["before"].mean < found["squared distance"]["before"].mean  # distances below one


def test_whoever_solves_for_the_goal_is_as_good_as_whoever_knows_it():
    for reward in REWARDS:
        learner, config = small_learner(reward=reward, horizon=20)
        found = navigation.returns_on_new_goals(learner, config, num_tasks=60)
        assert found["solved"].mean == pytest.approx(found["oracle"].mean, abs=1e-3)


def test_one_rate_is_learned_for_all_and_first_order_drops_the_second_derivative():
    learner, _ = meta_train(NavigationRecipe(method="one-rate", **SMALL), progress=False)
    rates = torch.cat([rate.detach().flatten() for rate in learner.alpha.values()])
    assert rates.unique().numel() == 1
    assert rates[0] != 0.01
    assert [small_learner(method=name)[0].first_order for name in NAVIGATION_METHODS] == [False, False, True, False]
