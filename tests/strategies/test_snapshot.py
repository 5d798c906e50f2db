"""What a compiled function depends on: everything in a snapshot that may change."""

import pytest
import torch
from torch import nn

from metasgd import MetaSGD
from tests.strategies.helpers import EXACT, FAST, draw_tasks, make_learner, meta_gradient, relative_error, with_options

pytestmark = pytest.mark.usefixtures("no_channel_is_small")


def change_steps(learner: MetaSGD) -> None:
    learner.inner_steps = 3


def change_order(learner: MetaSGD) -> None:
    learner.first_order = True


def freeze_first(learner: MetaSGD) -> None:
    next(iter(learner.model.parameters())).requires_grad_(False)


def freeze_second(learner: MetaSGD) -> None:
    list(learner.model.parameters())[1].requires_grad_(False)


@FAST
def test_what_was_compiled_for_other_settings_is_not_used(
    strategy: str, device: torch.device, float64: None, traced: None
) -> None:
    """Freezing the one or the other of two equal layers gives the graph inputs of the same shapes."""

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(3, 3, bias=False), nn.Tanh(), nn.Linear(3, 3, bias=False))

    for pair in [(change_steps, None), (change_order, None), (freeze_first, freeze_second)]:
        learner = make_learner(build, device, strategy=strategy, compile=True)
        tasks = draw_tasks(device, outputs=3)
        if pair[1]:
            pair[1](learner)
        meta_gradient(learner, tasks)
        for parameter in learner.model.parameters():
            parameter.requires_grad_(True)
        pair[0](learner)
        expected = meta_gradient(with_options(learner, "loop"), tasks)
        learner.zero_grad()
        assert relative_error(meta_gradient(learner, tasks), expected) < EXACT
