"""Student's distribution: how wide an interval over a few runs must be."""

import math

from torch import Tensor


def student_quantile(level: float, freedom: int) -> float:
    """Return t such that a value of Student's distribution lies between -t and t with this probability.

    Args:
        level: the probability, e.g. 0.95; between 0 and 1.
        freedom: degrees of freedom: one fewer than there are replicates; at least 1.

    Raises:
        ValueError: the level is not between 0 and 1, or there is not one degree of freedom.

    >>> round(student_quantile(0.95, 2), 3)
    4.303
    """
    if not 0 < level < 1:
        raise ValueError(f"level = {level}, but a probability between 0 and 1 is needed")
    if freedom < 1:
        raise ValueError(f"freedom = {freedom}, but there must be at least one degree of freedom: two replicates")
    low, high = 0.0, math.pi / 2
    while low < (middle := (low + high) / 2) < high:  # until no number lies between them
        if _probability_at(middle, freedom) < level:
            low = middle
        else:
            high = middle
    return math.sqrt(freedom) * math.tan(high)


def student_interval(values: Tensor, level: float = 0.95) -> tuple[float, float]:
    """Return the mean of replicates and the half-width of its interval.

    Args:
        values: floating-point numbers of shape (replicates,); at least 2.
        level: the probability, as in ``student_quantile``.
    """
    count = len(values)
    return values.mean().item(), student_quantile(level, count - 1) * values.std().item() / math.sqrt(count)


def _probability_at(angle: float, freedom: int) -> float:
    """Return the probability of a value between -t and t, for t = sqrt(freedom) tan(angle).

    For whole degrees of freedom it is a finite sum (Abramowitz and Stegun 1964, 26.7.3 and 26.7.4).
    """
    odd = freedom % 2
    term, total = (math.cos(angle) if odd else 1.0), 0.0
    for power in range(2 + odd, freedom + 1, 2):
        total += term
        term *= (power - 1) / power * math.cos(angle) ** 2
    total *= math.sin(angle)
    return (angle + total) * 2 / math.pi if odd else total
