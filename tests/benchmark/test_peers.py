"""Peers: each that is installed gives the meta-gradient of the plain loop, and its steps lower the loss.

Peers are not installed for the tests of the book; only the algorithm of learn2learn needs no package.
"""

import importlib.util

import pytest
import torch

from metasgd.benchmark import contender, jax_peer, peers
from metasgd.benchmark.check import check_meta_gradients
from metasgd.benchmark.contender import gradients_of
from metasgd.benchmark.line_up import build_contender
from metasgd.benchmark.peers import PEERS
from metasgd.benchmark.workloads import make_tasks
from tests.benchmark.small import CONVNET, SINE


@pytest.fixture(params=PEERS)
def peer(request):
    package = PEERS[request.param].package
    if package is not None and not importlib.util.find_spec(package):
        pytest.skip(f"{package} is not installed")
    return request.param


@pytest.mark.parametrize("workload", [CONVNET, SINE], ids=lambda workload: workload.kind)
def test_a_peer_that_is_installed_has_the_right_meta_gradient(peer, workload, settings):
    report = check_meta_gradients([peer], workload, settings)
    assert "error" not in report[peer], report
    assert not report[peer]["wrong"], report


def test_the_steps_of_a_peer_are_those_of_adam_on_both_theta_and_alpha(peer, settings, monkeypatch):
    """With a large outer rate, its losses are those of our loop, to 1e-7 in float64; a step changes them by 1e-2."""
    for module in (contender, peers, jax_peer):
        monkeypatch.setattr(module, "META_LR", 0.01)
    tasks = make_tasks(SINE, settings, torch.float64)[0]

    def losses(name):
        made = build_contender(name, SINE, settings, torch.float64)
        prepared = made.prepare(tasks)
        return [made.step(prepared) for _ in range(4)]

    expected = losses("loop")
    assert abs(expected[1] - expected[0]) > 1e-2
    assert losses(peer) == pytest.approx(expected, rel=1e-7)


def test_a_parameter_without_a_gradient_has_a_gradient_of_zeros():
    used, unused = torch.ones(2, requires_grad=True), torch.ones(3, requires_grad=True)
    used.square().sum().backward()
    assert [gradient.tolist() for gradient in gradients_of([used, unused])] == [[2.0, 2.0], [0.0, 0.0, 0.0]]
