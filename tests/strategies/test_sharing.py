"""Models whose modules or parameters have two names give the right meta-gradient, again and again."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from tests.core.test_functional import SHARING
from tests.strategies.helpers import EVERY, EXACT, batch_of, draw_tasks, make_learner, meta_gradient, relative_error


@EVERY
@pytest.mark.parametrize("compile", [False, True])
@pytest.mark.parametrize("build", SHARING)
@pytest.mark.usefixtures("float64", "traced")
def test_sharing(strategy: str, compile: bool, build: Callable[[], nn.Module], device: torch.device) -> None:
    """The directional derivative of ``meta_loss`` in theta and alpha, by central differences: three times."""
    if compile and strategy == "loop":
        return
    learner = make_learner(build, device, strategy=strategy, compile=compile)
    tasks = draw_tasks(device, sizes=[(4, 5)] * 3)
    values = [*learner.theta.values(), *learner.alpha.values()]
    before = [value.detach().clone() for value in values]
    directions = [torch.randn_like(value) for value in values]

    def meta_loss(step: float) -> float:
        with torch.no_grad():
            for value, start, direction in zip(values, before, directions, strict=True):
                value.copy_(start + step * direction)
            return learner.meta_loss(tasks).item()

    step = 1e-5  # an error of step^2 = 1e-10 by the third derivative, and of 1e-16 / step by rounding
    slope = (meta_loss(step) - meta_loss(-step)) / (2 * step)
    loss = meta_loss(0.0)
    for _ in range(3):
        value = meta_gradient(learner, tasks)
        assert value[0].item() == pytest.approx(loss, abs=EXACT)
        along = sum((v.grad * d).sum() for v, d in zip(values, directions, strict=True))
        assert along.item() == pytest.approx(slope, rel=1e-6)
        assert all(torch.equal(value, start) for value, start in zip(values, before, strict=True))
    expected = torch.stack([learner(*task[:3]) for task in tasks])
    assert relative_error(learner.predict_tasks(batch_of(tasks)), expected) < EXACT
