"""2-D navigation: goals and starts, what an action does, and what it is rewarded with."""

import pytest
import torch
from torch import Tensor

from metasgd.tasks.navigation import (
    GOAL_RADIUS,
    MAX_SPEED,
    REWARDS,
    NavigationTasks,
    draw_navigation,
    locate,
    move,
    probe,
    rewarded_by,
    walk_straight,
)


def generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    return torch.Generator(device).manual_seed(seed)


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


def test_the_reward_may_be_the_distance_itself(float64):
    """After the first action the goal is (0.3, 0.4) away, at a distance of 0.5; after the second, (0.2, 0.4)."""
    tasks = NavigationTasks(torch.zeros(1, 2), torch.tensor([[0.4, 0.4]]))
    run = move(lambda position: torch.tensor([1.0, 0.0]).expand_as(position), tasks, 1, horizon=2, reward="distance")
    torch.testing.assert_close(run.rewards[0, 0], -torch.tensor([0.5, (0.2**2 + 0.4**2) ** 0.5]))


def test_the_same_trajectories_can_be_scored_in_either_unit(float64):
    """Also after the end of a trajectory, where both rewards are zero."""
    tasks = draw_navigation(30, generator(2), dtype=torch.float64)
    runs = {reward: move(walk_straight(tasks.goal), tasks, 1, 9, reward) for reward in REWARDS}
    assert not runs["distance"].alive.all()
    for given in REWARDS:
        for wanted in REWARDS:
            torch.testing.assert_close(rewarded_by(runs[given], given, wanted).rewards, runs[wanted].rewards)


@pytest.mark.parametrize("reward", REWARDS)
@pytest.mark.parametrize("random_start", [False, True])
def test_three_rewards_without_noise_tell_where_the_goal_is(reward, random_start):
    """In float32, to a millionth or so; whoever goes there pays what is paid by whoever knows the goal."""
    tasks = draw_navigation(500, generator(5), random_start=random_start)
    found = locate(probe(tasks, reward), reward)
    torch.testing.assert_close(found, tasks.goal, rtol=0, atol=1e-4)
    runs = [move(walk_straight(goal), tasks, 1, reward=reward) for goal in (tasks.goal, found)]
    torch.testing.assert_close(runs[0].returns, runs[1].returns, rtol=0, atol=1e-2)


@pytest.mark.parametrize("place", [(0.1, 0.0), (0.1, 0.1), (0.0, 0.1), (0.105, 0.0)])
def test_a_goal_that_is_met_while_looking_for_it_is_found_where_it_was_met(place):
    tasks = NavigationTasks(torch.zeros(1, 2), torch.tensor([place]))
    assert (locate(probe(tasks)) - tasks.goal).norm() <= GOAL_RADIUS


def test_a_reward_that_does_not_exist_is_refused():
    tasks = draw_navigation(1, generator(0))
    for refuse in (lambda: move(torch.zeros_like, tasks, 1, reward="speed"), lambda: locate(probe(tasks), "speed")):
        with pytest.raises(
            ValueError, match="reward 'speed' does not exist; choose one of squared distance, distance"
        ):
            refuse()
