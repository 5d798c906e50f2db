"""Max-pooling by choices and by places: the values and both derivatives of PyTorch's, ties and all."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from metasgd.strategies import pooling
from metasgd.strategies.pooling import compilable_max_pool2d, fast_max_pool2d

pytestmark = pytest.mark.usefixtures("no_channel_is_small")
WINDOWS = [2, 3, (2, 3), (1, 2)]
BOTH = pytest.mark.parametrize("pool", [compilable_max_pool2d, fast_max_pool2d])


def draw_with_ties(device: torch.device, rows: int, columns: int) -> Tensor:
    """Numbers 0, 1 and 2, so that most windows have several largest entries."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(3, (2, 3, rows, columns), generator=generator).double()
    return x.to(device).contiguous(memory_format=torch.channels_last).requires_grad_()


@BOTH
@pytest.mark.parametrize("layout", [torch.channels_last, torch.contiguous_format])
@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize(("rows", "columns"), [(6, 6), (7, 8)])
def test_values_and_derivatives_are_those_of_pytorch(
    pool: Any, layout: torch.memory_format, window: Any, rows: int, columns: int, device: torch.device
) -> None:
    """Exactly: nothing is rounded. Rows and columns that fill no window get a derivative of zero."""
    x = draw_with_ties(device, rows, columns).detach().contiguous(memory_format=layout).requires_grad_()

    def value_and_derivatives(pool: Any) -> list[Tensor]:
        y = pool(x, window)
        (first,) = torch.autograd.grad(y.pow(3).sum(), x, create_graph=True)
        numbers = torch.arange(x.numel(), device=device).view(x.shape)
        (second,) = torch.autograd.grad((first * numbers).sum(), x)
        return [y, first, second]

    for value, expected in zip(value_and_derivatives(pool), value_and_derivatives(F.max_pool2d), strict=True):
        assert torch.equal(value, expected)


@BOTH
@pytest.mark.parametrize(
    "arguments",
    [
        {"kernel_size": 3, "stride": 2},
        {"kernel_size": 2, "padding": 1},
        {"kernel_size": 2, "dilation": 2},
        {"kernel_size": 2, "ceil_mode": True},
        {"kernel_size": 2, "return_indices": True},
        {"kernel_size": 4},
    ],
)
def test_other_windows_have_pytorchs_values(pool: Any, arguments: dict, device: torch.device) -> None:
    x = draw_with_ties(device, 7, 9)
    torch.testing.assert_close(pool(x, **arguments), F.max_pool2d(x, **arguments), rtol=0, atol=0)
    assert torch.equal(pool(x, 2, 2, 1), F.max_pool2d(x, 2, 2, 1))
    assert torch.equal(pool(x[0], 2), F.max_pool2d(x[0], 2))


@BOTH
def test_windows_side_by_side_are_done_here(pool: Any, monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    monkeypatch.setattr(F, "max_pool2d", None)
    for arguments in ({"kernel_size": 2}, {"kernel_size": 3, "stride": 3, "padding": 0, "dilation": 1}):
        assert pool(draw_with_ties(device, 6, 6), **arguments).requires_grad


def test_pooling_by_places_does_not_keep_its_input(device: torch.device) -> None:
    x, kept = draw_with_ties(device, 6, 6), []
    with saved_tensors_hooks(lambda tensor: kept.append(tensor.numel()) or tensor, lambda tensor: tensor):
        y = fast_max_pool2d(x, 2)
    assert kept == [y.numel()]


def test_small_pictures_are_left_to_pytorch(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    monkeypatch.setattr(pooling, "SMALL_CHANNEL", 2 * 6 * 6)
    pooled = [fast_max_pool2d(draw_with_ties(device, rows, 6), 2) for rows in (6, 7)]
    names = [type(y.grad_fn).__name__ for y in pooled]
    assert names == ["MaxPool2DWithIndicesBackward0", "_FastMaxPoolBackward"]


@BOTH
def test_what_is_not_a_number_stays_so(pool: Any, device: torch.device) -> None:
    x = torch.tensor([[1.0, torch.nan], [3.0, 4.0]], device=device).reshape(1, 1, 2, 2)
    assert pool(x, 2).isnan().all()
