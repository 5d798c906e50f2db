"""The networks of the book: linear, a multilayer perceptron, and the four-block convnet of the few-shot papers."""

from itertools import pairwise

from torch import nn


def linear(inputs: int, outputs: int = 1, *, bias: bool = True) -> nn.Module:
    """Return ``x -> W x + b`` with W and b at zero, for the worked example of linear regression (chapter 4).

    Args:
        inputs: the number of inputs; x has the shape (examples, inputs).
        outputs: the number of outputs, so that the result has the shape (examples, outputs).
        bias: whether there is a b.
    """
    layer = nn.Linear(inputs, outputs, bias=bias)
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def mlp(inputs: int, hidden: tuple[int, ...], outputs: int) -> nn.Sequential:
    """Return a multilayer perceptron with ReLUs, e.g. ``mlp(1, (40, 40), 1)`` for sine waves (chapter 6).

    Args:
        inputs: the number of inputs; the network takes the shape (examples, inputs).
        hidden: the number of neurons of each hidden layer.
        outputs: the number of outputs, of which no ReLU is taken; the result has the shape (examples, outputs).

    >>> sum(p.numel() for p in mlp(1, (40, 40), 1).parameters())
    1761
    """
    sizes = (inputs, *hidden)
    layers = [layer for fan_in, fan_out in pairwise(sizes) for layer in (nn.Linear(fan_in, fan_out), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], outputs))


def convnet(ways: int, *, width: int = 64, channels: int = 1, blocks: int = 4) -> nn.Sequential:
    """Return the convnet of Vinyals et al. 2016, MAML and Meta-SGD, for images of 28 x 28 pixels (chapter 8).

    Each block is a 3 x 3 convolution, batch normalisation, ReLU and 2 x 2 max-pooling. Four of them leave ``width``
    features for the linear head. Batch normalisation uses the statistics of the batch at hand: those of the support
    set for the support set, and those of the query set for the query set, which is transductive, as in MAML and
    Meta-SGD.

    Args:
        ways: the number of outputs, one for each class of a task.
        width: the number of filters of each convolution.
        channels: of the images. The network takes the shape (examples, channels, 28, 28) and returns (examples, ways).
        blocks: the number of blocks, at most 4.

    Raises:
        ValueError: ``ways``, ``width`` or ``channels`` is below 1.

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
            # Pooling before ReLU gives the same numbers as ReLU before pooling, with a quarter of the work for ReLU.
            nn.MaxPool2d(2),
            nn.ReLU(),
        ]
    side = 28 >> blocks
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * side * side, ways))
