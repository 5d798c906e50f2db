"""Networks with running statistics that nothing overwrites: every strategy is exact, and who overwrites is told so."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models import efficientnet_b0, mobilenet_v3_small, resnet18
from torchvision.ops import FrozenBatchNorm2d

from metasgd import MetaSGD, Task, evaluate
from metasgd.models import freeze_running_statistics, without_running_statistics
from tests.strategies.helpers import (
    EVERY,
    EXACT,
    FAST,
    draw_tasks,
    make_learner,
    meta_gradient,
    relative_error,
    with_options,
)

CHANNELS = 3
CPU = torch.device("cpu")


def with_statistics(norm: nn.Module) -> nn.Module:
    """A norm with a mean and a variance, and where it has them a scale and a shift, that no fresh layer has."""
    generator = torch.Generator().manual_seed(3)
    for name, values in {**norm.state_dict()}.items():
        if values.ndim:
            norm.state_dict()[name].copy_(torch.rand(values.shape, generator=generator) + 0.5)
    return norm


def network(norm: nn.Module) -> nn.Module:
    layers = (nn.Conv2d(1, CHANNELS, 3), with_statistics(norm), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(CHANNELS * 9, 2))


def frozen(norm: nn.Module) -> nn.Module:
    return freeze_running_statistics(network(norm))


def tracking_turned_off(norm: nn.Module) -> nn.Module:
    model = network(norm)
    model[1].track_running_stats = False
    return model


MODELS = {
    "in evaluation mode": lambda: frozen(nn.BatchNorm2d(CHANNELS)),
    "without scale": lambda: frozen(nn.BatchNorm2d(CHANNELS, affine=False)),
    "scale that does not adapt": lambda: frozen(nn.BatchNorm2d(CHANNELS).requires_grad_(False)),
    "instance norm": lambda: frozen(nn.InstanceNorm2d(CHANNELS, affine=True, track_running_stats=True)),
    "torchvision's": lambda: network(FrozenBatchNorm2d(CHANNELS)),
    "tracking turned off": lambda: tracking_turned_off(nn.BatchNorm2d(CHANNELS)),
    "turned": lambda: without_running_statistics(network(nn.BatchNorm2d(CHANNELS))),
}


def by_formula(model: nn.Module, params: dict[str, Tensor], x: Tensor) -> Tensor:
    """The output of a ``network``, by sums and products; its norm uses the batch if it is in training mode."""
    norm: Any = model[1]
    x = F.conv2d(x, params["0.weight"], params["0.bias"])
    if isinstance(norm, nn.BatchNorm2d) and norm.training:
        mean = x.mean([0, 2, 3])
        variance = (x - mean[:, None, None]).square().mean([0, 2, 3])
    else:
        mean, variance = norm.running_mean, norm.running_var
    x = (x - mean[:, None, None]) / (variance[:, None, None] + norm.eps).sqrt()
    scale, shift = (params.get(f"1.{name}", getattr(norm, name)) for name in ("weight", "bias"))
    if scale is not None:
        x = x * scale[:, None, None] + shift[:, None, None]
    return F.max_pool2d(x.tanh(), 2).flatten(1) @ params["5.weight"].T + params["5.bias"]


def expected_meta_gradient(learner: MetaSGD, tasks: list[Task]) -> Tensor:
    """The loss and the gradients as ``meta_gradient`` orders them, by the formula and autograd alone."""
    theta, alpha = (
        {k: v.detach().requires_grad_() for k, v in part.items()} for part in (learner.theta, learner.alpha)
    )
    adapting = [name for name, value in learner.theta.items() if value.requires_grad]
    total = torch.zeros(())
    for task in tasks:
        params = theta
        for _ in range(learner.inner_steps):
            loss = F.cross_entropy(by_formula(learner.model, params, task.support_x), task.support_y)
            gradients = torch.autograd.grad(loss, [params[name] for name in adapting], create_graph=True)
            steps = {name: alpha[name] * gradient for name, gradient in zip(adapting, gradients, strict=True)}
            params = {**params, **{name: params[name] - step for name, step in steps.items()}}
        total = total + F.cross_entropy(by_formula(learner.model, params, task.query_x), task.query_y) / len(tasks)
    total.backward()
    parts = [
        part[name].grad if name in adapting else torch.full_like(part[name], torch.nan)
        for part in (theta, alpha)
        for name in part
    ]
    return torch.cat([total.detach().reshape(1), *(part.reshape(-1) for part in parts)])


@EVERY
@pytest.mark.parametrize("build", MODELS.values(), ids=MODELS)
@pytest.mark.usefixtures("float64")
def test_meta_gradients_agree_with_sums_and_products(
    build: Callable[[], nn.Module], strategy: str, device: torch.device
) -> None:
    learner = make_learner(build, device, strategy=strategy, inner_steps=2)
    if isinstance(learner.model[1], nn.InstanceNorm2d) and torch.__version__ < "2.5" and strategy != "loop":
        pytest.skip("PyTorch 2.4 writes the same statistics into an instance norm again, which is then refused")
    before = {name: value.clone() for name, value in learner.model.named_buffers()}
    tasks = draw_tasks(device, (1, 8, 8))
    expected = expected_meta_gradient(learner, tasks)
    assert relative_error(meta_gradient(learner, tasks), expected) < EXACT
    learner.predict_tasks(tasks)
    assert {name: value.tolist() for name, value in learner.model.named_buffers()} == {
        name: value.tolist() for name, value in before.items()
    }


@FAST
@pytest.mark.usefixtures("float64")
def test_compiled_meta_gradients_agree_with_the_loops(strategy: str, device: torch.device) -> None:
    def build() -> nn.Module:
        norm = with_statistics(nn.BatchNorm1d(4))
        return freeze_running_statistics(nn.Sequential(nn.Linear(3, 4), norm, nn.Tanh(), nn.Linear(4, 2)))

    learner = make_learner(build, device, strategy=strategy, compile=True)
    tasks = draw_tasks(device)
    assert relative_error(meta_gradient(learner, tasks), meta_gradient(with_options(learner, "loop"), tasks)) < EXACT


@EVERY
@pytest.mark.usefixtures("float64")
def test_batch_norm_whose_tracking_was_turned_off_predicts_as_it_adapts(strategy: str, device: torch.device) -> None:
    """By the batch: PyTorch would use statistics that it holds from before in evaluation mode."""
    learner = make_learner(MODELS["tracking turned off"], device, strategy=strategy)
    tasks = draw_tasks(device, (1, 8, 8))
    with torch.no_grad():
        expected = torch.stack([learner(task.support_x, task.support_y, task.query_x) for task in tasks])
    torch.testing.assert_close(learner.predict_tasks(tasks), expected, rtol=1e-10, atol=1e-12)
    assert learner.model[1].training


# ---------------------------------------------------------------------------------------------------------------
# What overwrites its statistics is refused, at once and later


def own_norm() -> nn.Module:
    """A batch norm of another make that keeps running statistics."""
    module = nn.Identity()
    module.momentum = 0.1
    module.register_buffer("running_mean", torch.zeros(CHANNELS))
    return module


OVERWRITE = {
    "batch norm": lambda: network(nn.BatchNorm2d(CHANNELS)),
    "momentum 0": lambda: network(nn.BatchNorm2d(CHANNELS, momentum=0.0)),
    "instance norm": lambda: network(nn.InstanceNorm2d(CHANNELS, track_running_stats=True)),
    "another make": lambda: network(own_norm()),
}


@pytest.mark.parametrize("build", OVERWRITE.values(), ids=OVERWRITE)
def test_what_overwrites_is_refused_with_both_remedies(build: Callable[[], nn.Module]) -> None:
    with pytest.raises(
        ValueError, match=r"module '1' \(\w+\) .*without_running_statistics.*freeze_running_statistics"
    ):
        MetaSGD(build())


def test_instance_norm_whose_tracking_was_turned_off_is_refused_as_it_overwrites_even_in_evaluation_mode() -> None:
    model = network(nn.InstanceNorm2d(CHANNELS, track_running_stats=True))
    model[1].track_running_stats = False
    before = model[1].running_mean.clone()
    model.eval()(torch.rand(2, 1, 8, 8))
    assert not torch.equal(model[1].running_mean, before)  # PyTorch does this
    with pytest.raises(ValueError, match="keeps running statistics"):
        MetaSGD(model)
    with pytest.raises(ValueError, match="keeps running statistics"):
        freeze_running_statistics(model)
    assert MetaSGD(without_running_statistics(model)).model is model


@EVERY
def test_training_mode_is_noticed_at_the_next_use(strategy: str, device: torch.device) -> None:
    learner = make_learner(MODELS["in evaluation mode"], device, strategy=strategy)
    tasks = draw_tasks(device, (1, 8, 8))
    learner.meta_update(tasks)
    learner = copy.deepcopy(learner)
    learner.train()
    before = learner.model[1].running_mean.clone()
    task = tasks[0]
    for use in (
        lambda: learner.meta_update(tasks),
        lambda: learner.meta_loss(tasks),
        lambda: learner.predict(task.query_x),
        lambda: learner.inner_update(task.support_x, task.support_y),
        lambda: learner(task.support_x, task.support_y, task.query_x),
    ):
        with pytest.raises(ValueError, match=r"module '1' .*keeps running statistics"):
            use()
    assert torch.equal(learner.model[1].running_mean, before)
    freeze_running_statistics(learner).meta_update(tasks)


def test_evaluation_leaves_frozen_norms_in_evaluation_mode_and_dropout_in_training_mode() -> None:
    model = freeze_running_statistics(nn.Sequential(network(nn.BatchNorm2d(CHANNELS)), nn.Dropout(0.5)))
    learner = MetaSGD(model, strategy="loop")

    class Sampler:
        device = CPU

        def sample(self, num_tasks: int, generator: torch.Generator | None = None) -> list[Task]:
            return draw_tasks(CPU, (1, 8, 8), sizes=[(4, 5)] * num_tasks)

    evaluate(learner, Sampler(), 3)
    modes = {type(module).__name__: module.training for module in model.modules()}
    assert (modes["BatchNorm2d"], modes["Dropout"], modes["Conv2d"]) == (False, True, True)


# ---------------------------------------------------------------------------------------------------------------
# Networks of torchvision


@pytest.mark.parametrize("make", [resnet18, mobilenet_v3_small, efficientnet_b0], ids=lambda make: make.__name__)
def test_torchvisions_networks_lose_their_running_statistics_and_keep_the_rest(make: Callable) -> None:
    torch.manual_seed(0)
    model = make(weights=None, num_classes=3)
    names = set(model.state_dict())
    assert without_running_statistics(model) is model
    lost = {name for name in names if name.rsplit(".")[-1] in ("running_mean", "running_var", "num_batches_tracked")}
    assert lost
    assert set(model.state_dict()) == names - lost
    MetaSGD(model)
    torch.nn.Module.load_state_dict(model, copy.deepcopy(model.state_dict()))


@EVERY
@pytest.mark.parametrize("prepare", [without_running_statistics, freeze_running_statistics], ids=lambda f: f.__name__)
@pytest.mark.usefixtures("float64")
def test_a_small_resnet_adapts_by_every_strategy(prepare: Callable, strategy: str, device: torch.device) -> None:
    def build() -> nn.Module:
        model = resnet18(weights=None, num_classes=2)
        model.layer3, model.layer4, model.fc = nn.Identity(), nn.Identity(), nn.Linear(128, 2)
        model.conv1.requires_grad_(False)
        return prepare(model)

    learner = make_learner(build, device, strategy=strategy, task_lr=0.01)
    tasks = draw_tasks(device, (3, 32, 32), sizes=[(3, 4)] * 2)
    value = meta_gradient(learner, tasks)
    assert relative_error(value, meta_gradient(with_options(learner, "loop"), tasks)) < EXACT
