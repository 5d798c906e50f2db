"""Who takes part: missing peers are named, compiled forms join if asked for, and all have the same start."""

import importlib.util

import pytest
import torch
from torch import nn

from metasgd.benchmark import PACKAGES, with_relu_first
from metasgd.benchmark.line_up import installed_versions, line_up, make_start, may_fail
from metasgd.benchmark.peers import PEERS, REFERENCE
from metasgd.benchmark.workloads import make_tasks
from tests.benchmark.small import CONVNET


def test_peers_that_are_not_installed_are_named(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    names, missing = line_up(["loop"], PACKAGES)
    assert names == ["loop", REFERENCE]
    assert missing["higher"] == "higher is not installed"
    assert set(missing) == set(PEERS) - {REFERENCE}


def test_peers_that_are_installed_take_part_if_asked_for(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    names, missing = line_up(["loop"], ["jax"])
    assert names == ["loop", REFERENCE, "jax (vmap)", "jax (map)"]
    assert missing == {}


def test_compiled_forms_take_part_if_asked_for():
    names, _ = line_up(["loop", "threads", "batched"], [], compiled=["batched"])
    assert names == ["loop", "threads", "batched", "batched, compiled", REFERENCE]


@pytest.mark.parametrize(
    ("name", "expected"), [("threads", False), ("threads, compiled", True), ("jax (map)", True), (REFERENCE, True)]
)
def test_only_uncompiled_strategies_must_not_fail(name, expected):
    assert may_fail(name) == expected


def test_the_peers_network_is_the_same_function_with_the_same_parameters(settings):
    images = make_tasks(CONVNET, settings, torch.float32)[0].query_x[0]
    one, other = (make_start(CONVNET, settings, torch.float32, relu_first=order).network for order in (False, True))
    assert [type(layer) for layer in one] != [type(layer) for layer in other]
    assert list(one.state_dict()) == list(other.state_dict())
    assert torch.equal(one(images), other(images))


def test_a_pooling_without_a_relu_behind_it_stays_where_it_is():
    network = with_relu_first(nn.Sequential(nn.ReLU(), nn.MaxPool2d(2), nn.ReLU(), nn.MaxPool2d(2)))
    assert [type(layer).__name__ for layer in network] == ["ReLU", "ReLU", "MaxPool2d", "MaxPool2d"]


def test_versions_are_those_of_installed_packages():
    """The module ``this`` can be imported, but is no distribution with a version."""
    versions = installed_versions(["torch", "this", "no_such_package"])
    assert versions.keys() == {"torch", "this"}
    assert torch.__version__.startswith(versions["torch"])
    assert versions["this"] is None
