"""Who takes part in the benchmark, and how a contender is built at the common start (chapter 9)."""

import importlib.metadata
import importlib.util
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn

from metasgd._core.initial_rates import initial_rates
from metasgd.benchmark.contender import Contender, Start, metasgd_contender
from metasgd.benchmark.peers import PEERS
from metasgd.benchmark.workloads import WAYS, Settings, Workload
from metasgd.models import convnet, mlp
from metasgd.strategies import STRATEGIES

INITIAL_RATES = (0.005, 0.1)  # alpha is drawn from this range, as in the paper


def compiled_name(strategy: str) -> str:
    """Return the name of a contender that is a compiled strategy."""
    return f"{strategy}, compiled"


COMPILED = {compiled_name(strategy): strategy for strategy in STRATEGIES}  # the strategies by these names


def line_up(
    strategies: Sequence[str], packages: Sequence[str], *, compiled: Sequence[str] = ()
) -> tuple[list[str], dict[str, str]]:
    """Return who takes part.

    Args:
        strategies: of ``MetaSGD``, by name.
        packages: names of other libraries that should take part.
        compiled: strategies that take part in compiled form, too.

    Returns:
        The names of the contenders, and for each peer that is not installed the reason why it is missing.
    """
    names = [*strategies, *map(compiled_name, compiled)]
    missing = {}
    for name, peer in PEERS.items():
        if peer.package is None or (peer.package in packages and importlib.util.find_spec(peer.package)):
            names.append(name)
        elif peer.package in packages:
            missing[name] = f"{peer.package} is not installed"
    return names, missing


def may_fail(name: str) -> bool:
    """Return whether the benchmark goes on without this contender if it raises an error.

    This is so for peers, and for compiled strategies, as a machine may lack a compiler.
    """
    return name in PEERS or name in COMPILED


def build_contender(
    name: str, workload: Workload, settings: Settings, dtype: torch.dtype = torch.float32
) -> Contender:
    """Return a contender by its name, as ``line_up`` gives it, at the common start."""
    start = make_start(workload, settings, dtype, relu_first=name in PEERS)
    if name in PEERS:
        return PEERS[name].build(start)
    return metasgd_contender(start, COMPILED.get(name, name), compile=name in COMPILED)


def make_start(workload: Workload, settings: Settings, dtype: torch.dtype, *, relu_first: bool) -> Start:
    """Return theta and alpha at their random start.

    Up to rounding, the seed decides the same numbers for every contender, dtype and device.

    Args:
        workload: decides the network and the loss.
        settings: the seed and the device.
        dtype: of theta and alpha.
        relu_first: build the convnet with ReLU before pooling, see ``with_relu_first``.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        is_sine = workload.kind == "sine"
        network = mlp(1, (workload.width,) * 2, 1) if is_sine else convnet(WAYS, width=workload.width)
    rates = initial_rates(dict(network.named_parameters()), INITIAL_RATES, settings.seed)
    network = (with_relu_first(network) if relu_first else network).to(settings.device, dtype)
    rates = {name: rate.to(settings.device, dtype) for name, rate in rates.items()}
    return Start(network, rates, F.mse_loss if is_sine else F.cross_entropy)


def with_relu_first(network: nn.Sequential) -> nn.Sequential:
    """Return a network in which every max-pooling has changed places with the ReLU right after it (chapter 9).

    It computes the same function and has the same parameters. Most people write the layers in this order.
    """
    layers = list(network)
    for index, layer in enumerate(layers[:-1]):
        if isinstance(layer, nn.MaxPool2d) and isinstance(layers[index + 1], nn.ReLU):
            layers[index], layers[index + 1] = layers[index + 1], layer
    return nn.Sequential(*layers)


def installed_versions(packages: Sequence[str]) -> dict[str, str | None]:
    """Return the versions of those packages that are installed (None where a package does not state its version)."""
    versions: dict[str, str | None] = {}
    for package in filter(importlib.util.find_spec, packages):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return versions
