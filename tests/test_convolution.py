"""Convolution by products: the values and both derivatives of PyTorch's, for one task and for many at once."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.func import grad, vmap

from metasgd import _convolution
from metasgd._convolution import conv2d_by_products

EXACT = {"rtol": 1e-10, "atol": 1e-12}


def draw(device: torch.device, *shape: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum(shape))
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(device)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("filter_size", "padding"), [((3, 3), 1), ((3, 2), (1, 0)), ((1, 1), 0), ((2, 5), (0, 2))])
def test_values_are_those_of_pytorch(
    filter_size: tuple[int, int], padding: Any, bias: bool, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, weight = draw(device, 2, 3, 7, 8), draw(device, 4, 3, *filter_size)
    b = draw(device, 4) if bias else None
    expected = F.conv2d(x, weight, b, padding=padding)
    monkeypatch.setattr(_convolution.F, "conv2d", None)  # it must not be asked
    torch.testing.assert_close(conv2d_by_products(x, weight, b, padding=padding), expected, **EXACT)


@pytest.mark.parametrize(
    "arguments",
    [{"stride": 2}, {"dilation": 2}, {"groups": 2}, {"padding": "same"}, {"stride": (1, 2), "padding": 1}],
)
def test_other_convolutions_are_left_to_pytorch(arguments: dict, device: torch.device) -> None:
    x, weight = draw(device, 2, 4, 7, 8), draw(device, 6, 4 // arguments.get("groups", 1), 3, 3)
    assert torch.equal(conv2d_by_products(x, weight, **arguments), F.conv2d(x, weight, **arguments))


def test_a_picture_alone_is_left_to_pytorch(device: torch.device) -> None:
    x, weight = draw(device, 4, 7, 8), draw(device, 6, 4, 3, 3)
    assert torch.equal(conv2d_by_products(x, weight), F.conv2d(x, weight))


def test_both_derivatives_of_many_tasks_are_those_of_each_alone(device: torch.device) -> None:
    """Of a loss that is no polynomial of low degree, with filters of its own in every task."""
    x, weight, b, u = (
        draw(device, 3, 2, 2, 5, 6),
        draw(device, 3, 4, 2, 3, 3),
        draw(device, 3, 4),
        draw(device, 4, 2, 3, 3),
    )

    def second(convolve: Callable[..., Tensor]) -> Callable[..., tuple[Tensor, ...]]:
        def loss(weight: Tensor, x: Tensor, b: Tensor) -> Tensor:
            return convolve(x, weight, b, padding=1).tanh().square().sum()

        def along_u(weight: Tensor, x: Tensor, b: Tensor) -> Tensor:
            return (grad(loss)(weight, x, b) * u).sum()

        return grad(along_u, argnums=(0, 1, 2))

    together = vmap(second(conv2d_by_products))(weight, x, b)
    for task in range(3):
        alone = second(F.conv2d)(weight[task], x[task], b[task])
        for one, expected in zip(together, alone, strict=True):
            torch.testing.assert_close(one[task], expected, **EXACT)
