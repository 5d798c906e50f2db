"""Pooling before normalising: the values and derivatives of the layers one after the other, wherever it is done."""

import copy
from collections.abc import Callable
from unittest import mock

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from metasgd.strategies import norm_then_pool, pooling
from metasgd.strategies.norm_then_pool import pool_before_norm

pytestmark = pytest.mark.usefixtures("float64", "no_channel_is_small")
CHANNELS = 3


def norm(**options: bool) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(CHANNELS, **{"track_running_stats": False} | options)
    if layer.affine:
        with torch.no_grad():
            layer.weight.uniform_(0.5, 2)
            layer.bias.normal_()
    return layer


def conv(channels: int = CHANNELS) -> nn.Conv2d:
    return nn.Conv2d(channels, CHANNELS, 3, padding=1)


def pictures(device: torch.device, rows: int = 6, columns: int = 6) -> Tensor:
    x = torch.randn(4, CHANNELS, rows, columns).to(device, memory_format=torch.channels_last)
    return x.requires_grad_()


def value_and_gradients(model: nn.Module, x: Tensor) -> list[Tensor]:
    """The output, and the gradient of some function of it in the input and in all parameters."""
    y = model(x)
    weights = torch.arange(y.numel(), device=y.device).view(y.shape).cos()
    return [y.detach(), *torch.autograd.grad((y.sin() * weights).sum(), [x, *model.parameters()])]


def times_pooled_first(model: nn.Module, x: Tensor, *, compiled: bool = False) -> int:
    """How often a model pools first; its value and its gradients must be those of its layers one after the other."""
    model = model.to(x.device, memory_format=torch.channels_last)
    twin = pool_before_norm(copy.deepcopy(model), compilable=compiled)
    name = "_CompilablePooledBatchNorm" if compiled else "_PooledBatchNorm"
    with mock.patch.object(norm_then_pool, name, wraps=getattr(norm_then_pool, name)) as spy:
        pooled = value_and_gradients(twin, x)
    torch.testing.assert_close(pooled, value_and_gradients(model, x), rtol=1e-12, atol=1e-12)
    return spy.apply.call_count


POOLED: dict[str, Callable[[], list[nn.Module]]] = {
    "normalisation, pooling": lambda: [norm(), nn.MaxPool2d(2)],
    "with a ReLU between": lambda: [norm(), nn.ReLU(), nn.MaxPool2d(2)],
    "with one that works in place": lambda: [norm(), nn.ReLU(inplace=True), nn.MaxPool2d(2)],
    "after a convolution": lambda: [conv(), norm(), nn.MaxPool2d(2), nn.ReLU()],
    "other windows": lambda: [norm(), nn.MaxPool2d((3, 2), stride=(3, 2))],
    "in a block of a model": lambda: [nn.Identity(), nn.Sequential(norm(), nn.MaxPool2d(2)), nn.Flatten()],
}
NOT_POOLED: dict[str, Callable[[], list[nn.Module]]] = {
    "windows that overlap": lambda: [norm(), nn.MaxPool2d(3, stride=1)],
    "windows with a border": lambda: [norm(), nn.MaxPool2d(2, padding=1)],
    "no scale": lambda: [norm(affine=False), nn.MaxPool2d(2)],
    "something else between": lambda: [norm(), nn.Tanh(), nn.MaxPool2d(2)],
    "another kind of pooling": lambda: [norm(), nn.AvgPool2d(2)],
    "another kind of normalisation": lambda: [nn.GroupNorm(1, CHANNELS), nn.MaxPool2d(2)],
    "nothing after it": lambda: [norm(), nn.ReLU()],
}


def skip_unless_convolutions_keep_the_layout(device: torch.device) -> None:
    if device.type != "cpu":
        pytest.skip(f"on {device}, a convolution in float64 does not store its output channels last, as its input is")


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("layers", [*POOLED, *NOT_POOLED])
def test_a_model_that_pools_first_is_the_same_function(layers: str, compiled: bool, device: torch.device) -> None:
    if layers == "after a convolution":
        skip_unless_convolutions_keep_the_layout(device)
    torch.manual_seed(0)
    model, x = nn.Sequential(*(POOLED | NOT_POOLED)[layers]()), pictures(device, rows=7)  # the last row: in no window
    assert times_pooled_first(model, x, compiled=compiled) == (layers in POOLED)


@pytest.mark.parametrize("scale", [0.0, -1.0])
def test_a_scale_may_be_negative_or_zero(scale: float, device: torch.device) -> None:
    """By choices, the smallest entry counts for a negative scale, and for zero the first; kernels leave it alone."""
    torch.manual_seed(0)
    model = nn.Sequential(norm(), nn.MaxPool2d(2))
    with torch.no_grad():
        model[0].weight[1] = scale
    assert times_pooled_first(model, pictures(device)) == 0
    assert times_pooled_first(model, pictures(device), compiled=True) == 1


def test_of_equal_entries_the_first_counts(device: torch.device) -> None:
    x = torch.randint(3, (4, CHANNELS, 6, 6)).double().to(device, memory_format=torch.channels_last).requires_grad_()
    for compiled in (False, True):
        assert times_pooled_first(nn.Sequential(norm(), nn.MaxPool2d(2)), x, compiled=compiled) == 1


def test_what_is_not_a_number_stays_so(device: torch.device) -> None:
    x = pictures(device).detach()
    x[0, 0, 3, 3] = torch.nan
    for compiled in (False, True):
        y = pool_before_norm(nn.Sequential(norm(), nn.MaxPool2d(2)).to(device), compilable=compiled)(x)
        assert [bool(channel.isnan().all()) for channel in y.transpose(0, 1)] == [True, False, False]


@pytest.mark.parametrize("compilable", [False, True])
def test_statistics_keep_the_digits_of_float32_where_the_mean_is_large(compilable: bool, device: torch.device) -> None:
    """As in test_batch_norm.py: a variance computed as E[x^2] - E[x]^2 would be 2.5e-3 off."""
    model = nn.Sequential(norm(), nn.MaxPool2d(2)).to(device)
    x = (100 + pictures(device, 28, 28)).float().contiguous(memory_format=torch.channels_last)
    exact = model(x.double())
    assert (pool_before_norm(model.float(), compilable=compilable)(x) - exact).abs().max() < 1e-4  # scales up to 2


def test_a_compiler_is_not_given_large_windows(device: torch.device) -> None:
    assert times_pooled_first(nn.Sequential(norm(), nn.MaxPool2d(4)), pictures(device, 8, 8), compiled=True) == 0


def test_given_statistics_are_used(device: torch.device) -> None:
    model = nn.Sequential(norm(track_running_stats=True), nn.MaxPool2d(2)).eval()
    assert times_pooled_first(model, pictures(device)) == 0


def test_pictures_in_another_layout_or_type_are_left_alone(device: torch.device) -> None:
    model = pool_before_norm(nn.Sequential(norm(), nn.MaxPool2d(2)).to(device))
    x = pictures(device)
    assert model(x).grad_fn.name() == "_PooledBatchNormBackward"
    assert model(x.contiguous()).grad_fn.name() != "_PooledBatchNormBackward"
    mixed = model.float()(x.bfloat16())  # as by autocast
    assert mixed.grad_fn.name() != "_PooledBatchNormBackward"


def test_a_channel_of_few_entries_is_left_alone(monkeypatch: pytest.MonkeyPatch, device: torch.device) -> None:
    monkeypatch.setattr(pooling, "SMALL_CHANNEL", 4 * 6 * 6)
    assert times_pooled_first(nn.Sequential(norm(), nn.MaxPool2d(2)), pictures(device)) == 0


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_whoever_looks_between_the_layers_sees_what_is_there(layer: int, device: torch.device) -> None:
    torch.manual_seed(0)
    model, seen = nn.Sequential(norm(), nn.ReLU(), nn.MaxPool2d(2)), []
    model[layer].register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    assert times_pooled_first(model, pictures(device)) == 0
    assert seen == [(4, CHANNELS, 6, 6)] * 2


def test_layers_that_are_called_by_themselves_do_what_they_always_do(device: torch.device) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(norm(), nn.MaxPool2d(2)).to(device)
    twin, x = pool_before_norm(copy.deepcopy(model)), pictures(device)
    assert torch.equal(twin[0](x), model[0](x))
    assert torch.equal(twin[:1](x), model[:1](x))
    assert twin.state_dict().keys() == model.state_dict().keys()


@pytest.mark.parametrize("is_watched", [False, True])
def test_the_way_back_writes_over_the_output_of_a_convolution_that_nobody_sees(
    is_watched: bool, device: torch.device
) -> None:
    skip_unless_convolutions_keep_the_layout(device)
    torch.manual_seed(0)
    model, outputs = pool_before_norm(nn.Sequential(conv(), norm(), nn.MaxPool2d(2))).to(device), []
    if is_watched:
        model[0].register_forward_hook(lambda module, inputs, output: outputs.append(output.detach()))
    kept = []
    with saved_tensors_hooks(lambda tensor: kept.append(tensor) or tensor, lambda tensor: tensor):
        y = model(pictures(device))
    (output,) = (tensor for tensor in kept if tensor.shape == (4, CHANNELS, 6, 6) and tensor.grad_fn is not None)
    before = output.detach().clone()
    y.square().sum().backward()
    assert torch.equal(output, before) == is_watched
    if is_watched:
        assert torch.equal(outputs[0], before)


def test_a_second_way_back_is_refused(device: torch.device) -> None:
    """What the first has written over is gone."""
    skip_unless_convolutions_keep_the_layout(device)
    model = pool_before_norm(nn.Sequential(conv(), norm(), nn.MaxPool2d(2))).to(device)
    loss = model(pictures(device)).square().sum()
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


def test_a_second_derivative_is_refused(device: torch.device) -> None:
    x = pictures(device)
    y = pool_before_norm(nn.Sequential(norm(), nn.MaxPool2d(2)).to(device))(x)
    (first,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()
