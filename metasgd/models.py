"""The networks of the book: linear, a multilayer perceptron, and the four-block convnet of the few-shot papers."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from metasgd._core.private_torch import AnyNorm
from metasgd._core.running_statistics import check_statistics, keep_statistics
from metasgd._core.slant import deslant


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


def convnet(
    ways: int, *, width: int = 64, channels: int = 1, blocks: int = 4, size: int | tuple[int, int] = 28
) -> nn.Sequential:
    """Return the convnet of Vinyals et al. 2016, MAML and Meta-SGD, for pictures of any size (chapter 8).

    Each block is a 3 x 3 convolution, batch normalisation, ReLU and 2 x 2 max-pooling, which halves the height and the
    width, rounded down. Of 28 x 28 pixels, four blocks leave ``width`` features for the linear head. Batch
    normalisation uses the statistics of the batch at hand: those of the support set for the support set, and those of
    the query set for the query set, which is transductive, as in MAML and Meta-SGD.

    Args:
        ways: the number of outputs, one for each class of a task.
        width: the number of filters of each convolution.
        channels: of the pictures: 1 if they are grey, 3 if they are coloured.
        blocks: the number of blocks.
        size: the height and width of the pictures in pixels, as one number if they are equal. The network takes the
            shape (examples, channels, height, width) and returns (examples, ways).

    Raises:
        ValueError: ``ways``, ``width``, ``channels`` or ``blocks`` is below 1, ``size`` is no size, or too small for
            so many blocks; and, by the network, pictures that do not have the promised size.

    >>> import torch
    >>> convnet(ways=5, width=8)(torch.zeros(2, 1, 28, 28)).shape
    torch.Size([2, 5])
    >>> convnet(ways=5, width=8, channels=3, size=(84, 84))(torch.zeros(2, 3, 84, 84)).shape
    torch.Size([2, 5])
    """
    for name, value in (("ways", ways), ("width", width), ("channels", channels), ("blocks", blocks)):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    sides = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, Sequence) else ()
    if len(sides) != 2 or not all(isinstance(side, int) for side in sides):
        raise ValueError(f"size is {size!r}; it must be a whole number of pixels, or (height, width)")
    height, side = sides
    if min(height, side) >> blocks < 1:
        most = max(min(height, side), 1).bit_length() - 1
        raise ValueError(
            f"{blocks} blocks need pictures of at least {2**blocks} x {2**blocks} pixels, as each block halves them, "
            f"but the size is {height} x {side}; use larger pictures" + (f" or blocks={most}" if most > 0 else "")
        )
    layers: list[nn.Module] = []
    for block in range(blocks):
        layers += [
            nn.Conv2d(channels if block == 0 else width, width, 3, padding=1),
            nn.BatchNorm2d(width, track_running_stats=False),
            # Pooling before ReLU gives the same numbers as ReLU before pooling, with a quarter of the work for ReLU.
            nn.MaxPool2d(2),
            nn.ReLU(),
        ]
    left = (height >> blocks, side >> blocks)
    return nn.Sequential(*layers, Flatten((height, side), left), nn.Linear(width * left[0] * left[1], ways))


class Deslant(nn.Module):
    """A layer without parameters that takes the slant out of every picture, as ``deslant`` does (chapter 8).

    It is the first layer of the learners ``mnist-glyphs`` and ``mnist-fold0`` to ``mnist-fold4``, so that they take
    pictures as they are. In meta-training, the tasks are deslanted instead, which is faster.
    """

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the pictures without their slant, of the same shape (pictures, channels, height, width)."""
        return deslant(pictures)


class Flatten(nn.Flatten):
    """Make one vector of what the blocks of a ``convnet`` leave of a picture, if the picture had the right size."""

    def __init__(self, size: tuple[int, int], left: tuple[int, int]) -> None:
        super().__init__()
        self.size, self.left = size, left

    def forward(self, input: Tensor) -> Tensor:
        """Return the shape (examples, features).

        Raises:
            ValueError: the pictures have another size than the network was made for.
        """
        if input.shape[-2:] != self.left:
            made_for, left, found = (f"{x} x {y}" for x, y in (self.size, self.left, input.shape[-2:]))
            raise ValueError(
                f"the convnet was made for pictures of {made_for} pixels, of which its blocks leave {left}, but of "
                f"these they leave {found}; make it by convnet(..., size=(height, width)) of the pictures"
            )
        return super().forward(input)


def without_running_statistics(model: nn.Module) -> nn.Module:
    """Let every batch norm of a model normalise each batch by its own statistics, which is what adaptation needs.

    Running statistics are collected over batches in training and used afterwards. Within a meta-update they would mix
    the tasks, so ``MetaSGD`` refuses them (chapter 9). Without them, the support set is normalised by the support set
    and the query set by the query set, in training and in evaluation mode. A pretrained network computes another
    function then; ``freeze_running_statistics`` keeps the one it has.

    Args:
        model: any module, such as ``torchvision.models.resnet18()``. It is changed in place: batch and instance norms
            lose their running mean and variance. Their scale and shift stay, and so does a norm whose statistics
            never change, such as ``torchvision.ops.FrozenBatchNorm2d``.

    Returns:
        The model.

    >>> norm = without_running_statistics(nn.BatchNorm2d(3))
    >>> norm.running_mean is None, norm.track_running_stats
    (True, False)
    """
    for _, module in keep_statistics(model):
        if isinstance(module, AnyNorm):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
    return model


def freeze_running_statistics(model: nn.Module) -> nn.Module:
    """Put every batch norm of a model into evaluation mode, in which it uses its statistics and leaves them alone.

    This is for a pretrained network, whose function it keeps. The scale and the shift of each norm still adapt, unless
    they do not require gradients. ``model.train()``, and the ``train()`` of a learner that holds the model, undo it,
    and the learner says so when it is next used; call this function again after them.

    Args:
        model: any module. It is changed in place: what keeps running statistics is in evaluation mode afterwards, and
            the rest, such as dropout, in the mode that it was in.

    Returns:
        The model.

    Raises:
        ValueError: an instance norm would overwrite its statistics even so, as its ``track_running_stats`` was turned
            off after it was made.

    >>> model = freeze_running_statistics(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)))
    >>> [layer.training for layer in model]
    [True, False, True]
    """
    for _, module in keep_statistics(model):
        module.eval()
    check_statistics(keep_statistics(model))
    return model
