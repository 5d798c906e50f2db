"""Networks of the book: linear, multilayer perceptron, and the four-block convnet of the few-shot papers."""

from itertools import pairwise

from torch import nn


def linear(inputs: int, outputs: int = 1, *, bias: bool = True) -> nn.Module:
    """Return ``x -> W x + b`` with W and b at zero, for the worked example of chapter 4."""
    layer = nn.Linear(inputs, outputs, bias=bias)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def mlp(inputs: int, hidden: tuple[int, ...], outputs: int) -> nn.Sequential:
    """Return a ReLU network, e.g. ``mlp(1, (40, 40), 1)`` for sine waves.

    >>> sum(p.numel() for p in mlp(1, (40, 40), 1).parameters())
    1761
    """
    sizes = (inputs, *hidden)
    layers = [layer for fan_in, fan_out in pairwise(sizes) for layer in (nn.Linear(fan_in, fan_out), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))


def convnet(ways: int, *, width: int = 64, channels: int = 1, blocks: int = 4) -> nn.Sequential:
    """Return the convnet of Vinyals et al. 2016, MAML and Meta-SGD, for images of 28 x 28 pixels (chapter 8).

    Each of four blocks is a 3 x 3 convolution, batch normalisation, ReLU and 2 x 2 max-pooling, which leaves
    ``width`` features for the linear head. Input (examples, channels, 28, 28), output (examples, ways). A support set
    is normalised by the support set, a query set by the query set (transductive, as in MAML and Meta-SGD).

    >>> import torch
    >>> convnet(ways=5, width=8)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 5])
    """
    for name, value in (("ways", ways), ("width", width), ("channels", channels)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    layers: list[nn.Module] = []
    for block in range(blocks):
        layers += [
            nn.Conv2d(channels if block == 0 else width, width, 3, padding=1),
            nn.BatchNorm2d(width, track_running_stats=False),
            nn.MaxPool2d(2),  # pooling commutes with ReLU, and a ReLU on a quarter of the pixels is cheaper
            nn.ReLU(),
        ]
    side = 28 >> blocks
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * side * side, ways))
