"""Chapter 13's loss, taken from the notebook, is the package's; and the chapter's figures show what they are given."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from metasgd.recipes.policy import log_probability, magic_box, policy_loss
from tests.book.notebooks import path_of, run_tagged


@pytest.fixture(scope="module")
def dice_loss() -> Callable[[Tensor, Tensor, int], Tensor]:
    """The function of the cell tagged ``dice``."""
    given = {"log_probability": log_probability, "magic_box": magic_box}
    return run_tagged(path_of(13), ("dice",), given)["dice_loss"]


def second_derivative(loss: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    return torch.func.jacrev(torch.func.jacrev(loss))(at)


def test_the_loss_of_the_chapter_is_that_of_the_package(dice_loss, float64) -> None:
    """In value, slope and second derivative, for three trajectories of four actions."""
    generator = torch.Generator().manual_seed(0)
    output, target = (torch.randn(12, 4, generator=generator) for _ in range(2))
    found = []
    for loss in (lambda output: dice_loss(output, target, 4), lambda output: policy_loss(4)(output, target)):
        slope = torch.func.jacrev(loss)(output)
        found.append((loss(output), slope, second_derivative(loss, output)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)
    naive = second_derivative(lambda output: policy_loss(4, "naive")(output, target), output)
    assert (found[0][2] - naive).abs().max() > 0.1  # the Hessian tells the two estimators apart
