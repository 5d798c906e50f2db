"""Navigation: the environment, the advantages, the estimators against known answers, and the stored results."""

import json
import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call

from metasgd import MetaSGD, Task, experiments, training
from metasgd.__main__ import main
from metasgd.recipes import meta_train, navigation
from metasgd.recipes import policy as policy_module
from metasgd.recipes.navigation import NavigationRecipe
from metasgd.recipes.policy import GaussianPolicy, policy_loss
from metasgd.recipes.recipe import METHODS
from metasgd.tasks.navigation import (
    GOAL_RADIUS,
    MAX_SPEED,
    NavigationTasks,
    Trajectories,
    draw_navigation,
    move,
    walk_straight,
)

SMALL = {"iterations": 3, "meta_batch": 2, "trajectories": 4, "horizon": 5, "hidden": 6}


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


def small_learner(**changes) -> tuple[MetaSGD, NavigationRecipe]:
    config = NavigationRecipe(**SMALL | changes)
    return config.make_learner(), config


# ---------------------------------------------------------------------------------------------------------------
# The environment


def test_goals_are_uniform_in_the_square_and_starts_are_its_centre(device):
    """Kolmogorov-Smirnov: the distribution of 4,000 uniform draws is 1.95 / sqrt(4000) = 0.031 off once in 1,000."""
    tasks = draw_navigation(2000, generator(0, device))
    scaled = (tasks.goal.flatten().cpu().double() + 0.5).sort().values
    assert 0 <= scaled[0] <= scaled[-1] <= 1
    assert (scaled - torch.linspace(0, 1, 4000, dtype=torch.float64)).abs().max() < 0.031
    assert (tasks.start == 0).all()
    assert tasks.start.shape == (2000, 2)
    assert tasks.start.device.type == device.type


def test_random_starts_leave_the_goals_as_they_are():
    fixed, random = (draw_navigation(50, generator(3), random_start=choice) for choice in (False, True))
    assert torch.equal(fixed.goal, random.goal)
    assert random.start.unique().numel() == 100
    assert random.start.abs().max() <= 0.5


def test_an_action_moves_the_agent_and_is_clipped_and_rewarded_by_minus_the_squared_distance(float64):
    """From (0, 0) by (0.05, -0.1), twice, towards (0.3, 0.4): the second coordinate wanted -0.2 and got -0.1."""
    tasks = NavigationTasks(torch.zeros(1, 2), torch.tensor([[0.3, 0.4]]))
    run = move(lambda position: torch.tensor([0.5, -2.0]).expand_as(position), tasks, 1, horizon=2)
    torch.testing.assert_close(run.positions[0, 0], torch.tensor([[0.0, 0.0], [0.05, -0.1]]))
    expected = [-(0.25**2 + 0.5**2), -(0.2**2 + 0.6**2)]
    torch.testing.assert_close(run.rewards[0, 0], torch.tensor(expected))
    assert run.actions[0, 0, 0].tolist() == [0.5, -2.0]  # what the policy said, not what it got
    assert run.returns.item() == pytest.approx(sum(expected))


def test_a_trajectory_ends_at_its_goal_and_costs_nothing_afterwards(float64):
    """The second action ends half a hundredth before the goal; the third would go past it, and is not carried out."""
    tasks = NavigationTasks(torch.zeros(1, 2), torch.tensor([[2 * MAX_SPEED + 0.005, 0.0]]))
    run = move(lambda position: torch.tensor([1.0, 0.0]).expand_as(position), tasks, 1, horizon=4)
    assert run.alive[0, 0].tolist() == [True, True, False, False]
    torch.testing.assert_close(run.rewards[0, 0], torch.tensor([-((MAX_SPEED + 0.005) ** 2), -(0.005**2), 0, 0]))
    torch.testing.assert_close(run.positions[0, 0, 3], torch.tensor([2 * MAX_SPEED, 0.0]))


@pytest.mark.parametrize(("distance", "alive"), [(0.9 * GOAL_RADIUS, False), (1.1 * GOAL_RADIUS, True)])
def test_the_goal_is_a_small_disc(float64, distance, alive):
    tasks = NavigationTasks(torch.zeros(1, 2), torch.tensor([[0.6 * distance, 0.8 * distance]]))
    run = move(torch.zeros_like, tasks, 1, horizon=2)
    assert run.alive[0, 0].tolist() == [True, alive]


def test_whoever_knows_the_goal_walks_there_at_full_speed(float64):
    """(0.25, -0.1): 3 steps in the first coordinate, 1 in the second; what is lost on the way is 0.15^2 + 0.05^2."""
    tasks = NavigationTasks(torch.zeros(1, 2), torch.tensor([[0.25, -0.1]]))
    run = move(walk_straight(tasks.goal), tasks, 1)
    assert run.returns.item() == pytest.approx(-(0.15**2 + 0.05**2))


def test_tasks_and_trajectories_do_not_touch_each_other(float64):
    """All at once equals one task alone, for an agent that depends on where it is."""
    tasks = draw_navigation(3, generator(1), random_start=True, dtype=torch.float64)

    def act(position: Tensor) -> Tensor:
        return torch.sin(7 * position)

    together = move(act, tasks, 2, horizon=9)
    for index in range(3):
        alone = move(act, NavigationTasks(*(part[index : index + 1] for part in tasks)), 1, horizon=9)
        torch.testing.assert_close(together.positions[index, 1], alone.positions[0, 0])
        torch.testing.assert_close(together.rewards[index, 0], alone.rewards[0, 0])


def test_no_task_is_refused():
    with pytest.raises(ValueError, match="num_tasks is 0; at least 1"):
        draw_navigation(0, generator(0))


# ---------------------------------------------------------------------------------------------------------------
# The policy


def test_policy_is_the_network_of_the_paper():
    policy = GaussianPolicy()
    shapes = [tuple(value.shape) for value in policy.parameters()]
    assert sorted(shapes) == sorted([(100, 2), (100,), (100, 100), (100,), (2, 100), (2,), (2,)])


def test_one_call_serves_many_tasks_with_parameters_of_their_own(float64):
    policy = GaussianPolicy(hidden=5)
    params = {name: torch.randn(3, *value.shape, generator=generator(0)) for name, value in policy.named_parameters()}
    positions = torch.randn(3, 4, 2, generator=generator(1))
    together = functional_call(policy, params, (positions,))
    for index in range(3):
        one = {name: value[index] for name, value in params.items()}
        torch.testing.assert_close(together[index], functional_call(policy, one, (positions[index],)))


def test_log_probability_is_that_of_the_normal_distribution(float64):
    output, action = torch.randn(6, 4, generator=generator(0)), torch.randn(6, 2, generator=generator(1))
    expected = torch.distributions.Normal(output[:, :2], output[:, 2:].exp()).log_prob(action).sum(-1)
    torch.testing.assert_close(policy_module.log_probability(output, action), expected)


def test_actions_have_the_mean_and_the_deviation_that_the_policy_says():
    """20,000 actions at the start: the mean is 1/sqrt(20000) = 0.007 deviations off, the deviation 0.005."""
    policy = GaussianPolicy(deviation=0.5)
    tasks = draw_navigation(2, generator(0))
    run = policy_module.explore(policy, dict(policy.named_parameters()), tasks, 10_000, 1, generator(1))
    actions = run.actions.reshape(-1, 2)
    mean = policy(torch.zeros(1, 2))[0, :2]
    assert (actions.mean(0) - mean).abs().max() < 4 * 0.5 * 0.0071
    assert (actions.std(0) - 0.5).abs().max() < 4 * 0.5 * 0.005


# ---------------------------------------------------------------------------------------------------------------
# Advantages


def random_trajectories(count: int = 6, horizon: int = 7) -> Trajectories:
    """Two tasks of an agent that wanders, in float64."""
    tasks = draw_navigation(2, generator(0), dtype=torch.float64)
    source = generator(1)
    return move(lambda p: torch.randn(p.shape, generator=source, dtype=p.dtype), tasks, count, horizon)


def test_advantage_is_what_follows_less_what_the_others_had():
    """A reward counts for the actions before it; it changes the baseline of the other half of trajectories alone."""
    run = random_trajectories()
    before = policy_module.advantages(run)
    rewards = run.rewards.clone()
    rewards[0, 0, 3] += 1
    change = policy_module.advantages(run._replace(rewards=rewards)) - before
    torch.testing.assert_close(change[0, 0], torch.tensor([1.0, 1, 1, 1, 0, 0, 0], dtype=torch.float64))
    assert change[0, 2::2].abs().max() < 1e-9  # the same half: its baseline comes from the other
    assert change[0, 1::2].abs().min() > 0  # the other half: its baseline has changed
    assert change[1].abs().max() == 0  # the other task


def test_actions_after_the_end_have_no_advantage():
    run = random_trajectories()
    alive = run.alive.clone()
    alive[:, :, 4:] = False
    advantage = policy_module.advantages(run._replace(alive=alive, rewards=run.rewards * alive))
    assert (advantage[:, :, 4:] == 0).all()
    assert (advantage[:, :, :4] != 0).all()


def test_the_baseline_takes_noise_away():
    """Where a wandering agent goes next is in no baseline; where it is now explains about half of what follows."""
    run = random_trajectories(count=40, horizon=30)
    to_go = run.rewards.flip(2).cumsum(2).flip(2)
    assert policy_module.advantages(run).var() < 0.6 * (to_go - to_go.mean()).var()


# ---------------------------------------------------------------------------------------------------------------
# The estimators, on problems with a known answer


class Gaussian(nn.Module):
    """A policy that says the same everywhere: theta is its mean; its deviation is fixed."""

    def __init__(self, mean: float, deviation: float) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.tensor([mean]))
        self.register_buffer("log_std", torch.tensor([deviation]).log())

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.mean.expand(len(x)), self.log_std.expand(len(x))], -1)


MEAN, DEVIATION, RATE, SAMPLES = 1.0, 0.5, 0.1, 20


def bandit_gradients(estimator: str, *, samples: int = SAMPLES, batches: int = 40, exact: bool = False) -> Tensor:
    """Return estimates of the gradient of the return after one step, in (theta, alpha), of shape (batches, 2).

    One action a, rewarded by -a^2. The step is theta' = theta + alpha * mean(reward * score) over the samples.
    """
    loss_fn = policy_loss(1, "naive" if exact else estimator)
    learner = MetaSGD(Gaussian(MEAN, DEVIATION), loss_fn, task_lr=RATE, strategy="batched")
    source, tasks, found = generator(0), 1000, []

    def act(mean: float | Tensor) -> Tensor:
        action = mean + DEVIATION * torch.randn(tasks, samples, 1, generator=source)
        return torch.cat([action, -action.square(), -action.square()], -1)

    for _ in range(batches):
        support = act(MEAN)
        score = (support[..., :1] - MEAN) / DEVIATION**2
        query = act(MEAN + RATE * (score * support[..., 1:2]).mean(1, keepdim=True))
        x = torch.zeros(tasks, samples, 1)
        batch = Task(x, support, x, query)
        learner.meta_backward(batch)
        if exact:
            policy_module.add_sampling_term(learner, batch)
        found.append([-learner.theta["mean"].grad.item(), -learner.alpha["mean"].grad.item()])
    return torch.tensor(found)


def known_gradient(samples: int = SAMPLES) -> Tensor:
    """The gradient, in (theta, alpha), of the expected return after the step, which is (d = theta, s = deviation)

        J = -s^2 - d^2 (1 - 2 alpha)^2 - alpha^2 V / n,      V = d^4 / s^2 + 14 d^2 + 15 s^2,

    since the step has the mean -2 alpha d and the variance alpha^2 V / n: with e standard normal, one sample's
    contribution is (e / s) * -(d + s e)^2, whose mean is -2 d and whose second moment is d^4 / s^2 + 18 d^2 + 15 s^2.
    """
    d, s, a, n = MEAN, DEVIATION, RATE, samples
    variance = d**4 / s**2 + 14 * d**2 + 15 * s**2
    in_theta = -2 * d * (1 - 2 * a) ** 2 - a**2 / n * (4 * d**3 / s**2 + 28 * d)
    return torch.tensor([in_theta, 4 * d**2 * (1 - 2 * a) - 2 * a / n * variance])


def deviations(estimates: Tensor, truth: Tensor) -> Tensor:
    """How many standard errors the mean of independent estimates lies from the truth."""
    return (estimates.mean(0) - truth) / (estimates.std(0) / math.sqrt(len(estimates)))


def test_the_exact_estimator_is_unbiased(float64):
    """Four standard errors: a right estimator fails once in 10,000 seeds, and the seed is fixed."""
    assert deviations(bandit_gradients("naive", exact=True), known_gradient()).abs().max() < 4


def test_dice_has_the_right_hessian_and_a_bias_of_one_over_the_samples(float64):
    """DiCE multiplies an estimate of v = -2 theta' by one of 1 + alpha H, from the same samples. Both are right, and

        E[v (1 + alpha H)] = -2 d (1 - 2 alpha)^2 - 2 alpha^2 Cov / n,       Cov = 8 d^3 / s^2 + 44 d,

    which is the truth but for a term in alpha^2 / n.
    """
    d, s, a = MEAN, DEVIATION, RATE
    for samples in (SAMPLES, 10 * SAMPLES):
        expected = known_gradient(samples)
        expected[0] = -2 * d * (1 - 2 * a) ** 2 - 2 * a**2 / samples * (8 * d**3 / s**2 + 44 * d)
        batches = 40 if samples == SAMPLES else 10
        assert deviations(bandit_gradients("dice", samples=samples, batches=batches), expected).abs().max() < 4
        assert abs(expected[0] / known_gradient(samples)[0] - 1) < 0.9 / samples


def test_the_naive_estimator_is_wrong_in_theta_and_right_in_alpha(float64):
    """It takes the curvature of a fixed sample for that of the return: -r / s^2 > 0 in the mean, in place of -2."""
    found = deviations(bandit_gradients("naive"), known_gradient())
    assert abs(found[0]) > 50
    assert abs(found[1]) < 4


def chain_hessian(estimator: str) -> Tensor:
    """Return 40 estimates of the second derivative of the return of two actions a, b of mean theta: -(a + b)^2."""
    loss_fn, source, found = policy_loss(2, estimator), generator(2), []
    for _ in range(40):
        policy = Gaussian(0.5, 1.0)
        actions = 0.5 + torch.randn(5000, 2, generator=source)
        reward = -actions.sum(1, keepdim=True).square()
        advantage = reward.expand(-1, 2)  # both actions are followed by the one reward
        target = torch.stack([actions, advantage, torch.cat([torch.zeros_like(reward), reward], 1)], -1).reshape(-1, 3)
        loss = loss_fn(policy(torch.zeros(10_000, 1)), target)
        (slope,) = torch.autograd.grad(loss, policy.mean, create_graph=True)
        found.append(torch.autograd.grad(slope, policy.mean)[0].item())
    return torch.tensor(found)


def test_dice_counts_how_an_action_changes_what_later_actions_see(float64):
    """E -(a + b)^2 = -4 theta^2 - 2: its second derivative is -8, so the loss, a mean over two actions, has 4."""
    assert deviations(chain_hessian("dice"), torch.tensor(4.0)).abs() < 4
    assert deviations(chain_hessian("naive"), torch.tensor(4.0)).abs() > 50


@pytest.mark.parametrize("estimator", policy_module.ESTIMATORS)
def test_the_loss_is_minus_the_mean_reward_and_its_slope_the_policy_gradient(float64, estimator):
    """The slope is minus the mean over actions of advantage * grad log probability, by hand."""
    output = torch.randn(6, 4, generator=generator(0), requires_grad=True)
    target = torch.randn(6, 4, generator=generator(1))
    loss = policy_loss(3, estimator)(output, target)
    assert loss.item() == pytest.approx(-target[:, 3].mean().item())
    mean, deviation = output[:, :2].detach(), output[:, 2:].detach().exp()
    score = (target[:, :2] - mean) / deviation**2
    (slope,) = torch.autograd.grad(loss, output)
    torch.testing.assert_close(slope[:, :2], -score * target[:, 2:3] / 6)


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
