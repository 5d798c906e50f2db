"""Normalisation in the strategies: the values of PyTorch's functions, and the right second derivatives."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from metasgd.strategies import pooling
from metasgd.strategies.batch_norm import compilable_batch_norm, fast_batch_norm
from metasgd.strategies.replaced_functions import vmap_safe_batch_norm

pytestmark = pytest.mark.usefixtures("float64", "no_channel_is_small")

SHAPES = [(5, 3), (4, 3, 5), (2, 3, 4, 5), (2, 3, 2, 3, 2)]
NORMALISE = pytest.mark.parametrize("normalise", [vmap_safe_batch_norm, fast_batch_norm, compilable_batch_norm])
BY_HAND = pytest.mark.parametrize("normalise", [fast_batch_norm, compilable_batch_norm])
# The same sums in another order, on numbers of size 1 in float64.
EXACT = {"rtol": 1e-12, "atol": 1e-12}


def draw(*shapes: tuple[int, ...], device: torch.device) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(shape, generator=generator).to(device).requires_grad_() for shape in shapes]


@NORMALISE
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("eps", [1e-5, 0.5])
def test_value_is_that_of_batch_norm(
    normalise: Callable, shape: tuple[int, ...], eps: float, device: torch.device
) -> None:
    x, weight, bias = draw(shape, (3,), (3,), device=device)
    expected = F.batch_norm(x, None, None, weight, bias, training=True, eps=eps)
    torch.testing.assert_close(normalise(x, weight, bias, eps), expected, **EXACT)


@NORMALISE
@pytest.mark.parametrize(("has_weight", "has_bias"), [(False, False), (True, False), (False, True)])
def test_weight_and_bias_may_be_missing(
    normalise: Callable, has_weight: bool, has_bias: bool, device: torch.device
) -> None:
    x, w, b = draw((4, 3, 5), (3,), (3,), device=device)
    weight, bias = w if has_weight else None, b if has_bias else None
    expected = F.batch_norm(x, None, None, weight, bias, training=True)
    torch.testing.assert_close(normalise(x, weight, bias, 1e-5), expected, **EXACT)


# gradcheck and gradgradcheck compare every entry with a difference quotient: step 1e-6, tolerance 1e-5 (absolute)
# and 0.1% (relative). A missing term of a second derivative would be off by 0.01 and more.


@NORMALISE
@pytest.mark.parametrize("shape", SHAPES)
def test_both_derivatives_equal_difference_quotients(
    normalise: Callable, shape: tuple[int, ...], device: torch.device
) -> None:
    inputs = draw(shape, (3,), (3,), device=device)

    def normalised(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return normalise(x, weight, bias, 0.1)

    assert gradcheck(normalised, inputs)
    assert gradgradcheck(normalised, inputs)


@BY_HAND
@pytest.mark.parametrize("weight_frozen", [False, True])
def test_second_derivative_equals_that_of_batch_norm_channels_last(
    normalise: Callable, weight_frozen: bool, device: torch.device
) -> None:
    x, weight, bias, u = draw((3, 4, 5, 6), (4,), (4,), (3, 4, 5, 6), device=device)
    x = x.detach().to(memory_format=torch.channels_last).requires_grad_()
    variables = [x, bias] if weight_frozen else [x, weight, bias]
    weight = weight.detach() if weight_frozen else weight

    def second(function: Callable) -> tuple[Tensor, ...]:
        first = torch.autograd.grad((function(x, weight, bias, 1e-5).tanh() * u).sum(), variables, create_graph=True)
        return torch.autograd.grad(sum(g.cos().sum() for g in first), variables)

    expected = second(lambda x, w, b, eps: F.batch_norm(x, None, None, w, b, training=True, eps=eps))
    torch.testing.assert_close(second(normalise), expected, **EXACT)


@BY_HAND
def test_a_third_derivative_is_refused(normalise: Callable, device: torch.device) -> None:
    """The hand-written second derivative holds mean and variance fixed, so one more would be silently wrong."""
    x, weight, bias = draw((5, 3), (3,), (3,), device=device)
    (first,) = torch.autograd.grad(normalise(x, weight, bias, 1e-5).tanh().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="takes derivatives through batch norm itself"):
        torch.autograd.grad(first.cos().sum(), x, create_graph=True)


def test_small_channels_are_left_to_pytorch(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    monkeypatch.setattr(pooling, "SMALL_CHANNEL", 20)
    small, large = (fast_batch_norm(*draw((4, 3, n), (3,), (3,), device=device), 1e-5) for n in (5, 6))
    assert "NativeBatchNorm" in small.grad_fn.name() or "CudnnBatchNorm" in small.grad_fn.name()
    assert large.grad_fn.name() == "_BatchNormBackward"


@BY_HAND
def test_statistics_of_a_large_channels_last_batch_keep_the_digits_of_float32(normalise: Callable) -> None:
    """60,000 entries a channel, none of them negative. Float32 has 7 digits, and careful sums keep six; PyTorch 2.15's
    own kernel for this layout, which adds entry by entry, is off by 1e-3 here on one thread."""
    x = torch.randn(75, 2, 28, 28, generator=torch.Generator().manual_seed(0)).relu()
    x = x.contiguous(memory_format=torch.channels_last)
    weight, bias = torch.ones(2), torch.zeros(2)
    exact = F.batch_norm(x.double(), None, None, weight.double(), bias.double(), training=True)
    assert (normalise(x, weight, bias, 1e-5) - exact).abs().max() < 3e-6


@BY_HAND
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_statistics_keep_the_digits_of_float32_where_the_mean_is_large(
    normalise: Callable, layout: torch.memory_format
) -> None:
    """A mean of 100 and a deviation of 1. The mean, of 7 digits, is off by up to 1e-5, and so is the result.

    A variance computed as E[x^2] - E[x]^2 would be a difference of two numbers of size 1e4, which agree in 4 of their
    7 digits: 2.5e-3 off.
    """
    x = 100 + torch.randn(8, 2, 28, 28, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    x = x.contiguous(memory_format=layout)
    weight, bias = torch.ones(2, dtype=torch.float32), torch.zeros(2, dtype=torch.float32)
    exact = F.batch_norm(x.double(), None, None, weight.double(), bias.double(), training=True)
    assert (normalise(x, weight, bias, 1e-5) - exact).abs().max() < 5e-5
