"""What miniImageNet and CIFAR-FS have in common: 100 classes of colour pictures in three disjoint parts."""

from collections.abc import Collection, Mapping

from torch import Tensor

__all__ = ["PARTS"]

# The classes of meta-training, of validation and of the test, in both data sets.
PARTS = {"train": 64, "val": 16, "test": 20}
EXAMPLES = 600  # pictures of each class, in both

# By part and by the name of a class, uint8 of shape (examples, 3, height, width).
Parts = Mapping[str, Mapping[str, Tensor]]


def check_parts(parts: Collection[str]) -> None:
    """Refuse no parts, and a part that does not exist."""
    if isinstance(parts, str) or not parts or not set(parts) <= PARTS.keys():
        raise ValueError(f"parts is {parts!r}; it must be a list of some of {', '.join(PARTS)}")


def in_numbers(parts: Parts) -> str:
    """Return how much there is of each part, for a message.

    >>> import torch
    >>> in_numbers({"test": {"cat": torch.zeros(600, 3, 84, 84), "dog": torch.zeros(400, 3, 84, 84)}})
    'test: 1,000 pictures of 2 classes'
    """
    counts = {part: (sum(map(len, classes.values())), len(classes)) for part, classes in parts.items()}
    return ", ".join(
        f"{part}: {pictures:,} pictures of {classes} classes" for part, (pictures, classes) in counts.items()
    )
