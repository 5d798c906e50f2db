"""The running example of chapters 1 to 5: tasks with two weights, whose loss is one narrow valley."""

import torch
from torch import Tensor

from metasgd._core.task import Task, device_or_default


class Valley:
    r"""Tasks with two weights that share the valley of their loss, each with a minimum of its own (chapter 2).

    The model is :math:`\theta_1 x_1 + \theta_2 x_2`, without noise. A task has true weights w. Its support set has two
    examples, with the same inputs in all tasks; the query set has the same inputs with opposite signs. So both sets
    have the same mean squared error, :math:`\frac12 (\theta - w)^\top H (\theta - w)`, with one Hessian H for all
    tasks. The valley runs along the first weight, whose input is small, and is narrow across it.

    Args:
        device: where tasks are made (None: PyTorch's default device).
        dtype: of all tensors.
        seed: of the generator that ``minima`` and ``sample`` use if they are given none.

    Attributes:
        inputs: the support inputs, shape (2, 2).
        hessian: H, shape (2, 2).
        centre: the mean of the minima over the tasks, shape (2,).
        spread: their standard deviation in each weight, shape (2,).

    >>> valley = Valley(dtype=torch.float64)
    >>> valley.hessian.tolist()
    [[0.4, 0.2], [0.2, 5.0]]
    """

    def __init__(
        self, *, device: torch.device | str | None = None, dtype: torch.dtype = torch.float32, seed: int = 0
    ) -> None:
        self.device, self.dtype = device_or_default(device), dtype
        self.inputs, self.hessian, spots = (
            torch.tensor(values, dtype=dtype, device=self.device)
            for values in ([[-0.2, 2.0], [0.6, 1.0]], [[0.4, 0.2], [0.2, 5.0]], [[2.0, 1.0], [1.5, 0.5]])
        )
        self.centre, self.spread = spots[0], spots[1]
        self._generator = torch.Generator(self.device).manual_seed(seed)

    def minima(self, num_tasks: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw the true weights of tasks, normally distributed and independent: shape (num_tasks, 2)."""
        noise = torch.randn(
            num_tasks, 2, generator=generator or self._generator, device=self.device, dtype=self.dtype
        )  # fmt: skip
        return self.centre + self.spread * noise

    def tasks(self, minima: Tensor) -> Task:
        """Return the batch of tasks with these true weights, given as shape (B, 2).

        Returns:
            Inputs of shape (B, 2, 2) and targets of shape (B, 2, 1).
        """
        x = self.inputs.expand(len(minima), -1, -1)
        y = x @ minima[:, :, None]
        return Task(x, y, -x, -y)

    def sample(self, num_tasks: int, generator: torch.Generator | None = None) -> Task:
        """Draw a batch of tasks: ``tasks(minima(num_tasks, generator))``."""
        return self.tasks(self.minima(num_tasks, generator))

    def loss(self, theta: Tensor, w: Tensor) -> Tensor:
        """Return the loss of either set for weights theta and true weights w, both of shape (..., 2): shape (...)."""
        return ((theta - w) @ self.inputs.mT).square().mean(-1)

    def gradient(self, theta: Tensor, w: Tensor) -> Tensor:
        """Return the gradient of ``loss`` in theta, H (theta - w), of shape (..., 2)."""
        return (theta - w) @ self.hessian
