"""Folds: which digits are kept apart, and that the classes made of training digits contain no held-out digit."""

from itertools import permutations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from metasgd.data import load_mnist
from metasgd.tasks import composites, fold_digits, orientations


def test_the_folds_are_those_of_the_protocol() -> None:
    """Fold k holds out {2k, ..., 2k + 4} mod 10; written out here, so that nobody changes the protocol unseen."""
    assert [held_out for _, held_out in map(fold_digits, range(5))] == [
        (0, 1, 2, 3, 4),
        (2, 3, 4, 5, 6),
        (4, 5, 6, 7, 8),
        (0, 6, 7, 8, 9),
        (0, 1, 2, 8, 9),
    ]


def test_a_fold_splits_the_ten_digits() -> None:
    for fold in range(5):
        training, held_out = fold_digits(fold)
        assert sorted(training + held_out) == list(range(10))
        assert len(training) == len(held_out) == 5


@pytest.mark.parametrize("fold", [-1, 5])
def test_a_fold_that_does_not_exist_is_refused(fold: int) -> None:
    with pytest.raises(ValueError, match=f"fold {fold} does not exist; folds are 0 to 4"):
        fold_digits(fold)


def digits_that_say_their_name() -> list[Tensor]:
    """Two pictures of 2 x 2 pixels a digit: ten times the digit, plus where the pixel stands (0 to 3)."""
    return [10 * digit + torch.arange(4).reshape(1, 2, 2).expand(2, 2, 2) for digit in range(10)]


@pytest.mark.parametrize("fold", range(5))
def test_orientations_hold_no_held_out_digit_and_all_training_digits(fold: int) -> None:
    training, _ = fold_digits(fold)
    classes = orientations(digits_that_say_their_name(), training)
    assert {int(pixel) // 10 for pictures in classes for pixel in pictures.flatten()} == set(training)


def test_orientations_are_quarter_turns_without_those_that_look_like_a_digit() -> None:
    """3, 4 and 7 turn all the way; the others by 0 and 90 degrees, since half a turn makes a digit of them."""
    images = digits_that_say_their_name()
    turned = {digit: orientations(images, [digit]) for digit in range(10)}
    assert {digit for digit, classes in turned.items() if len(classes) == 4} == {3, 4, 7}
    assert {digit for digit, classes in turned.items() if len(classes) == 2} == {0, 1, 2, 5, 6, 8, 9}
    # [[0, 1], [2, 3]] turned to the left once, twice, three times.
    assert [(pictures[0] - 70).tolist() for pictures in turned[7]] == [
        [[0, 1], [2, 3]],
        [[1, 3], [0, 2]],
        [[3, 2], [1, 0]],
        [[2, 0], [3, 1]],
    ]
    assert [(pictures[0] - 60).tolist() for pictures in turned[6]] == [[[0, 1], [2, 3]], [[1, 3], [0, 2]]]


@pytest.mark.parametrize(("digit", "seen_as"), [(0, 0), (1, 1), (6, 9), (9, 6)])
def test_half_a_turn_makes_a_digit_again(digit: int, seen_as: int) -> None:
    """The reason for leaving turns out, on real digits: most turned pictures have this digit as nearest neighbour.

    Nearest by cosine among 800 pictures of each digit, for 200 other pictures: a held-out 9 comes back as a turned 6.
    """
    images = torch.stack(load_mnist(quiet=True)).float()
    known = F.normalize(images[:, :800].flatten(0, 1).flatten(1), dim=1)
    turned = F.normalize(torch.rot90(images[digit, 800:], 2, dims=(1, 2)).flatten(1), dim=1)
    neighbours = (turned @ known.T).argmax(1) // 800
    assert neighbours.mode().values == seen_as


def test_composites_join_the_left_of_one_class_to_the_right_of_another() -> None:
    images = digits_that_say_their_name()[:3]
    made = composites(images, 6, examples=5)
    pairs = set()
    for pictures in made:
        assert pictures.shape == (5, 2, 2)
        (left,), (right,) = ((pictures[..., side] // 10).unique().tolist() for side in (0, 1))
        assert pictures[0].fmod(10).tolist() == [[0, 1], [2, 3]]  # left pixels are left, right ones right
        pairs.add((left, right))
    assert pairs == set(permutations(range(3), 2))


def test_more_composites_than_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="7 composites need 7 pairs, but 3 classes have 6"):
        composites(digits_that_say_their_name()[:3], 7)
