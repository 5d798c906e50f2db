"""Which digits are for training and which for testing, and how a few digits make many classes (chapters 7 and 8)."""

from collections.abc import Sequence

import torch
from torch import Tensor

NUM_FOLDS = 5
# For each digit, the numbers of quarter turns that make a new class. Half a turn makes 0, 1, 2, 5 and 8 look as
# before, or nearly so, and a 6 look like a 9. So a held-out digit, which must not be seen in any orientation, would be
# seen if another digit were turned by half a turn.
QUARTER_TURNS = {digit: (0, 1, 2, 3) if digit in (3, 4, 7) else (0, 1) for digit in range(10)}


def fold_digits(fold: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the meta-training digits and the held-out digits of a fold (chapter 7).

    Fold k holds out the five digits 2k, 2k + 1, ..., 2k + 4 modulo 10.

    Raises:
        ValueError: ``fold`` is not one of 0 to 4.

    >>> fold_digits(3)
    ((1, 2, 3, 4, 5), (0, 6, 7, 8, 9))
    """
    if fold not in range(NUM_FOLDS):
        raise ValueError(f"fold {fold} does not exist; folds are 0 to {NUM_FOLDS - 1}")
    held_out = tuple(sorted((2 * fold + step) % 10 for step in range(5)))
    return tuple(digit for digit in range(10) if digit not in held_out), held_out


def orientations(images: Sequence[Tensor], digits: Sequence[int]) -> list[Tensor]:
    """Return classes of digits and of digits turned by quarter turns, but not of turns that look like a digit again.

    Args:
        images: one tensor of shape (examples, height, width) for each of the ten digits, or of shape
            (examples, channels, height, width).
        digits: the digits to use.

    Returns:
        One tensor of the same shape for each class, with height and width exchanged by some turns: for each digit
        first as it is, then turned.

    >>> from metasgd.data import load_mnist
    >>> len(orientations(load_mnist(quiet=True), fold_digits(0)[0]))            # 5, 6, 8, 9: two each; 7: four
    12
    """
    return [torch.rot90(images[digit], turns, dims=(-2, -1)) for digit in digits for turns in QUARTER_TURNS[digit]]


def composites(classes: Sequence[Tensor], count: int, *, examples: int = 200, seed: int = 0) -> list[Tensor]:
    """Make new classes of symbols: the left half of one class beside the right half of another (chapter 8).

    Every composite class belongs to an ordered pair of different classes. Each of its pictures joins a random picture
    of the first to a random picture of the second, so the pictures of a class vary as handwriting does. Nothing but
    the given classes is used.

    Args:
        classes: one tensor of shape (examples, height, width) for each class, or (examples, channels, height, width).
        count: the number of composite classes; their pairs are drawn without replacement.
        examples: the number of pictures in each.
        seed: decides the pairs and the pictures.

    Returns:
        One tensor of such a shape for each composite class.

    Raises:
        ValueError: there are fewer ordered pairs than ``count``.
    """
    pairs = [(left, right) for left in range(len(classes)) for right in range(len(classes)) if left != right]
    if count > len(pairs):
        raise ValueError(f"{count} composites need {count} pairs, but {len(classes)} classes have {len(pairs)}")
    generator = torch.Generator().manual_seed(seed)
    made = []
    for index in torch.randperm(len(pairs), generator=generator)[:count].tolist():
        left, right = (
            classes[label][torch.randint(len(classes[label]), (examples,), generator=generator)]
            for label in pairs[index]
        )
        middle = left.shape[-1] // 2
        made.append(torch.cat([left[..., :middle], right[..., middle:]], dim=-1))
    return made
