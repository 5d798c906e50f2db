"""The adjoint method equals the plain loop, for every strategy, model, loss and setting.

The loop itself is held against derivatives worked by hand and against difference quotients in test_meta_gradient.py.
Chapters 9 and 10 explain the strategies.
"""

from collections.abc import Callable
from typing import NamedTuple
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from metasgd import MetaSGD, Task
from metasgd.strategies import snapshot
from metasgd.strategies.replaced_functions import (
    COMPILABLE_FUNCTIONS,
)
from tests.strategies.helpers import (
    EXACT,
    FAST,
    Apply,
    batch_of,
    draw_tasks,
    make_learner,
    meta_gradient,
    mlp,
    peak_of_saved_bytes,
    recurrent,
    relative_error,
    with_options,
)

pytestmark = pytest.mark.usefixtures("no_channel_is_small")


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
    with mock.patch.object(snapshot, "FAST_FUNCTIONS", COMPILABLE_FUNCTIONS):  # what a compiler is given
        twin = with_options(learner, "threads", recompute=case.recompute)
        assert relative_error(meta_gradient(twin, tasks), expected) < EXACT


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


def test_recomputation_holds_the_graph_of_one_step_at_a_time(device: torch.device) -> None:
    def peak(inner_steps: int, recompute: bool) -> int:
        learner = make_learner(mlp, device, strategy="threads", inner_steps=inner_steps, recompute=recompute)
        return peak_of_saved_bytes(learner, draw_tasks(device, sizes=[(50, 50)] * 2))

    assert peak(5, recompute=True) < 1.2 * peak(1, recompute=True)
    assert peak(5, recompute=False) > 3 * peak(1, recompute=False)
