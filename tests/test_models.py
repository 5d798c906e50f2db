"""Models: their shapes, their sizes, and two rewritings that must change nothing."""

from typing import Any

import pytest
import torch
from torch import nn

from metasgd import MetaSGD, Task
from metasgd.models import convnet, linear, mlp
from metasgd.strategies import STRATEGIES
from metasgd.tasks import EpisodeSampler
from tests.strategies.helpers import meta_gradient, relative_error, with_options


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def test_linear_starts_at_zero(device: torch.device) -> None:
    model = linear(3, 2).to(device)
    assert count(model) == 3 * 2 + 2
    assert model(torch.ones(4, 3, device=device)).tolist() == [[0.0, 0.0]] * 4


def test_linear_without_bias_has_only_weights() -> None:
    assert [tuple(parameter.shape) for parameter in linear(3, bias=False).parameters()] == [(1, 3)]


def test_the_mlp_has_a_relu_between_layers_and_none_at_the_end(device: torch.device) -> None:
    model = mlp(2, (5, 4), 3).to(device)
    assert [type(layer).__name__ for layer in model] == ["Linear", "ReLU", "Linear", "ReLU", "Linear"]
    assert model(torch.ones(7, 2, device=device)).shape == (7, 3)
    assert count(model) == (2 * 5 + 5) + (5 * 4 + 4) + (4 * 3 + 3)


def test_the_convnet_of_64_filters_has_112261_parameters(device: torch.device) -> None:
    """First block 9 * 64 + 64 + 2 * 64 = 768; three of 9 * 64 * 64 + 64 + 2 * 64 = 37,056; head 64 * 5 + 5 = 325."""
    model = convnet(ways=5).to(device)
    assert count(model) == 768 + 3 * 37_056 + 325 == 112_261
    assert model(torch.rand(3, 1, 28, 28, device=device)).shape == (3, 5)


@pytest.mark.parametrize(("blocks", "side"), [(1, 14), (2, 7), (3, 3), (4, 1)])
def test_the_convnets_head_fits_any_number_of_blocks(blocks: int, side: int, device: torch.device) -> None:
    model = convnet(ways=2, width=3, channels=2, blocks=blocks).to(device)
    assert model[-1].in_features == 3 * side * side
    assert model(torch.rand(4, 2, 28, 28, device=device)).shape == (4, 2)


@pytest.mark.parametrize(
    ("size", "left"), [(84, (5, 5)), (32, (2, 2)), ((84, 60), (5, 3)), (16, (1, 1)), (31, (1, 1))]
)
def test_the_convnets_head_fits_any_picture(size: int | tuple[int, int], left: tuple[int, int]) -> None:
    model = convnet(ways=5, width=2, channels=3, size=size)
    height, width = (size, size) if isinstance(size, int) else size
    assert model[-1].in_features == 2 * left[0] * left[1]
    assert model(torch.rand(4, 3, height, width)).shape == (4, 5)


@pytest.mark.parametrize(
    ("size", "blocks", "message"),
    [
        (15, 4, "4 blocks need pictures of at least 16 x 16 .* but the size is 15 x 15; .*blocks=3"),
        ((84, 7), 3, "3 blocks need .* 84 x 7; .*blocks=2"),
        ((3, 84, 84), 4, r"size is \(3, 84, 84\); it must be a whole number of pixels, or \(height, width\)"),
        (28.0, 4, "size is 28.0; it must be a whole number"),
        (0, 4, "the size is 0 x 0; use larger pictures$"),
        (1, 1, "1 blocks need .* 1 x 1; use larger pictures$"),
    ],
)
def test_pictures_too_small_for_the_poolings_are_refused(size: Any, blocks: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convnet(ways=5, blocks=blocks, size=size)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_pictures_of_another_size_than_promised_are_refused_by_name(strategy: str) -> None:
    message = (
        r"for pictures of 28 x 28 pixels, of which its blocks leave 1 x 1, but of these they leave 2 x 2; .*size="
    )
    with pytest.raises(ValueError, match=message):
        convnet(ways=5, width=2)(torch.rand(3, 1, 32, 32))
    task = Task(*[torch.rand(5, 1, 32, 32), torch.arange(5)] * 2)
    with pytest.raises(ValueError, match=message):
        MetaSGD(convnet(ways=5, width=2), strategy=strategy).meta_update([task])


@pytest.mark.parametrize("size", [32, 84])
@pytest.mark.usefixtures("float64", "no_channel_is_small")
def test_every_strategy_adapts_to_coloured_pictures(size: int, device: torch.device) -> None:
    images = torch.rand(6, 4, 3, size, size, generator=torch.Generator().manual_seed(0))
    tasks = EpisodeSampler(images, ways=5, shots=1, queries=2, device=device).sample(2)
    tasks = Task(*(values.double() if values.is_floating_point() else values for values in tasks))
    torch.manual_seed(0)
    learner = MetaSGD(convnet(ways=5, width=3, channels=3, size=size).to(device), strategy="loop")
    expected = meta_gradient(learner, tasks)
    for strategy in ("threads", "batched"):
        assert relative_error(meta_gradient(with_options(learner, strategy), tasks), expected) < 1e-9


@pytest.mark.usefixtures("float64")
def test_pooling_before_relu_equals_relu_before_pooling(device: torch.device) -> None:
    """Both are increasing, so the order changes no output, and no gradient where no activation is exactly zero."""
    torch.manual_seed(0)
    model = convnet(ways=3, width=4).to(device)
    order = [4 * block + layer for block in range(4) for layer in (0, 1, 3, 2)]
    textbook = nn.Sequential(*(model[index] for index in order), *model[16:])
    assert [type(layer).__name__ for layer in textbook][12:] == [
        *("Conv2d", "BatchNorm2d", "ReLU", "MaxPool2d"),
        *("Flatten", "Linear"),
    ]
    x = torch.rand(6, 1, 28, 28, device=device)
    assert torch.equal(model(x), textbook(x))
    gradients = [
        torch.autograd.grad(network(x).square().sum(), list(model.parameters())) for network in (model, textbook)
    ]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "settings", [{"ways": 0}, {"ways": 5, "width": 0}, {"ways": 5, "channels": 0}, {"ways": 5, "blocks": 0}]
)
def test_a_convnet_of_nothing_is_refused(settings: dict[str, int]) -> None:
    name = list(settings)[-1]
    with pytest.raises(ValueError, match=f"{name} is 0; it must be at least 1"):
        convnet(**settings)
