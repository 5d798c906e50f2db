"""Every way of computing equals the plain loop: strategies, chunks, recomputation, compilation, precision.

The loop itself is held against derivatives worked by hand and against difference quotients in test_meta_gradient.py.
Chapters 9 and 10 explain the strategies.
"""

import contextlib
import copy
import os
import pickle
import shutil
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from metasgd import MetaSGD, Task, strategies
from metasgd.strategies import cuda_graphs
from metasgd.strategies.batch_norm import ONE_BY_ONE_COMPILED
from metasgd.strategies.compiler import Compiled, thin_product
from metasgd.strategies.precision import matmul_precision

pytestmark = pytest.mark.usefixtures("no_channel_is_small")
EVERY = pytest.mark.parametrize("strategy", strategies.STRATEGIES)
FAST = pytest.mark.parametrize("strategy", ["threads", "batched"])


# ---------------------------------------------------------------------------------------------------------------
# What the tests share


@pytest.fixture(autouse=True)
def number_of_threads(request: pytest.FixtureRequest) -> Iterator[None]:
    """Two threads for the tests of "threads", whatever the environment says, and one for the others: it is faster."""
    before, parameters = torch.get_num_threads(), getattr(request.node, "callspec", None)
    one = parameters is not None and parameters.params.get("strategy", "threads") != "threads"
    torch.set_num_threads(1 if one else 2)
    yield
    torch.set_num_threads(before)


def call_it(function: Callable, inputs: Any) -> Callable:
    """What stands for a recording where no GPU can replay one."""
    return lambda *tensors: list(function(*tensors))


@pytest.fixture(autouse=True)
def recordings_are_calls_without_a_gpu(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let "streams" do on a CPU what it would record on a GPU, one task after the other."""
    if device.type == "cpu":
        monkeypatch.setattr(strategies, "GPU", "cpu")
        monkeypatch.setattr(strategies, "recorded", call_it)
        monkeypatch.setattr(strategies, "side_by_side", lambda function, items: [function(item) for item in items])


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the compiler: ``compile=True`` then runs the traced graph as it is, which takes no minutes."""
    monkeypatch.setattr("torch._inductor.compile", lambda graph, inputs, options: graph)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 2))


def small_convnet() -> nn.Module:
    norm = nn.BatchNorm2d(4, track_running_stats=False)
    return nn.Sequential(nn.Conv2d(1, 4, 3), norm, nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))


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
    twin.execution = strategies.Execution(strategy, **settings)
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


# ---------------------------------------------------------------------------------------------------------------
# Every strategy equals the loop


class Case(NamedTuple):
    """A model, a loss, tasks and settings, as numbers and names that hypothesis can print and shrink."""

    dense: bool
    blocks: int
    normalisation: str
    activation: str
    pooling: str
    order: str
    loss: str
    ways: int
    sizes: list[tuple[int, int]]
    in_one_batch: bool
    inner_steps: int
    first_order: bool
    learn_alpha: bool
    frozen: list[int]
    chunk: int | None
    recompute: bool
    workers: int
    seed: int


CASES = st.builds(
    Case,
    dense=st.booleans(),
    blocks=st.integers(1, 3),
    normalisation=st.sampled_from(["batch", "batch without affine", "group", "layer", "instance", "none"]),
    activation=st.sampled_from(["ReLU", "Tanh", "GELU", "ELU", "SiLU", "LeakyReLU", "Softplus", "PReLU"]),
    pooling=st.sampled_from(["max", "average", "strided", "none"]),
    order=st.sampled_from(["nap", "npa", "anp", "pna"]),  # of normalisation, activation and pooling in a block
    loss=st.sampled_from(["cross entropy", "weighted smoothed cross entropy", "mse", "huber", "bce"]),
    ways=st.integers(2, 4),
    sizes=st.lists(st.sampled_from([(1, 1), (1, 3), (2, 2)]), min_size=1, max_size=5),  # shots, queries a class
    in_one_batch=st.booleans(),
    inner_steps=st.integers(1, 3),
    first_order=st.booleans(),
    learn_alpha=st.booleans(),
    frozen=st.lists(st.integers(1, 20), max_size=3),
    chunk=st.one_of(st.none(), st.integers(1, 4)),
    recompute=st.booleans(),
    workers=st.integers(1, 2),
    seed=st.integers(0, 2**16),
)
LOSSES = {
    "cross entropy": F.cross_entropy,
    "weighted smoothed cross entropy": lambda p, y: F.cross_entropy(
        p, y, weight=torch.arange(1.0, p.shape[1] + 1).to(p), label_smoothing=0.1
    ),
    "mse": F.mse_loss,
    "huber": F.huber_loss,
    "bce": F.binary_cross_entropy_with_logits,
}
SIDE = 8  # of the pictures


def build_model(case: Case) -> nn.Module:
    """Blocks of a linear layer or convolution, normalisation, activation and pooling, and a linear head."""
    width, layers, inputs, side = 4, [], 3 if case.dense else 1, SIDE
    for _ in range(case.blocks):
        layers.append(nn.Linear(inputs, width) if case.dense else nn.Conv2d(inputs, width, 3, padding=1))
        inputs, block = width, []
        for step in case.order:
            if step == "a":
                block.append(getattr(nn, case.activation)())
            elif step == "n":
                block.append(build_normalisation(case, width, side))
            elif not case.dense and side > 2:
                block.append(build_pooling(case, width))
                side = side if case.pooling == "none" else side // 2
        layers += block
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width if case.dense else width * side**2, case.ways))


def build_normalisation(case: Case, width: int, side: int) -> nn.Module:
    if case.normalisation.startswith("batch"):
        kind = nn.BatchNorm1d if case.dense else nn.BatchNorm2d
        return kind(width, affine=case.normalisation == "batch", track_running_stats=False)
    return {
        "group": nn.GroupNorm(2, width),
        "layer": nn.LayerNorm([width] if case.dense else [width, side, side]),
        "instance": nn.Identity() if case.dense else nn.InstanceNorm2d(width, affine=True),
        "none": nn.Identity(),
    }[case.normalisation]


def build_pooling(case: Case, width: int) -> nn.Module:
    return {
        "max": nn.MaxPool2d(2),
        "average": nn.AvgPool2d(2),
        "strided": nn.Conv2d(width, width, 3, stride=2, padding=1),
        "none": nn.Identity(),
    }[case.pooling]


def learner_and_tasks(case: Case, device: torch.device) -> tuple[MetaSGD, Task | list[Task]]:
    def build() -> nn.Module:
        torch.manual_seed(case.seed)
        model = build_model(case)
        parameters = list(model.parameters())
        for index in {index % len(parameters) for index in case.frozen} - {0}:  # the first one always adapts
            parameters[index].requires_grad_(False)
        return model

    settings = {name: getattr(case, name) for name in ("inner_steps", "first_order", "learn_alpha")}
    learner = make_learner(build, device, LOSSES[case.loss], task_lr=(-0.05, 0.15), strategy="loop", **settings)
    sizes = [(shots * case.ways, queries * case.ways) for shots, queries in case.sizes]
    sizes = sizes[:1] * len(sizes) if case.in_one_batch else sizes
    shape, classify = (3,) if case.dense else (1, SIDE, SIDE), "cross entropy" in case.loss
    tasks = draw_tasks(device, shape, sizes=sizes, outputs=case.ways, classify=classify, seed=case.seed)
    return learner, batch_of(tasks) if case.in_one_batch else tasks


# Two orders of the same float64 sums differ by some 1e-15, and up to three inner steps and normalisation by small
# variances amplify that. A wrong term shows from 1e-4 on. Inputs are normal, so that no two numbers tie at the kink
# of a ReLU or in a maximum.
EXACT = 1e-10
deterministic = settings(
    derandomize=True, database=None, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@settings(deterministic, max_examples=30)
@given(case=CASES)
def test_every_strategy_equals_the_loop(case: Case, device: torch.device, float64: None) -> None:
    torch.set_num_threads(1)
    learner, tasks = learner_and_tasks(case, device)
    expected = meta_gradient(learner, tasks)
    for strategy in ("threads", "batched", "auto"):
        torch.set_num_threads(case.workers if strategy == "threads" else 1)
        twin = with_options(learner, strategy, chunk=case.chunk, recompute=case.recompute)
        assert relative_error(meta_gradient(twin, tasks), expected) < EXACT, strategy
        if case.in_one_batch:
            error = relative_error(twin.predict_tasks(tasks), learner.predict_tasks(tasks))
            assert error < EXACT, f"predictions of {strategy}"
    with mock.patch.object(strategies, "ONE_BY_ONE", ONE_BY_ONE_COMPILED):  # what a compiler is given
        twin = with_options(learner, "threads", recompute=case.recompute)
        assert relative_error(meta_gradient(twin, tasks), expected) < EXACT


class Apply(nn.Module):
    """A function of x and of modules."""

    def __init__(self, function: Callable, **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, module in modules.items():
            setattr(self, name, module)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, x)


def words(x: Tensor) -> Tensor:
    return (3 * x.abs()).long().clamp(max=4)


def embed(padding: int | None) -> nn.Module:
    rows = nn.Embedding(5, 4, padding_idx=padding)
    return Apply(lambda m, x: m.head(m.rows(words(x)).tanh().flatten(1)), rows=rows, head=nn.Linear(12, 2))


def attend() -> nn.Module:
    attention = nn.MultiheadAttention(4, 2, batch_first=True)
    return Apply(lambda m, x: m.head(m.attention(x, x, x)[0].flatten(1)), attention=attention, head=nn.Linear(12, 2))


def view_as_rows() -> nn.Module:
    convolution, head = nn.Conv2d(2, 3, 3), nn.Linear(48, 2)
    return Apply(lambda m, x: m.head(m.convolution(x).tanh().view(x.size(0), -1)), convolution=convolution, head=head)


def recurrent(kind: type[nn.RNNBase]) -> nn.Module:
    return Apply(lambda m, x: m.head(m.cells(x)[0][:, -1]), cells=kind(4, 3, batch_first=True), head=nn.Linear(3, 2))


def with_head(*layers: nn.Module, features: int) -> nn.Module:
    return nn.Sequential(*layers, nn.Tanh(), nn.Flatten(), nn.Linear(features, 2))


# Functions whose derivatives under vmap were silently wrong in PyTorch 2.15 (first), and relatives of theirs.
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "BatchNorm1d": (lambda: with_head(nn.BatchNorm1d(3, track_running_stats=False), features=3), (3,)),
    "BatchNorm3d": (lambda: with_head(nn.BatchNorm3d(2, track_running_stats=False), features=16), (2, 2, 2, 2)),
    "LayerNorm": (lambda: with_head(nn.Conv2d(2, 3, 3), nn.LayerNorm([3, 2, 2]), features=12), (2, 4, 4)),
    "LayerNorm without bias": (lambda: with_head(nn.Linear(3, 4), nn.LayerNorm(4, bias=False), features=4), (3,)),
    "InstanceNorm1d": (lambda: with_head(nn.Conv1d(2, 3, 3), nn.InstanceNorm1d(3, affine=True), features=9), (2, 5)),
    "InstanceNorm2d": (lambda: with_head(nn.InstanceNorm2d(2, affine=True), features=18), (2, 3, 3)),
    "InstanceNorm3d": (lambda: with_head(nn.InstanceNorm3d(2, affine=True), features=16), (2, 2, 2, 2)),
    "Embedding with padding": (lambda: embed(1), (3,)),
    "Embedding": (lambda: embed(None), (3,)),
    "RMSNorm": (lambda: with_head(nn.Linear(3, 4), nn.RMSNorm(4), features=4), (3,)),
    "LocalResponseNorm": (lambda: with_head(nn.Conv2d(2, 3, 2), nn.LocalResponseNorm(2), features=12), (2, 3, 3)),
    "MultiheadAttention": (attend, (3, 4)),
    "Conv1d": (lambda: with_head(nn.Conv1d(2, 3, 3), nn.MaxPool1d(2), features=6), (2, 6)),
    "Conv3d": (lambda: with_head(nn.Conv3d(2, 3, 2), nn.AvgPool3d(2), features=3), (2, 3, 3, 3)),
    "ConvTranspose2d": (lambda: with_head(nn.ConvTranspose2d(2, 2, 2, stride=2), features=32), (2, 2, 2)),
    "grouped, dilated Conv2d": (lambda: with_head(nn.Conv2d(2, 4, 2, dilation=2, groups=2), features=16), (2, 4, 4)),
    "in-place ReLU": (lambda: with_head(nn.Linear(3, 4), nn.ReLU(inplace=True), features=4), (3,)),
    "Softmax": (lambda: with_head(nn.Linear(3, 4), nn.Softmax(1), features=4), (3,)),
    "orthogonal": (lambda: with_head(nn.utils.parametrizations.orthogonal(nn.Linear(3, 3)), features=3), (3,)),
    "view": (view_as_rows, (2, 6, 6)),
}


@FAST
@pytest.mark.parametrize("name", MODELS)
def test_models_of_every_kind_equal_the_loop(strategy: str, name: str, device: torch.device, float64: None) -> None:
    build, shape = MODELS[name]
    learner = make_learner(build, device, inner_steps=2, strategy="loop")
    tasks = draw_tasks(device, shape, sizes=[(4, 5)] * 3)
    expected = meta_gradient(learner, tasks)
    assert relative_error(meta_gradient(with_options(learner, strategy), tasks), expected) < EXACT


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_recurrent_networks_equal_the_loop_in_threads(
    kind: type[nn.RNNBase], device: torch.device, float64: None
) -> None:
    learner = make_learner(lambda: recurrent(kind), device, strategy="loop")
    tasks = draw_tasks(device, (3, 4))
    with torch.backends.cudnn.flags(enabled=False):  # which has no second derivatives of them
        expected = meta_gradient(learner, tasks)
        assert relative_error(meta_gradient(with_options(learner, "threads"), tasks), expected) < EXACT


# ---------------------------------------------------------------------------------------------------------------
# What a meta-step leaves behind


@EVERY
def test_backward_and_step_are_an_update(strategy: str, device: torch.device) -> None:
    whole = make_learner(mlp, device, strategy=strategy)
    halves, tasks = copy.deepcopy(whole), draw_tasks(device)
    loss = whole.meta_update(tasks)
    assert halves.meta_step(halves.meta_backward(tasks), tasks) == loss
    for name in whole.theta:
        assert torch.equal(whole.theta[name], halves.theta[name])
        assert torch.equal(whole.alpha[name], halves.alpha[name])


@EVERY
def test_gradients_are_stored_like_their_parameters(strategy: str, device: torch.device) -> None:
    """An optimiser's fused kernel wants a parameter and its gradient in one layout."""
    learner = make_learner(small_convnet, device, strategy=strategy)
    learner.meta_backward(draw_tasks(device, (1, 6, 6)))
    for value in (*learner.theta.values(), *learner.alpha.values()):
        assert value.grad.stride() == value.stride()


@EVERY
@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad])
def test_predictions_are_detached_and_leave_no_gradients(strategy: str, mode: Callable, device: torch.device) -> None:
    learner = make_learner(mlp, device, strategy=strategy)
    with mode():
        predictions = learner.predict_tasks(batch_of(draw_tasks(device)))
    assert predictions.shape == (5, 5, 2)
    assert not predictions.requires_grad
    assert all(value.grad is None for value in learner.parameters())


def test_state_does_not_depend_on_the_strategy(device: torch.device) -> None:
    states = [make_learner(mlp, device, strategy=name, chunk=2).state_dict() for name in strategies.STRATEGIES]
    assert states[0].keys() == states[1].keys() == states[2].keys()
    learner = make_learner(mlp, device, strategy="threads")
    learner.load_state_dict(states[2])
    assert learner.execution.strategy == "threads"


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda learner: pickle.loads(pickle.dumps(learner))])
def test_a_learner_with_compiled_functions_is_copied(clone: Callable, device: torch.device, traced: None) -> None:
    learner = make_learner(mlp, device, strategy="batched", compile=True)
    tasks = draw_tasks(device)
    expected = meta_gradient(learner, tasks)
    twin = clone(learner)
    assert torch.equal(meta_gradient(twin, tasks), expected)
    twin.meta_update(tasks)
    assert torch.equal(meta_gradient(learner, tasks), expected)


@pytest.mark.parametrize(("small", "expected"), [(10**9, 1), (0, 2)])
def test_little_work_is_done_on_one_core(
    small: int, expected: int, monkeypatch: pytest.MonkeyPatch, float64: None
) -> None:
    torch.set_num_threads(2)
    monkeypatch.setattr("metasgd._core.cpu_threads.SMALL", small)
    cores = []

    def loss_fn(prediction: Tensor, target: Tensor) -> Tensor:
        cores.append(torch.get_num_threads())
        return F.cross_entropy(prediction, target)

    learner = make_learner(mlp, torch.device("cpu"), loss_fn, strategy="batched", chunk=2)
    tasks = batch_of(draw_tasks(torch.device("cpu")))
    expected_gradient = meta_gradient(with_options(learner, "loop"), tasks)
    cores.clear()
    assert relative_error(meta_gradient(learner, tasks), expected_gradient) < EXACT
    assert set(cores) == {expected}
    assert torch.get_num_threads() == 2


# ---------------------------------------------------------------------------------------------------------------
# Choosing a strategy


def dropout_net() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), nn.Dropout(0.5), nn.Linear(4, 2))


def recurrent_net() -> nn.Module:
    return recurrent(nn.GRU)


def spectral_net() -> nn.Module:
    return nn.Sequential(nn.utils.parametrizations.spectral_norm(nn.Linear(3, 2)))


@pytest.mark.parametrize(
    ("build", "shape", "strategy", "reason"),
    [
        (mlp, (3,), "batched", "a few large matrix products"),
        (small_convnet, (1, 6, 6), "threads", "convolutions in a batch of tasks"),
        (dropout_net, (3,), "loop", "dropout draws its random numbers task by task"),
        (recurrent_net, (3, 4), "threads", "'batched' cannot compute this"),
        (spectral_net, (3,), "loop", "changes its buffer '0.parametrizations.weight.0._u' with every call"),
    ],
)
def test_auto_chooses_by_the_model_on_a_cpu_and_says_why_once(
    build: Callable, shape: tuple[int, ...], strategy: str, reason: str, capsys: pytest.CaptureFixture
) -> None:
    strategies.announce.cache_clear()
    for _ in range(2):
        learner = make_learner(build, torch.device("cpu"))
        learner.meta_update(draw_tasks(torch.device("cpu"), shape))
        learner.meta_update(draw_tasks(torch.device("cpu"), shape))
        assert learner.execution.chosen == strategy
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(f"MetaSGD: strategy '{strategy}', as ")
    assert reason in lines[-1]
    assert len(lines) == len(set(lines))


def test_auto_chooses_batches_elsewhere(capsys: pytest.CaptureFixture) -> None:
    """The meta device stands for a GPU: nothing is computed."""
    strategies.announce.cache_clear()
    learner = make_learner(small_convnet, torch.device("cpu"))
    learner.model.to("meta")
    assert strategies.strategy_of(learner) == "batched"
    assert "the model is on meta" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("build", "options", "expected"),
    [
        (small_convnet, {"compile": True}, "streams"),
        (small_convnet, {}, "batched"),
        (mlp, {"compile": True}, "batched"),
    ],
)
def test_auto_records_what_is_compiled_and_convolves_on_a_gpu(
    build: Callable, options: dict[str, Any], expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strategies, "device_of", lambda learner: torch.device("cuda"))
    assert strategies.choose(make_learner(build, torch.device("cpu"), **options))[0] == expected


def test_auto_goes_on_without_a_recording_where_none_can_be_made(
    device: torch.device, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def fail(learner: MetaSGD, tasks: Any) -> Tensor:
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setitem(strategies.STRATEGIES, "streams", strategies.STRATEGIES["streams"]._replace(backward=fail))
    learner, tasks = make_learner(mlp, device), draw_tasks(device)
    learner.execution.chosen = "streams"
    expected = meta_gradient(with_options(learner, "batched"), tasks)
    assert torch.equal(meta_gradient(learner, tasks), expected)
    assert learner.execution.chosen == "batched"
    assert "as 'streams' cannot compute this: operation not permitted" in capsys.readouterr().out


def test_auto_does_not_take_an_error_of_the_user_for_one_of_a_strategy(device: torch.device) -> None:
    learner = make_learner(mlp, device)
    learner.execution.chosen = "batched"
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        learner.meta_update(draw_tasks(device, (7,)))
    assert learner.execution.chosen == "batched"


def test_a_strategy_is_added_in_one_place(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    loop = strategies.STRATEGIES["loop"]
    backwards = loop._replace(backward=lambda learner, tasks: loop.backward(learner, tasks[::-1]))
    monkeypatch.setitem(strategies.STRATEGIES, "backwards", backwards)
    learner = make_learner(mlp, device, strategy="backwards")
    tasks = draw_tasks(device)
    expected = meta_gradient(with_options(learner, "loop"), tasks[::-1])
    assert torch.equal(meta_gradient(learner, tasks), expected)


def test_only_the_newest_recordings_are_kept() -> None:
    """Each holds memory of the GPU, and tasks may come in any number of sizes."""
    made = []
    kept = Compiled(lambda function, inputs: made.append(function) or function, most=2)
    for key in (1, 2, 3, 3, 2, 1):
        assert kept.find(key, key, []) == key
    assert made == [1, 2, 3, 1]
    assert pickle.loads(pickle.dumps(Compiled(call_it, 2))).__reduce__() == (Compiled, (call_it, 2))


def test_streams_need_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    learner = make_learner(mlp, torch.device("cpu"), strategy="streams")
    with pytest.raises(ValueError, match="'streams' needs an NVIDIA GPU, and the model is on cpu; use 'auto'"):
        learner.meta_update(draw_tasks(torch.device("cpu")))
    assert "streams" not in strategies.strategies_on(torch.device("cpu"))
    assert "streams" in strategies.strategies_on(torch.device("cuda"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="records a CUDA graph, which takes an NVIDIA GPU")
def test_a_recording_is_the_function_of_whatever_it_is_given() -> None:
    """Also after another call, whose results must not write over the first ones."""
    work = cuda_graphs.recorded(
        lambda x, y: [
            part for parts in cuda_graphs.side_by_side(lambda z: (z @ z, z.sum(0)), [x, y]) for part in parts
        ],
        [torch.ones(3, 3, device="cuda"), torch.ones(3, 3, device="cuda")],
    )
    inputs = [torch.rand(2, 3, 3, device="cuda") for _ in range(2)]
    results = [work(*pair) for pair in inputs]
    for (x, y), found in zip(inputs, results, strict=True):
        for value, expected in zip(found, [x @ x, x.sum(0), y @ y, y.sum(0)], strict=True):
            torch.testing.assert_close(value, expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strategy": "fastest"}, "strategy 'fastest' does not exist; choose auto, loop, threads, batched, streams"),
        ({"chunk": 0}, "chunk is 0; at least 1 task"),
        ({"precision": "float16"}, "precision 'float16' does not exist; choose one of float32, tf32, bfloat16"),
        ({"strategy": "loop", "compile": True}, "'loop' is the readable reference and is not compiled"),
    ],
)
def test_impossible_settings_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MetaSGD(mlp(), **options)


# ---------------------------------------------------------------------------------------------------------------
# Errors at the edge are those of the loop


def replaced(**fields: Tensor) -> list[Task]:
    tasks = draw_tasks(torch.device("cpu"))
    return [*tasks[:2], tasks[2]._replace(**fields), *tasks[3:]]


WRONG = [
    (replaced(support_y=torch.tensor([0, 1, 2, 0])), "labels run from 0 to 2, but the model has 2 outputs"),
    (replaced(query_y=torch.tensor([0, 1, -1, 0, 0])), "labels run from -1 to 1"),
    (replaced(query_y=torch.tensor([0, 1])), "the query set has 5 inputs but 2 targets"),
    (replaced(query_x=torch.zeros(0, 3), query_y=torch.zeros(0).long()), "the query set is empty"),
    (
        replaced(query_x=torch.zeros(5, 3).double()),
        "support inputs have dtype torch.float32, query inputs torch.float64",
    ),
    ([], "no tasks given"),
    (batch_of(replaced())._replace(query_y=torch.zeros(3, 5).long()), "disagree about the number of tasks"),
    (Task(*(values[:0] for values in batch_of(replaced()))), "no tasks given"),
]


@EVERY
@pytest.mark.parametrize(("tasks", "message"), WRONG, ids=[message for _, message in WRONG])
def test_every_strategy_refuses_the_same_tasks(strategy: str, tasks: Task | list[Task], message: str) -> None:
    learner = make_learner(mlp, torch.device("cpu"), strategy=strategy)
    with pytest.raises(ValueError, match=message):
        learner.meta_update(tasks)


@EVERY
def test_every_strategy_refuses_a_loss_that_is_no_scalar(strategy: str, device: torch.device) -> None:
    learner = make_learner(
        mlp, device, lambda p, y: F.cross_entropy(p, y, reduction="none"), strategy=strategy, chunk=2
    )
    with pytest.raises(ValueError, match="it must be a scalar"):
        learner.meta_update(draw_tasks(device))


@EVERY
def test_every_strategy_allows_the_ignored_label(strategy: str, device: torch.device, float64: None) -> None:
    learner = make_learner(mlp, device, strategy=strategy)
    tasks = draw_tasks(device)
    tasks[1].support_y[0] = -100
    expected = meta_gradient(with_options(learner, "loop"), tasks)
    assert relative_error(meta_gradient(learner, tasks), expected) < EXACT


@FAST
def test_computing_random_numbers_twice_is_refused(strategy: str, device: torch.device) -> None:
    learner = make_learner(dropout_net, device, strategy=strategy, recompute=True)
    with pytest.raises(ValueError, match="draws random numbers"):
        learner.meta_update(draw_tasks(device))
    learner.eval().meta_update(draw_tasks(device, (3,), sizes=[(6, 2)]))  # nothing is drawn


@FAST
def test_looking_at_the_model_draws_no_random_numbers(strategy: str, device: torch.device) -> None:
    learner = make_learner(dropout_net, device, strategy=strategy)
    before = torch.get_rng_state()
    strategies.check_tasks(learner, draw_tasks(device))
    assert torch.equal(torch.get_rng_state(), before)


# ---------------------------------------------------------------------------------------------------------------
# Compilation

needs_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None and shutil.which("clang++") is None,
    reason="compilation needs a C++ compiler on a CPU, g++ or clang++, and there is none",
)


@needs_compiler
@pytest.mark.parametrize(
    ("strategy", "build", "shape"), [("batched", mlp, (3,)), ("threads", small_convnet, (1, 6, 6))]
)
def test_compiled_equals_the_loop(
    strategy: str, build: Callable, shape: tuple[int, ...], device: torch.device, float64: None
) -> None:
    """A warning that nothing was compiled would be an error here."""
    learner = make_learner(build, device, strategy="loop")
    tasks = draw_tasks(device, shape)
    expected = meta_gradient(learner, tasks)
    twin = with_options(learner, strategy, compile=True)
    assert relative_error(meta_gradient(twin, tasks), expected) < EXACT
    assert relative_error(meta_gradient(twin, tasks), expected) < EXACT  # by the functions compiled before


@FAST
def test_without_a_compiler_the_result_is_right_and_a_warning_given(
    strategy: str, device: torch.device, float64: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_compiler(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("no C++ compiler found\nand more lines")

    monkeypatch.setattr("torch._inductor.compile", no_compiler)
    learner = make_learner(mlp, device, strategy=strategy, compile=True)
    tasks = draw_tasks(device, sizes=[(4, 5)] * 30)
    with pytest.warns(RuntimeWarning, match="runs uncompiled, as compilation failed: no C[+][+] compiler found$"):
        value = meta_gradient(learner, tasks)
    expected = meta_gradient(with_options(learner, "loop"), tasks)
    assert relative_error(value, expected) < EXACT
    assert torch.equal(meta_gradient(learner, tasks), value)  # without another warning


@pytest.mark.parametrize(
    ("strategy", "build", "shape", "options"),
    [
        ("threads", small_convnet, (1, 6, 6), {"inner_steps": 2}),
        ("batched", small_convnet, (1, 6, 6), {"inner_steps": 1}),
        ("batched", mlp, (3,), {"inner_steps": 2, "recompute": True}),
    ],
)
def test_what_is_compiled_equals_the_loop(
    strategy: str,
    build: Callable,
    shape: tuple[int, ...],
    options: dict[str, Any],
    device: torch.device,
    float64: None,
    traced: None,
) -> None:
    """Inner steps, chunks and tasks of two sizes, all but the compiler itself."""
    learner = make_learner(build, device, **options, strategy=strategy, compile=True, chunk=2)
    tasks = draw_tasks(device, shape, sizes=[(4, 5), (4, 5), (6, 3)])
    expected = meta_gradient(with_options(learner, "loop"), tasks)
    assert relative_error(meta_gradient(learner, tasks), expected) < EXACT


@needs_compiler
def test_a_row_or_a_column_as_a_sum_is_the_same_product(float64: None) -> None:
    """One product of each form, and one that is not compiled as a sum."""
    shapes = [(5, 1, 4), (5, 3, 1), (1, 3, 4), (1, 1, 1), (5, 3, 4)]
    factors = [(torch.randn(rows, inner), torch.randn(inner, columns)) for rows, inner, columns in shapes]
    assert [thin_product(*pair) is NotImplemented for pair in factors] == [False] * 4 + [True]

    def products(*tensors: Tensor) -> list[Tensor]:
        return [a @ b for a, b in zip(tensors[::2], tensors[1::2], strict=True)]

    flat = [tensor for pair in factors for tensor in pair]
    compiled = Compiled().find("products", products, flat)
    assert compiled is not None
    torch.testing.assert_close(list(compiled(*flat)), products(*flat), rtol=1e-14, atol=1e-14)


def change_steps(learner: MetaSGD) -> None:
    learner.inner_steps = 3


def change_order(learner: MetaSGD) -> None:
    learner.first_order = True


def freeze_first(learner: MetaSGD) -> None:
    next(iter(learner.model.parameters())).requires_grad_(False)


def freeze_second(learner: MetaSGD) -> None:
    list(learner.model.parameters())[1].requires_grad_(False)


def test_what_cannot_be_compiled_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch._inductor.compile", None)
    compiled, x = Compiled(), torch.ones(2)
    with pytest.warns(RuntimeWarning, match="runs uncompiled"):
        assert compiled.find("key", lambda x: x + 1, [x]) is None
    assert compiled.find("key", lambda x: x + 1, [x]) is None  # a second warning would be an error


def test_kernels_are_called_by_cpp_and_as_usual_where_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def inductor(graph: Callable, inputs: list[Tensor], options: dict[str, Any]) -> Callable:
        asked.append("cpp_wrapper" in options)
        if asked[-1]:
            raise RuntimeError("not in this version")
        return graph

    monkeypatch.setattr("torch._inductor.compile", inductor)
    x = torch.ones(10)
    compiled = Compiled().find("key", torch.sin, [x])
    assert asked == [True, False]
    assert compiled is not None
    assert torch.equal(compiled(x), x.sin())


def test_what_is_compiled_for_one_core_is_not_used_on_two(traced: None) -> None:
    compiled, x = Compiled(), torch.ones(2)
    torch.set_num_threads(1)
    on_one = compiled.find("key", torch.sin, [x])
    assert compiled.find("key", torch.sin, [x]) is on_one
    torch.set_num_threads(2)
    assert compiled.find("key", torch.sin, [x]) is not on_one


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


# ---------------------------------------------------------------------------------------------------------------
# Precision


@EVERY
def test_bfloat16_keeps_two_digits(strategy: str, device: torch.device) -> None:
    """A bfloat16 number has 8 bits, and is off by up to 0.4%; some layers, twice derived, make that some percent."""
    learner = make_learner(small_convnet, device)
    tasks = draw_tasks(device, (1, 6, 6), sizes=[(10, 30)] * 4)
    exact = with_options(learner, "loop").double()
    in_double = [Task(*(x.double() if x.is_floating_point() else x for x in task)) for task in tasks]
    expected = meta_gradient(exact, in_double)
    error = relative_error(meta_gradient(with_options(learner, strategy, precision="bfloat16"), tasks), expected)
    assert 1e-5 < error < 0.05
    # float32 has 24 bits, and is off by 6e-8 a number; sums of some hundred leave 1e-5 with room.
    error = relative_error(meta_gradient(with_options(learner, strategy), tasks), expected)
    assert 0 < error < 1e-5


@EVERY
def test_loss_and_gradients_in_bfloat16_have_the_dtype_of_theta(strategy: str, device: torch.device) -> None:
    learner = make_learner(mlp, device, strategy=strategy, precision="bfloat16")
    tasks = batch_of(draw_tasks(device))
    assert learner.meta_backward(tasks).dtype == torch.float32
    assert {value.grad.dtype for value in learner.theta.values()} == {torch.float32}


@EVERY
def test_tf32_is_refused_on_a_cpu(strategy: str) -> None:
    learner = make_learner(mlp, torch.device("cpu"), strategy=strategy, precision="tf32")
    with pytest.raises(ValueError, match="'tf32' needs an NVIDIA GPU, and the model is on cpu"):
        learner.meta_update(draw_tasks(torch.device("cpu")))


@pytest.mark.parametrize("products", ["highest", "high"])
def test_settings_are_put_back_after_tf32(products: str) -> None:
    """The switches are PyTorch's own, for all of the process; setting them needs no GPU."""

    def switches() -> tuple[str, bool]:
        return torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32

    before = switches()
    try:
        torch.set_float32_matmul_precision(products)
        torch.backends.cudnn.allow_tf32 = False
        with contextlib.suppress(ZeroDivisionError), matmul_precision("tf32", torch.device("cuda")):
            assert switches() == ("high", True)
            raise ZeroDivisionError  # also after an error
        assert switches() == (products, False)
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


# ---------------------------------------------------------------------------------------------------------------
# Chunks and memory


def chunk_sizes(learner: MetaSGD, tasks: Task | list[Task], monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The numbers of tasks that are computed at a time."""
    sizes, sums = [], strategies.Problem.sums

    def counting(problem: strategies.Problem, chunk: Task) -> strategies.Sums:
        sizes.append(len(chunk.support_x))
        return sums(problem, chunk)

    with monkeypatch.context() as patch:
        patch.setattr(strategies.Problem, "sums", counting)
        learner.meta_backward(tasks)
    return sizes


@pytest.mark.parametrize(
    ("chunk", "sizes"), [(1, [1] * 10), (3, [3, 3, 3, 1]), (4, [4, 4, 2]), (7, [5, 5]), (10, [10]), (99, [10])]
)
def test_chunks_are_at_most_as_large_as_asked_and_nearly_equal(
    chunk: int, sizes: list[int], device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = make_learner(mlp, device, strategy="batched", chunk=chunk)
    assert chunk_sizes(learner, draw_tasks(device, sizes=[(4, 5)] * 10), monkeypatch) == sizes


def test_chunks_grow_with_the_memory_and_shrink_with_the_task(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def first_chunk(budget: int, shots: int, **options: Any) -> int:
        monkeypatch.setattr(strategies, "CPU_BUDGET", budget)
        monkeypatch.setattr(strategies, "GPU_SHARE", 1.0)
        monkeypatch.setattr(strategies, "free_memory", lambda device: budget)
        learner = make_learner(mlp, device, strategy="batched", **options)
        return chunk_sizes(learner, draw_tasks(device, sizes=[(shots, 5)] * 32), monkeypatch)[0]

    problem = strategies.Problem.of(make_learner(mlp, device), is_batch=True)
    task = strategies.OVERHEAD * strategies.saved_bytes(problem, draw_tasks(device)[0])
    # The estimate depends a little on which memory autograd happens to use again, so that no size is exact.
    assert first_chunk(0, shots=4) == 1
    assert 2 <= first_chunk(4 * task, shots=4) <= 6
    assert 10 <= first_chunk(16 * task, shots=4) < 32
    assert first_chunk(16 * task, shots=40) < 10
    assert first_chunk(16 * task, shots=4, inner_steps=3) < 10
    assert first_chunk(2**40, shots=4) == 32


@pytest.mark.parametrize("chunk", [None, 8])
def test_chunks_are_halved_when_a_gpu_runs_out_of_memory(
    chunk: int | None, device: torch.device, float64: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner = make_learner(mlp, device, strategy="batched", chunk=chunk)
    tasks = draw_tasks(device, sizes=[(4, 5)] * 8)
    expected = meta_gradient(with_options(learner, "loop"), tasks)
    sizes, sums = [], strategies.Problem.sums

    def small_gpu(problem: strategies.Problem, part: Task) -> strategies.Sums:
        sizes.append(len(part.support_x))
        if sizes[-1] > 3:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return sums(problem, part)

    monkeypatch.setattr(strategies.Problem, "sums", small_gpu)
    assert relative_error(meta_gradient(learner, tasks), expected) < EXACT
    assert sizes == [8, 4, 2, 2, 2, 2]
    meta_gradient(learner, tasks)
    assert sizes[6:] == [2, 2, 2, 2]  # remembered


@pytest.mark.parametrize("strategy", ["batched", "auto"])
def test_a_task_too_large_for_the_gpu_is_an_error(
    strategy: str, device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    def tiny_gpu(problem: strategies.Problem, part: Task) -> None:
        raise torch.cuda.OutOfMemoryError("out of memory")

    monkeypatch.setattr(strategies.Problem, "sums", tiny_gpu)
    learner = make_learner(mlp, device, strategy=strategy)
    with pytest.raises(torch.cuda.OutOfMemoryError):
        learner.meta_backward(draw_tasks(device))
    assert all(value.grad is None for value in learner.parameters())


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


def test_recomputation_holds_the_graph_of_one_step_at_a_time(device: torch.device) -> None:
    def peak(inner_steps: int, recompute: bool) -> int:
        learner = make_learner(mlp, device, strategy="threads", inner_steps=inner_steps, recompute=recompute)
        return peak_of_saved_bytes(learner, draw_tasks(device, sizes=[(50, 50)] * 2))

    assert peak(5, recompute=True) < 1.2 * peak(1, recompute=True)
    assert peak(5, recompute=False) > 3 * peak(1, recompute=False)


@FAST
def test_memory_does_not_grow_with_the_meta_batch(strategy: str, device: torch.device) -> None:
    """Nothing is left of a task, or chunk, but its sums, when the next one begins."""
    alive: weakref.WeakSet[Tensor] = weakref.WeakSet()
    most = 0

    def loss(prediction: Tensor, target: Tensor) -> Tensor:
        nonlocal most
        alive.add(prediction)
        most = max(most, len(alive))
        return F.cross_entropy(prediction, target)

    torch.set_num_threads(1)
    learner = make_learner(mlp, device, loss, strategy=strategy, chunk=1)
    learner.meta_backward(draw_tasks(device, sizes=[(4, 5)] * 40))
    assert most < 10


@EVERY
def test_a_meta_batch_of_512_tasks_runs(strategy: str, device: torch.device) -> None:
    learner = make_learner(mlp, device, strategy=strategy)
    assert learner.meta_update(batch_of(draw_tasks(device, sizes=[(2, 2)] * 512)))["loss"] > 0


# ---------------------------------------------------------------------------------------------------------------
# Threads


def in_another_thread(function: Callable[[], Any]) -> Any:
    results: list[Any] = []
    thread = threading.Thread(target=lambda: results.append(function()))
    thread.start()
    thread.join()
    return results[0]


def test_result_has_the_same_bits_for_any_number_of_threads(device: torch.device) -> None:
    learner = make_learner(small_convnet, device, strategy="threads")
    tasks = draw_tasks(device, (1, 6, 6), sizes=[(4, 5), (6, 3)] * 6)
    results = []
    for workers in (1, 2, 4, 2):
        torch.set_num_threads(workers)
        results.append(meta_gradient(learner, tasks))
    assert all(torch.equal(result, results[0]) for result in results)


def test_threads_leave_the_number_of_threads_of_others_alone(device: torch.device) -> None:
    """PyTorch takes the number that any thread sets as the number of all threads that start later."""
    torch.set_num_threads(3)  # no other test uses so many: the pool is new
    strategies.thread_pool.cache_clear()
    learner = make_learner(mlp, device, strategy="threads")
    learner.meta_backward(draw_tasks(device))
    assert torch.get_num_threads() == 3
    assert in_another_thread(torch.get_num_threads) == 3
    assert strategies.thread_pool(3).submit(torch.get_num_threads).result() == 1


def test_an_error_in_one_task_comes_out_and_leaves_nothing_behind(device: torch.device) -> None:
    def brittle(prediction: Tensor, target: Tensor) -> Tensor:
        if (target == 1).all():
            raise ArithmeticError("all labels are 1")
        return F.cross_entropy(prediction, target)

    learner = make_learner(mlp, device, brittle, strategy="threads")
    tasks = draw_tasks(device, sizes=[(8, 8)] * 9)
    bad = [*tasks[:4], tasks[4]._replace(query_y=torch.ones_like(tasks[4].query_y)), *tasks[5:]]
    with pytest.raises(ArithmeticError, match="all labels are 1"):
        learner.meta_backward(bad)
    assert all(value.grad is None for value in learner.parameters())
    expected = meta_gradient(with_options(learner, "loop"), tasks)
    assert relative_error(meta_gradient(learner, tasks), expected) < 1e-5  # float32


def test_learners_may_be_used_in_several_threads_at_once(device: torch.device, float64: None) -> None:
    learner = make_learner(mlp, device, strategy="threads")
    tasks = draw_tasks(device)
    expected = meta_gradient(learner, tasks)
    twin = copy.deepcopy(learner)
    other = threading.Thread(target=lambda: [twin.meta_backward(tasks) for _ in range(5)])
    other.start()
    results = [meta_gradient(learner, tasks) for _ in range(5)]
    other.join()
    assert all(relative_error(result, expected) < EXACT for result in [*results, meta_gradient(twin, tasks)])


FORK = """
import os, signal, torch
from torch import nn
from metasgd import MetaSGD, Task

torch.set_num_threads(2)
x = torch.linspace(-1, 1, 24).reshape(4, 6, 1)
tasks = Task(x, 2 * x, -x, -2 * x)
learner = MetaSGD(nn.Linear(1, 1), nn.functional.mse_loss, task_lr=0.1, strategy="threads")
expected = learner.meta_backward(tasks)
child = os.fork()
if child == 0:
    signal.alarm(60)  # a child that waits for threads that it does not have ends here
    os._exit(0 if torch.equal(learner.meta_backward(tasks), expected) else 1)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a process cannot fork on this system")
@pytest.mark.skipif(torch.cuda.is_available(), reason="with a GPU, PyTorch takes no derivatives in a forked process")
def test_a_forked_process_makes_threads_of_its_own() -> None:
    """In a process of its own, as forking one that has run other tests would be no fair start."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORK], check=True, timeout=120)
