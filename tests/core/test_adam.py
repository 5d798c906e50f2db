"""The optimiser for small networks is PyTorch's own Adam, bit for bit, in everything that can be seen of it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from metasgd._core import adam as adam_module
from metasgd._core.adam import FusedAdam

Make = Callable[..., torch.optim.Optimizer]


def parameters(device: torch.device, *dtypes: torch.dtype) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(3, 2, generator=generator).to(device, dtype)) for dtype in dtypes]


def train(optimizer: torch.optim.Optimizer, steps: int = 3) -> None:
    """Take steps, the second of them without a gradient of the first parameter."""
    generator = torch.Generator().manual_seed(1)
    for step in range(steps):
        optimizer.zero_grad()
        for index, p in enumerate(p for group in optimizer.param_groups for p in group["params"]):
            if (step, index) != (1, 0):
                p.grad = torch.randn(p.shape, generator=generator).to(p)
        optimizer.step()


def after_training(make: Make, device: torch.device, dtypes: list[torch.dtype], *groups: dict[str, Any]) -> list[Any]:
    """Return all that an optimiser holds, and its parameters, after some steps, a reload, and some steps more."""
    tensors = [parameters(device, *dtypes) for _ in groups]
    both = [{"params": values, **group} for values, group in zip(tensors, groups, strict=True)]
    optimizer = make(both, fused=True)
    train(optimizer)
    optimizer.load_state_dict(optimizer.state_dict())
    train(optimizer)
    return [optimizer.state_dict(), tensors]


@pytest.mark.parametrize(
    ("dtypes", "groups"),
    [
        ([torch.float32] * 3, [{"lr": 0.1}, {"lr": 0.1}]),
        ([torch.float32] * 2, [{"lr": 0.1}, {"lr": 0.01}, {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3}]),
        (
            [torch.float64],
            [{"lr": 0.1, "weight_decay": 0.1}, {"lr": 0.1, "amsgrad": True}, {"lr": 0.1, "maximize": True}],
        ),
        ([torch.float32, torch.float64], [{"lr": 0.1}, {"lr": 0.1}]),
        ([torch.float32], [{"lr": torch.tensor(0.1)}]),
    ],
)
def test_it_equals_adam_of_pytorch(
    dtypes: list[torch.dtype], groups: list[dict[str, Any]], device: torch.device
) -> None:
    found, expected = (after_training(make, device, dtypes, *groups) for make in (FusedAdam, torch.optim.Adam))
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_state_of_adam_that_is_not_fused_is_taken_over() -> None:
    device = torch.device("cpu")
    found, expected = (make([{"params": parameters(device, torch.float32)}]) for make in (FusedAdam, torch.optim.Adam))
    train(expected)
    state = expected.state_dict()
    found.load_state_dict(state)
    assert not found.param_groups[0]["fused"]
    train(found)
    train(expected)
    torch.testing.assert_close(found.state_dict(), expected.state_dict(), rtol=0, atol=0)


def test_a_step_without_gradients_changes_nothing_and_hooks_are_called(device: torch.device) -> None:
    (p,) = parameters(device, torch.float32)
    before, calls = p.detach().clone(), []
    optimizer = FusedAdam([p], fused=True)
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    optimizer.step()
    assert torch.equal(p, before)
    assert calls == [1]


@pytest.mark.parametrize("fused", [False, True])
def test_a_closure_is_called_with_gradients(fused: bool, device: torch.device) -> None:
    (p,) = parameters(device, torch.float32)
    optimizer = FusedAdam([p], fused=fused)

    def closure() -> Tensor:
        optimizer.zero_grad(set_to_none=False)
        loss = p.square().sum()
        loss.backward()
        return loss

    before = p.square().sum().item()
    assert optimizer.step(closure).item() == before
    assert p.square().sum().item() < before


@pytest.mark.parametrize(("small", "expected"), [(12, 1), (11, 2)])
def test_little_work_is_done_on_one_core(small: int, expected: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two tensors of six numbers each."""
    monkeypatch.setattr("metasgd._core.cpu_threads.MAX_WORK_FOR_ONE_CORE", small)
    kernel, cores = adam_module.FAST_ADAM, []

    def counting(*tensors: list[Tensor], **settings: Any) -> None:
        cores.append(torch.get_num_threads())
        kernel(*tensors, **settings)

    monkeypatch.setattr(adam_module, "FAST_ADAM", counting)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        train(FusedAdam(parameters(torch.device("cpu"), torch.float32, torch.float32), lr=0.1, fused=True), steps=1)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert cores == [expected]
