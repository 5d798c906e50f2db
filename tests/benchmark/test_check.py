"""The check of meta-gradients: right contenders pass, wrong ones are caught, and failing ones are reported."""

import pytest
import torch

from metasgd.__main__ import main
from metasgd.benchmark import line_up
from metasgd.benchmark.check import TOLERANCE, check_meta_gradients
from metasgd.benchmark.contender import metasgd_contender
from metasgd.benchmark.peers import PEERS, REFERENCE, Peer, torch_contender
from metasgd.strategies import strategies_on
from tests.benchmark.small import CONVNET, QUICK, SINE


def first_order(network, rates, loss_fn):
    """A wrong contender: its inner gradient is taken as a constant."""

    def task_loss(task):
        theta = dict(network.named_parameters())
        slopes = torch.autograd.grad(loss_fn(network(task.support_x), task.support_y), list(theta.values()))
        moved = {name: p - a * g for (name, p), a, g in zip(theta.items(), rates, slopes, strict=True)}
        return loss_fn(torch.func.functional_call(network, moved, (task.query_x,)), task.query_y)

    return task_loss


@pytest.mark.parametrize("workload", [CONVNET, SINE])
def test_every_strategy_and_the_algorithm_of_learn2learn_pass_the_check(workload, settings):
    ours = strategies_on(settings.device)
    report = check_meta_gradients([*ours, REFERENCE], workload, settings)
    assert list(report) == [*ours, REFERENCE]
    assert not any(entry["wrong"] for entry in report.values())


def test_a_peer_without_second_derivatives_is_marked_wrong_in_theta_alone(monkeypatch, settings):
    """Its gradient in alpha needs no second derivative (chapter 3), so that one stays right."""
    monkeypatch.setitem(PEERS, "wrong", Peer(None, lambda start: torch_contender(start, first_order)))
    report = check_meta_gradients([REFERENCE, "wrong"], SINE, settings)
    assert report["wrong"]["wrong"]
    assert report["wrong"]["theta"] > 1e-3
    assert report["wrong"]["alpha"] <= TOLERANCE
    assert not report[REFERENCE]["wrong"]


@pytest.mark.parametrize("spoil", [lambda g: 1.001 * g, lambda g: g * float("nan")])
def test_a_strategy_with_a_wrong_gradient_in_alpha_ends_the_benchmark(spoil, monkeypatch, capsys):
    def spoilt(start, strategy, **options):
        contender = metasgd_contender(start, strategy, **options)
        if strategy != "batched":
            return contender

        def gradients(tasks):
            theta, alpha = contender.gradients(tasks)
            return theta, [spoil(g) for g in alpha]

        return contender._replace(gradients=gradients)

    monkeypatch.setattr(line_up, "metasgd_contender", spoilt)
    assert main(["benchmark", "--workloads", "sine", "--no-memory", *QUICK]) == 2
    streams = capsys.readouterr()
    assert streams.out == ""
    assert "strategy 'batched' gives a wrong meta-gradient" in streams.err


def test_a_peer_that_fails_is_left_out_with_the_reason(monkeypatch, settings):
    def broken(start):
        raise ImportError("a library of another year")

    monkeypatch.setitem(PEERS, "broken", Peer(None, broken))
    report = check_meta_gradients(["loop", "broken"], SINE, settings)
    assert report["broken"] == {"error": "ImportError: a library of another year"}


def test_a_strategy_that_fails_ends_the_check(monkeypatch, settings):
    def broken(start, strategy, **options):
        if strategy == "batched":
            raise RuntimeError("a bug")
        return metasgd_contender(start, strategy, **options)

    monkeypatch.setattr(line_up, "metasgd_contender", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        check_meta_gradients(["batched"], SINE, settings)
