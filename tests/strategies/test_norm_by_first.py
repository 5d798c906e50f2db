"""Normalisation by the first rows: each form has the values and derivatives of the plain one, in float64."""

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from metasgd.strategies.norm_by_first import compilable_norm_by_first, fast_norm_by_first, norm_by_first

pytestmark = pytest.mark.usefixtures("float64")
FORMS = pytest.mark.parametrize("form", [fast_norm_by_first, compilable_norm_by_first])
SHAPES = [(6, 3), (6, 3, 4), (6, 3, 4, 5), (6, 3, 2, 2, 2)]


def value_and_gradients(form: Callable, rows: int, x: Tensor) -> list[Tensor]:
    torch.manual_seed(1)
    weight, bias = torch.randn(3, device=x.device, requires_grad=True), torch.randn(3, device=x.device)
    bias.requires_grad_()
    y = form(rows, x, weight, bias, 1e-5)
    weights = torch.arange(y.numel(), device=x.device).reshape(y.shape).cos()
    return [y.detach(), *torch.autograd.grad((y.sin() * weights).sum(), [x, weight, bias])]


@FORMS
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("rows", [2, 6])
def test_values_and_derivatives_are_the_plain_ones(
    form: Callable, shape: tuple[int, ...], rows: int, channels_last: bool, device: torch.device
) -> None:
    torch.manual_seed(0)
    x = (3 + torch.randn(shape)).to(device)
    x = x.to(memory_format=torch.channels_last) if channels_last and x.ndim == 4 else x
    expected = value_and_gradients(norm_by_first, rows, x.requires_grad_())
    torch.testing.assert_close(value_and_gradients(form, rows, x), expected, rtol=1e-11, atol=1e-11)


@FORMS
def test_by_all_rows_it_is_batch_norm(form: Callable, device: torch.device) -> None:
    x = torch.randn(6, 3, 4, 4).to(device).requires_grad_()

    def batch_norm(rows: int, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=eps)

    expected = value_and_gradients(batch_norm, 6, x)
    torch.testing.assert_close(value_and_gradients(form, 6, x), expected, rtol=1e-11, atol=1e-11)


@FORMS
def test_without_scale_and_shift_or_in_another_dtype_it_is_the_plain_one(form: Callable, device: torch.device) -> None:
    x, weight, bias = (torch.randn(shape).to(device) for shape in ((6, 3), (3,), (3,)))
    torch.testing.assert_close(form(2, x, None, None, 1e-5), norm_by_first(2, x, None, None, 1e-5))
    torch.testing.assert_close(
        form(2, x.float(), weight, bias, 1e-5), norm_by_first(2, x.float(), weight, bias, 1e-5), check_dtype=True
    )
