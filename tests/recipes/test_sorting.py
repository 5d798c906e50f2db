"""Rounds of the game of chapter 1: symbols that no other round has, and drawings that cannot be counted out."""

import torch

from metasgd.recipes.sorting import SortingRounds, round_scores, untrained


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_round_has_an_example_of_each_symbol_and_ten_other_drawings() -> None:
    tasks = SortingRounds().sample(3, generator(0))
    assert tasks.support_x.shape == (3, 5, 1, 28, 28)
    assert tasks.query_x.shape == (3, 10, 1, 28, 28)
    assert tasks.support_y.tolist() == [[0, 1, 2, 3, 4]] * 3
    pictures = torch.cat([tasks.support_x, tasks.query_x], 1).flatten(0, 1).flatten(1)
    assert len(pictures.unique(dim=0)) == len(pictures)
    assert 0 <= pictures.min() < pictures.max() <= 1


def test_the_drawings_of_a_symbol_are_not_always_two() -> None:
    """Else the last ones could be told by counting. None comes more than four times, which is all there are."""
    labels = SortingRounds().sample(20, generator(0)).query_y
    counts = torch.stack([labels.eq(symbol).sum(1) for symbol in range(5)])
    assert counts.max() == 4
    assert counts.min() == 0
    assert counts.sum(0).tolist() == [10] * 20


def test_a_label_names_the_symbol_that_is_drawn() -> None:
    """On the average of many rounds, a drawing is nearer to the example of its own symbol than to the others'."""
    tasks = SortingRounds().sample(40, generator(1))
    far = (tasks.query_x.unsqueeze(2) - tasks.support_x.unsqueeze(1)).square().flatten(3).mean(3)
    own = far.gather(2, tasks.query_y.unsqueeze(2)).mean()
    assert own < 0.8 * far.mean()


def test_the_same_seed_draws_the_same_rounds() -> None:
    first, again, other = (SortingRounds().sample(1, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first.query_x, again.query_x)
    assert not torch.equal(first.query_x, other.query_x)


def test_untrained_learners_differ_and_begin_with_a_last_layer_of_zeros() -> None:
    one, other = untrained(2)
    names = list(one.theta)
    assert not torch.equal(one.theta[names[0]], other.theta[names[0]])
    assert not one.theta[names[-2]].any()


def test_scores_count_every_round_once() -> None:
    (learner,) = untrained(1)
    scores = round_scores(learner, num_rounds=6, starts=2)
    assert list(scores) == ["meta-trained", "not meta-trained"]
    assert all(len(score.per_task) == 6 for score in scores.values())
    assert torch.equal(scores["meta-trained"].per_task[:3], scores["not meta-trained"].per_task[:3])  # the same seed
