"""Linear regression tasks, the worked example in which the best alpha has a closed form (chapters 4 and 15)."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from metasgd._core.task import Task, device_or_default


class LinearRegressionSampler:
    """Draw tasks ``y = w . x + noise``; each task has its own w, from a distribution common to all (chapter 4).

    Coordinate i of an input is normal with mean 0 and standard deviation ``input_scale[i]``; weight i of a task is
    normal with mean ``weight_mean[i]`` and standard deviation ``weight_scale[i]``.

    Args:
        input_scale: one standard deviation for each of the n input coordinates.
        weight_scale: one standard deviation for each of the n weights; 0 for a weight that is the same in all tasks.
        weight_mean: one mean for each of the n weights (None: zeros).
        noise: the standard deviation of the noise in y.
        shots: support examples of a task.
        queries: query examples of a task.
        device: where tasks are drawn (None: PyTorch's default device).
        dtype: of all four tensors of a task.
        seed: of the generator that ``sample`` uses if it is given none.

    Raises:
        ValueError: the first three arguments have different lengths, a standard deviation is negative, or ``shots`` or
            ``queries`` is below 1.
    """

    def __init__(
        self,
        input_scale: Sequence[float],
        weight_scale: Sequence[float],
        weight_mean: Sequence[float] | None = None,
        *,
        noise: float = 0.0,
        shots: int = 5,
        queries: int = 15,
        device: torch.device | str | None = None,
        dtype: torch.dtype = torch.float32,
        seed: int = 0,
    ) -> None:
        weight_mean = [0.0] * len(input_scale) if weight_mean is None else weight_mean
        lengths = {
            "input_scale": len(input_scale),
            "weight_scale": len(weight_scale),
            "weight_mean": len(weight_mean),
        }
        if len(set(lengths.values())) > 1:
            raise ValueError(f"one number for each input coordinate is needed, but the lengths are {lengths}")
        if min(*input_scale, *weight_scale, noise) < 0:
            raise ValueError(f"standard deviations must not be negative: {input_scale}, {weight_scale}, {noise}")
        if min(shots, queries) < 1:
            raise ValueError(f"shots is {shots} and queries {queries}; both must be at least 1")
        self.device, self.dtype = device_or_default(device), dtype
        self.input_scale, self.weight_scale, self.weight_mean = (
            torch.tensor(values, dtype=dtype, device=self.device)
            for values in (input_scale, weight_scale, weight_mean)
        )
        self.noise, self.shots, self.queries = noise, shots, queries
        self._generator = torch.Generator(self.device).manual_seed(seed)

    def sample(self, num_tasks: int, generator: torch.Generator | None = None) -> Task:
        """Draw a batch of tasks.

        Args:
            num_tasks: the number of tasks, B.
            generator: on the sampler's device (None: the sampler's own, seeded at its construction).

        Returns:
            Inputs of shape (B, examples, n) and targets of shape (B, examples, 1).
        """
        generator = generator or self._generator

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator, device=self.device, dtype=self.dtype)

        dimension = len(self.input_scale)
        weights = self.weight_mean + self.weight_scale * normal(num_tasks, dimension)
        x = self.input_scale * normal(num_tasks, self.shots + self.queries, dimension)
        y = x @ weights[:, :, None] + self.noise * normal(num_tasks, self.shots + self.queries, 1)
        sizes = [self.shots, self.queries]
        (support_x, query_x), (support_y, query_y) = torch.split(x, sizes, 1), torch.split(y, sizes, 1)
        return Task(support_x, support_y, query_x, query_y)

    def best_alpha(self) -> Tensor:
        r"""Return the alpha of shape (n,) that minimises the expected query loss after one inner step (chapter 4).

        The loss is the mean squared error, and theta is the mean of the weights. With input variances
        :math:`\lambda_i`, weight variances :math:`d_i`, noise variance :math:`\sigma^2` and K shots, :math:`\alpha_i =
        d_i \big/ 2\big(\lambda_i d_i (1 + 1/K) + (\sum_j \lambda_j d_j + \sigma^2) / K\big)`.
        """
        return self.weight_scale**2 / (2 * self._gradient_power(self.weight_scale**2))

    def expected_query_loss(self, alpha: Tensor | float, theta: Tensor | None = None) -> Tensor:
        r"""Return the mean squared error on the query set after one inner step, expected over tasks (chapter 4).

        With :math:`q_i = d_i + (\theta_i - m_i)^2` for weights of mean :math:`m_i`, and :math:`V_i =
        \lambda_i q_i (1 + 1/K) + (\sum_j \lambda_j q_j + \sigma^2) / K`, it is :math:`\sigma^2 + \sum_i \lambda_i
        (q_i - 4 \alpha_i \lambda_i q_i + 4 \alpha_i^2 \lambda_i V_i)`: a scalar, differentiable in both arguments.

        Args:
            alpha: the rates, shape (n,), or one rate for all.
            theta: where the step starts, shape (n,) (None: the mean of the weights).
        """
        start = self.weight_mean if theta is None else theta
        spread = self.weight_scale**2 + (start - self.weight_mean) ** 2
        power, variance = self._gradient_power(spread), self.input_scale**2
        left = spread - 4 * alpha * variance * spread + 4 * alpha**2 * variance * power
        return self.noise**2 + (variance * left).sum()

    def expected_least_squares_loss(self) -> float:
        r"""Return the mean squared error of least squares on the query set, expected over tasks (chapter 15).

        With n weights and K shots it is :math:`\sigma^2 (1 + n / (K - n - 1))`, whatever the scales, and infinite for
        K = n and K = n + 1: then the support inputs are too often nearly dependent. Without noise it is 0.

        Raises:
            ValueError: there are fewer shots than weights, so that the error depends on where the weights lie.
        """
        size, spare = len(self.input_scale), self.shots - len(self.input_scale) - 1
        if spare < -1:
            raise ValueError(f"shots is {self.shots}, fewer than the {size} weights, which they do not determine")
        if self.noise == 0:
            return 0.0
        return self.noise**2 * (1 + size / spare) if spare > 0 else math.inf

    def _gradient_power(self, spread: Tensor) -> Tensor:
        """Return V of chapter 4, E[g_i^2] / (4 lambda_i) for a support gradient g and E[(theta - w)^2] = spread."""
        signal = self.input_scale**2 * spread
        return signal * (1 + 1 / self.shots) + (signal.sum() + self.noise**2) / self.shots
