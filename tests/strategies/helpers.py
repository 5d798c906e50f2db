"""What the tests of strategies share: models, tasks, learners, and how to compare meta-gradients."""

import copy
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from metasgd import MetaSGD, Task
from metasgd.strategies import STRATEGIES, Execution

EVERY = pytest.mark.parametrize("strategy", STRATEGIES)

FAST = pytest.mark.parametrize("strategy", ["threads", "batched"])

# Two orders of the same float64 sums differ by some 1e-15, and up to three inner steps and normalisation by small
# variances amplify that. A wrong term shows from 1e-4 on. Inputs are normal, so that no two numbers tie at the kink
# of a ReLU or in a maximum.
EXACT = 1e-10


def call_it(function: Callable, inputs: Any) -> Callable:
    """What stands for a recording where no GPU can replay one."""
    return lambda *tensors: list(function(*tensors))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def small_convnet() -> nn.Module:
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    return nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))


def dropout_net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2))


class Apply(nn.Module):
    """A function of x and of modules."""

    def __init__(self, function: Callable, **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def recurrent(kind: type[nn.RNNBase]) -> nn.Module:
    return Apply(lambda m, x: m.head(m.cells(x)[0][:, -1]), cells=kind(4, 3, batch_first=True), head=nn.Linear(3, 2))


def draw_tasks(
    device: torch.device,
    shape: tuple[int, ...] = (3,),
    *,
    sizes: list[tuple[int, int]] | None = None,
    outputs: int = 2,
    classify: bool = True,
    seed: int = 0,
) -> list[Task]:
    """One task for each (support, query) size: normal inputs, and labels below ``outputs`` or numbers in 0..1."""
    generator = torch.Generator().manual_seed(seed)

    def examples(count: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(count, *shape, generator=generator)
        labels = torch.randint(outputs, (count,), generator=generator)
        y = labels if classify else torch.rand(count, outputs, generator=generator)
        return x.to(device), y.to(device)

    return [Task(*examples(support), *examples(query)) for support, query in sizes or [(4, 5)] * 5]


def batch_of(tasks: list[Task]) -> Task:
    return Task(*map(torch.stack, zip(*tasks, strict=True)))


def make_learner(
    build: Callable[[], nn.Module], device: torch.device, loss_fn: Callable = F.cross_entropy, **options: Any
) -> MetaSGD:
    """A learner with random parameters, away from the zeros and ones of a fresh layer, and rates of both signs."""
    torch.manual_seed(0)
    model = build()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return MetaSGD(model.to(device), loss_fn, **{"task_lr": (-0.1, 0.3), "seed": 1} | options)


def with_options(learner: MetaSGD, strategy: str, **options: Any) -> MetaSGD:
    """A copy of a learner that computes in another way."""
    twin = copy.deepcopy(learner)
    settings = {"compile": False, "chunk": None, "precision": "float32", "recompute": False} | options
    twin.execution = Execution(strategy, **settings)
    return twin


def meta_gradient(learner: MetaSGD, tasks: Task | list[Task]) -> Tensor:
    """The loss and the gradient in theta and alpha, as one vector; no gradient at all counts as NaN."""
    loss = learner.meta_backward(tasks)
    assert not loss.requires_grad
    variables = [*learner.theta.values(), *learner.alpha.values()]
    parts = [torch.full_like(v, torch.nan) if v.grad is None else v.grad for v in variables]
    return torch.cat([loss.reshape(1), *(part.reshape(-1) for part in parts)]).detach()


def relative_error(value: Tensor, expected: Tensor) -> float:
    """|value - expected| / |expected| over all entries; those that are not a number must be the same ones."""
    assert torch.equal(value.isnan(), expected.isnan())
    return (torch.nansum((value - expected) ** 2).sqrt() / torch.nansum(expected**2).sqrt()).item()


def peak_of_saved_bytes(learner: MetaSGD, tasks: list[Task]) -> int:
    """The most bytes that autograd holds for backward passes at any time, with one thread."""
    torch.set_num_threads(1)
    held = peak = 0

    class Saved:
        def __init__(self, tensor: Tensor) -> None:
            nonlocal held, peak
            self.tensor, size = tensor, tensor.untyped_storage().nbytes()
            held += size
            peak = max(peak, held)
            weakref.finalize(self, release, size)

    def release(size: int) -> None:
        nonlocal held
        held -= size

    with saved_tensors_hooks(Saved, lambda saved: saved.tensor):
        learner.meta_backward(tasks)
    return peak
