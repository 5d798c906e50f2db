"""Quantiles of Student's distribution are those of the tables."""

import math
from statistics import NormalDist

import pytest

from metasgd._core.student import student_quantile


# From the published tables, to the three decimals that they have.
@pytest.mark.parametrize(
    ("level", "freedom", "tabulated"),
    [
        (0.95, 1, 12.706),
        (0.95, 2, 4.303),
        (0.95, 3, 3.182),
        (0.95, 4, 2.776),
        (0.95, 5, 2.571),
        (0.95, 10, 2.228),
        (0.95, 29, 2.045),
        (0.95, 120, 1.980),
        (0.90, 7, 1.895),
        (0.99, 1, 63.657),
        (0.99, 4, 4.604),
        (0.999, 9, 4.781),
    ],
)
def test_quantiles_are_those_of_the_tables(level: float, freedom: int, tabulated: float) -> None:
    assert student_quantile(level, freedom) == pytest.approx(tabulated, abs=5e-4)


# With one degree of freedom the density is Cauchy's, whose quantile is a tangent; with two the probability is
# t / sqrt(t^2 + 2). Levels near 1 are what a correction for many comparisons needs.
@pytest.mark.parametrize("level", [0.01, 0.5, 0.95, 1 - 0.05 / 29, 1 - 1e-9])
def test_one_and_two_degrees_of_freedom_agree_with_their_closed_forms(level: float) -> None:
    # Near 1 the level itself is known to 1e-16 only, which is 1e-7 of its distance from 1.
    assert student_quantile(level, 1) == pytest.approx(math.tan(math.pi * level / 2), rel=1e-6)
    assert student_quantile(level, 2) == pytest.approx(level * math.sqrt(2 / ((1 - level) * (1 + level))), rel=1e-6)


def test_many_degrees_of_freedom_come_near_the_normal_distribution() -> None:
    # The difference falls as 1 / freedom: here (z^3 + z) / (4 freedom) = 2.4e-4.
    assert student_quantile(0.95, 10_000) == pytest.approx(NormalDist().inv_cdf(0.975), abs=3e-4)


@pytest.mark.parametrize("level", [0.0, 1.0, 95.0])
def test_a_level_that_is_no_probability_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        student_quantile(level, 2)


def test_one_replicate_has_no_quantile() -> None:
    with pytest.raises(ValueError, match="two replicates"):
        student_quantile(0.95, 0)
