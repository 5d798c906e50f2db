"""Timing: every action runs in every round, and operations are counted right. Nothing here asserts a speed."""

import pytest

from metasgd.benchmark.timing import flops_per_task, matmul_action, sampling_action, time_in_rounds
from tests.benchmark.small import CONVNET, SINE


def test_every_action_runs_in_every_round(settings):
    calls = []
    times = time_in_rounds({name: lambda name=name: calls.append(name) for name in "abc"}, settings)
    assert {name: len(values) for name, values in times.items()} == {"a": 2, "b": 2, "c": 2}
    runs = [name for name, before in zip(calls, [None, *calls], strict=False) if name != before]
    # Warm-up in the given order, then two rounds of one run each; two runs of one action in a row look like one.
    assert runs[:3] == ["a", "b", "c"]
    assert 7 <= len(runs) <= 9


def test_the_operations_of_a_task_are_counted_on_the_plain_loop(settings):
    """A backward pass costs up to twice what it differentiates: 3 forward passes for each of the two sets, and up to
    2 x 3 more for differentiating the gradient on the support set. The first layer, whose input needs no gradient,
    is a small part here."""
    forward = 2 * SINE.shots * (40 + 40 * 40 + 40)
    assert 11 * forward < flops_per_task(SINE, settings) <= 12 * forward


def test_the_matrix_product_has_two_operations_for_each_of_n_cubed_products(settings):
    """The matrices are made 64 x 64 for the tests; their entries lie in 0..1, so 64 products sum to less than 64."""
    action, flops = matmul_action(settings)
    product = action()
    assert product.shape == (64, 64)
    assert flops == 2 * 64**3
    assert product.mean().item() == pytest.approx(64 / 4, rel=0.1)


def test_the_timed_sampling_draws_tasks_of_the_workload(settings):
    tasks = sampling_action(CONVNET, settings)()
    assert [tuple(x.shape) for x in tasks] == [(2, 5, 1, 28, 28), (2, 5), (2, 10, 1, 28, 28), (2, 10)]
