"""Every method on the same tasks at the same budget: what chapters 8, 11 and 12 share.

A method is a name of ``METHODS`` and a config, of MNIST or of Omniglot, of which it takes everything but the field
``method``.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from metasgd.baselines import from_scratch
from metasgd.evaluation import Method, Sampler
from metasgd.meta_sgd import MetaSGD
from metasgd.methods import PrototypicalNetwork, Reptile
from metasgd.rates import SharedRates, head_of
from metasgd.recipes.mnist import MnistConfig, make_network
from metasgd.recipes.transfer import RunConfig, pretrain, with_new_head
from metasgd.training import train

# By gradient steps: options of SharedRates.
GRADIENT_METHODS: dict[str, dict[str, Any]] = {
    "meta-sgd": {},
    "layer-rates": {"shared": "layer"},
    "one-rate": {"shared": "all"},
    "nonnegative": {"nonnegative": True},
    "maml": {"learn_alpha": False},
    "first-order": {"first_order": True},
    "first-order-maml": {"learn_alpha": False, "first_order": True},
    "three-steps": {},  # its config says how many
    "head-only": {"adapts": "head"},
    "body-only": {"adapts": "body"},
    "anil": {"learn_alpha": False, "adapts": "head"},
}
METHODS = (*GRADIENT_METHODS, "reptile", "protonet", "fine-tuning")


def make_method(name: str, config: RunConfig, device: torch.device | str = "cpu") -> MetaSGD | PrototypicalNetwork:
    """Return the untrained learner of a method that learns from tasks; all have the same network and start.

    Args:
        name: one of ``METHODS``, but for ``"fine-tuning"``.
        config: its settings.
        device: where it lives.

    Raises:
        ValueError: a method that does not exist, or that does not learn from tasks.
    """
    if name not in METHODS or name == "fine-tuning":
        raise ValueError(f"method {name!r} does not learn from tasks; choose one of {', '.join(METHODS[:-1])}")
    network = make_network(config)
    if name == "protonet":
        *features, _ = network.children()
        return PrototypicalNetwork(nn.Sequential(*features), meta_lr=config.meta_lr).to(device)
    rates: dict[str, Any] = {"meta_lr": config.meta_lr, "task_lr": config.task_lr, "inner_steps": config.inner_steps}
    if name == "reptile":
        return Reptile(network, **rates).to(device)
    options = rates | {"alpha_lr": config.alpha_lr} | GRADIENT_METHODS[name]
    if "adapts" in options:
        is_head = head_of(network)
        options["adapts"] = is_head if options["adapts"] == "head" else lambda parameter: not is_head(parameter)
    return SharedRates(network, **options).to(device)


def train_method(
    name: str,
    config: RunConfig,
    sampler: Sampler,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    progress: bool = True,
) -> tuple[MetaSGD | PrototypicalNetwork, list[dict[str, float]]]:
    """Meta-train one method on a sampler's tasks, where these are, and return (learner, history).

    All methods see the same tasks.
    """
    learner = make_method(name, config, sampler.device)
    history = train(
        cast(MetaSGD, learner),  # a prototypical network has all that train needs
        sampler,
        config.iterations,
        meta_batch=config.meta_batch,
        seed=config.seed,
        out=out,
        resume=resume,
        config={"data": "mnist" if isinstance(config, MnistConfig) else "omniglot", **asdict(config), "method": name},
        progress=progress,
    )
    return learner, history


def pretrained(
    config: RunConfig,
    classes: Sequence[Tensor],
    augment: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    device: torch.device | str = "cpu",
) -> nn.Module:
    """Return a classifier of all meta-training classes, trained on as many pictures as the others see.

    Args:
        config: the settings of the others.
        classes: one uint8 tensor of shape (examples, 28, 28) for each class of meta-training.
        augment: the change of every picture that the others see, if any.
        device: where to train.
    """
    return pretrain(
        make_network(replace(config, ways=len(classes))).to(device),
        classes,
        config.iterations,
        batch=config.meta_batch * config.ways * (config.shots + config.train_queries),
        lr=config.meta_lr,
        augment=augment,
        seed=config.seed,
    )


def fine_tuned(network: nn.Module, config: RunConfig, *, lr: float, steps: int, part: str) -> Method:
    """Return the method that gives a trained network a new head, and trains it on the support set by plain SGD.

    Args:
        network: a classifier of other classes.
        config: says how many classes a task has.
        lr: learning rate.
        steps: full-batch steps.
        part: ``"all"`` parameters are trained, or the ``"head"`` alone.
    """
    network = with_new_head(network, config)
    if part == "head":
        network[:-1].requires_grad_(False)

    def descent(parameters: Iterable[nn.Parameter], lr: float) -> torch.optim.Optimizer:
        return torch.optim.SGD([parameter for parameter in parameters if parameter.requires_grad], lr=lr)

    return from_scratch(network, descent, lr=lr, steps=steps)
