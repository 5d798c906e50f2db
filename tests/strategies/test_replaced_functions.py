"""Functions that the strategies replace have the values and derivatives of PyTorch's."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd.strategies.replaced_functions import (
    COMPILABLE_FUNCTIONS,
    FAST_FUNCTIONS,
    VMAP_SAFE_FUNCTIONS,
    ReplaceFunctions,
)

pytestmark = pytest.mark.usefixtures("float64", "no_channel_is_small")
# The same sums in another order, on numbers of size 1 in float64.
EXACT = {"rtol": 1e-12, "atol": 1e-12}
EVERY_TABLE = pytest.mark.parametrize(
    "replacements",
    [FAST_FUNCTIONS, COMPILABLE_FUNCTIONS, VMAP_SAFE_FUNCTIONS],
    ids=["FAST_FUNCTIONS", "COMPILABLE_FUNCTIONS", "VMAP_SAFE_FUNCTIONS"],
)


def draw(*shapes: tuple[int, ...], device: torch.device) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(device).requires_grad_() for shape in shapes]


@EVERY_TABLE
def test_replaced_functions_have_the_values_of_pytorchs(replacements: dict, device: torch.device) -> None:
    x, weight, bias = draw((4, 3, 5), (3,), (3,), device=device)
    rows, scale, shift = draw((7, 3), (3, 5), (3, 5), device=device)
    mean, variance = torch.zeros(3, device=device), torch.ones(3, device=device)
    indices = torch.tensor([[0, 6], [5, 1]], device=device)

    def values() -> list[Tensor]:
        return [
            F.batch_norm(x, None, None, weight, bias, True),
            F.batch_norm(x, mean, variance, weight=weight, bias=bias),  # given statistics: nothing to replace
            F.layer_norm(x, (3, 5), scale, shift, 1e-3),
            F.layer_norm(x, [5]),
            F.hardsigmoid(4 * x),
            nn.Hardsigmoid(inplace=True)(4 * x),
            F.instance_norm(x, weight=weight, bias=bias, eps=1e-3),
            F.instance_norm(x),
            F.embedding(indices, rows),
            F.embedding(indices, rows, padding_idx=-1),
            F.max_pool2d(x[None], 2),
            x.view(4, 15),
            x.view(torch.int64),
        ]

    expected = values()
    with ReplaceFunctions(replacements):
        torch.testing.assert_close(values(), expected, **EXACT)


@EVERY_TABLE
@pytest.mark.parametrize("training", [False, True])
def test_batch_norm_with_running_statistics_is_left_to_pytorch(
    replacements: dict, training: bool, device: torch.device
) -> None:
    """PyTorch normalises by these statistics or, in training, updates them: the same bits must come out."""
    x, weight, bias = draw((4, 3, 5), (3,), (3,), device=device)
    start = torch.tensor([1.0, 2.0, 3.0], device=device)

    def value_and_statistics() -> list[Tensor]:
        mean, variance = start.clone(), start.square()
        y = F.batch_norm(x, mean, variance, weight, bias, training, momentum=0.3, eps=0.1)
        return [y, mean, variance]

    expected = value_and_statistics()
    with ReplaceFunctions(replacements):
        found = value_and_statistics()
    assert all(torch.equal(value, other) for value, other in zip(found, expected, strict=True))
    assert torch.equal(expected[1], start) != training


@pytest.mark.parametrize("padding", [1, -6])
def test_padding_of_an_embedding_gets_no_gradient(padding: int, device: torch.device) -> None:
    (rows,) = draw((7, 3), device=device)
    with ReplaceFunctions(VMAP_SAFE_FUNCTIONS):
        F.embedding(torch.tensor([0, 1, 1, 2], device=device), rows, padding).cos().sum().backward()
    assert (rows.grad != 0).any(1).tolist() == [True, False, True, False, False, False, False]


def test_a_view_that_channels_last_does_not_allow_is_copied(device: torch.device) -> None:
    x = torch.arange(24.0, device=device).view(1, 2, 3, 4).to(memory_format=torch.channels_last)
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        x.view(1, 24)
    with ReplaceFunctions(FAST_FUNCTIONS):
        assert x.view(1, 24).tolist() == [list(range(24))]
