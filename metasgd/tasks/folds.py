"""Which digits train and which test: five class-disjoint folds of MNIST (chapter 7)."""

from collections.abc import Sequence

import torch
from torch import Tensor

NUM_FOLDS = 5
# Quarter turns that make a new picture. Half a turn takes 0, 1, 2, 5 and 8 to themselves, or nearly, and 6 to 9; a digit
# that must not be seen in any orientation would come back through that door.
QUARTER_TURNS = {digit: (0, 1, 2, 3) if digit in (3, 4, 7) else (0, 1) for digit in range(10)}


def fold_digits(fold: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return (meta-training digits, held-out digits) of a fold: fold k holds out 2k, ..., 2k + 4 modulo 10.

    Raises:
        ValueError: a fold that does not exist.

    >>> fold_digits(3)
    ((1, 2, 3, 4, 5), (0, 6, 7, 8, 9))
    """
    if fold not in range(NUM_FOLDS):
        raise ValueError(f"fold {fold} does not exist; folds are 0 to {NUM_FOLDS - 1}")
    held_out = tuple(sorted((2 * fold + step) % 10 for step in range(5)))
    return tuple(digit for digit in range(10) if digit not in held_out), held_out


def orientations(images: Sequence[Tensor], digits: Sequence[int]) -> list[Tensor]:
    """Turn every digit by quarter turns into new classes, leaving out turns that look like a digit again.

    Args:
        images: one tensor of shape (examples, 28, 28) for each of the ten digits.
        digits: which to use.

    >>> from metasgd.data import load_mnist
    >>> len(orientations(load_mnist(quiet=True), fold_digits(0)[0]))            # 5, 6, 8, 9: two each; 7: four
    12
    """
    return [
        torch.rot90(images[digit], turns, dims=(1, 2)) for digit in digits for turns in QUARTER_TURNS[digit]
    ]
