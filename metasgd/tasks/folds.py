"""Which digits train and which test, and how a few digits make many classes (chapters 7 and 8)."""

from collections.abc import Sequence

import torch
from torch import Tensor

NUM_FOLDS = 5
# Quarter turns that make a new picture. Half a turn takes 0, 1, 2, 5 and 8 to themselves, or nearly, and 6 to 9: a
# digit that must not be seen in any orientation would come back through that door.
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
    return [torch.rot90(images[digit], turns, dims=(1, 2)) for digit in digits for turns in QUARTER_TURNS[digit]]


def composites(classes: Sequence[Tensor], count: int, *, examples: int = 200, seed: int = 0) -> list[Tensor]:
    """Make new classes of symbols: the left half of one class beside the right half of another.

    Every composite class is an ordered pair of different classes; each of its pictures joins a random picture of the
    one to a random picture of the other, so that it varies as handwriting does. Nothing but the given classes is used.

    Args:
        classes: tensors of shape (examples, height, width).
        count: how many composite classes; pairs are drawn without replacement.
        examples: pictures in each.
        seed: of the pairs and the pictures.

    Raises:
        ValueError: more composites than ordered pairs.
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
