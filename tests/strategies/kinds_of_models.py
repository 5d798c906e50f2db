"""Kinds of models, and what each strategy does with them: the table among the questions of the book.

``python -m tests.strategies.kinds_of_models`` writes the table into ``book/faq.md`` anew; its test compares the two.
"""

import copy
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils.checkpoint import checkpoint

from metasgd import MetaSGD, Task
from metasgd.models import freeze_running_statistics, without_running_statistics
from metasgd.strategies.dispatch import strategy_of
from tests.strategies.helpers import Apply, draw_tasks, make_learner, meta_gradient, recurrent, relative_error

PAGE = Path(__file__).parents[2] / "book" / "faq.md"
BEGIN, END = "% The table of models begins here.\n", "% The table of models ends here.\n"
CPU = torch.device("cpu")
WAYS = ("loop", "threads", "batched", "compile", "auto")
EXACT, SLOPE = 1e-9, 1e-5  # relative errors that are allowed: of two exact ways, and of a difference quotient
LOOP = "the loop is not compiled"
EXACTLY, RUNS, REFUSED, UNCOMPILED = "exact", "runs", "refused", "not compiled"


class Kind(NamedTuple):
    """A kind of model.

    Attributes:
        name: what the table calls it.
        build: makes the model.
        shape: of one input.
        note: what the table says about it: why something is refused, or what to know.
        refusal: a regular expression that the message of every refusal fits.
        inputs: makes the inputs from normal numbers.
        loss: of predictions and labels.
        exact_to: the relative error that counts as exact; None: the model draws random numbers, so that there is
            nothing to compare.
        has_slope: whether difference quotients have the gradient for their limit. Where PyTorch leaves something out
            of a gradient on purpose, they have not.
    """

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...] = (3,)
    note: str = ""
    refusal: str = "$^"
    inputs: Callable[[Tensor], Any] = lambda x: x
    loss: Callable[[Any, Tensor], Tensor] = F.cross_entropy
    exact_to: float | None = EXACT
    has_slope: bool = True


def dense(*middle: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(3, 4), *middle, nn.Tanh(), nn.Linear(4, 2))


def image_net(*middle: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Conv2d(1, 4, 3), *middle, nn.MaxPool2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(16, 2))


def with_head(function: Callable[[Any, Tensor], Tensor], features: int = 4, **modules: nn.Module) -> nn.Module:
    """``head(function(model, x))``."""
    return Apply(lambda m, x: m.head(function(m, x)), head=nn.Linear(features, 2), **modules)


def batch_norm_net(change: Callable[[nn.Module], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: change(image_net(nn.BatchNorm2d(4)))


def tokens(x: Tensor) -> Tensor:
    return (x.abs() * 5).long() % 7


def sentences(**options: Any) -> nn.Module:
    return with_head(lambda m, x: m.embedding(x).tanh().mean(1), embedding=nn.Embedding(7, 4, **options))


def pruned() -> nn.Module:
    model = dense()
    prune.l1_unstructured(model[0], "weight", 0.3)
    return model


def with_weight_norm() -> nn.Module:
    model = dense()
    parametrizations.weight_norm(model[0])
    return model


def with_spectral_norm(training: bool) -> Callable[[], nn.Module]:
    def build() -> nn.Module:
        model = dense()
        parametrizations.spectral_norm(model[0])
        return model.train(training)

    return build


class Symmetric(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.triu() + x.triu(1).mT


def with_symmetric_weight() -> nn.Module:
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2))
    parametrize.register_parametrization(model[0], "weight", Symmetric())
    return model


def tied() -> nn.Module:
    """The weight of the first layer is that of the second, too."""
    model = nn.Sequential(nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 3), nn.Tanh(), nn.Linear(3, 2))
    model[2].weight = model[0].weight
    return model


class TwoNames(nn.Module):
    """A body and a head that are modules themselves, and parts of a third one, too."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(nn.Linear(3, 4), nn.Tanh()), nn.Linear(4, 2)
        self.net = nn.Sequential(self.body, self.head)

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


class Complex(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3, 2, dtype=torch.complex128))

    def forward(self, x: Tensor) -> Tensor:
        return (x.to(torch.complex128) @ self.weight).sin().abs()


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = dense()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return self.net(x)


class Keeping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(3, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        self.features = self.body(x).tanh()
        return self.head(self.features)


class Squared(torch.autograd.Function):
    """The square, by a function of one's own that vmap knows nothing of."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return 2 * x * gradient


def hooked() -> nn.Module:
    model = dense()
    model[0].weight.register_hook(lambda gradient: gradient * 1.0)
    return model


def frozen_backbone() -> nn.Module:
    model = dense()
    model[0].requires_grad_(False)
    return model


def with_unused_layer() -> nn.Module:
    return Apply(lambda m, x: m.net(x), net=dense(), unused=nn.Linear(2, 2))


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
    return with_head(lambda m, x: m.layer(x).mean(1), layer=layer)


def branching() -> nn.Module:
    return Apply(lambda m, x: m.net(x if x.sum() > 0 else -x), net=dense())


def checkpointed() -> nn.Module:
    return with_head(lambda m, x: checkpoint(m.body, x, use_reentrant=False).tanh(), body=nn.Linear(3, 4))


class WithHidden(NamedTuple):
    logits: Tensor
    hidden: Tensor


def two_outputs(result: Callable[[Tensor, Tensor], Any]) -> Callable[[], nn.Module]:
    def forward(m: Any, x: Tensor) -> Any:
        hidden = m.body(x).tanh()
        return result(m.head(hidden), hidden)

    return lambda: Apply(forward, body=nn.Linear(3, 4), head=nn.Linear(4, 2))


def loss_of_two(logits: Tensor, hidden: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(logits, y) + 0.1 * hidden.square().mean()


KINDS = [
    Kind("layers one after the other", dense),
    Kind("convolutions, pooling", image_net, (1, 7, 7)),
    Kind("batch norm by the batch, `track_running_stats=False`",
         batch_norm_net(without_running_statistics), (1, 7, 7)),
    Kind("batch norm with frozen statistics, `freeze_running_statistics`",
         batch_norm_net(freeze_running_statistics), (1, 7, 7)),
    Kind("batch norm that collects statistics", batch_norm_net(lambda model: model), (1, 7, 7),
         "use one of the two above", "keeps running statistics, which every task would overwrite"),
    Kind("layer, group and instance norm",
         lambda: image_net(nn.GroupNorm(2, 4), nn.InstanceNorm2d(4, affine=True), nn.LayerNorm([4, 5, 5])), (1, 7, 7)),
    Kind("1D, 3D and transposed convolutions",
         lambda: nn.Sequential(nn.Conv1d(1, 2, 3), nn.ConvTranspose1d(2, 2, 2), nn.Tanh(), nn.Unflatten(2, (1, 2, 2)),
                               nn.Conv3d(2, 2, 1), nn.Flatten(), nn.Linear(8, 2)), (1, 5)),
    Kind("weight norm (`nn.utils.parametrizations`)", with_weight_norm),
    Kind("weight norm (`nn.utils.weight_norm`)", lambda: legacy_weight_norm(dense())),
    Kind("spectral norm in training mode", with_spectral_norm(True), (3,),
         "every call changes its buffers", "changes its buffer", has_slope=False),
    Kind("spectral norm in evaluation mode", with_spectral_norm(False)),
    Kind("a parametrization of one's own", with_symmetric_weight),
    Kind("pruned layers (`nn.utils.prune`)", pruned),
    Kind("dropout in training mode", lambda: dense(nn.Dropout(0.3)), exact_to=None,
         note="draws random numbers, in another order by each strategy"),
    Kind("dropout in evaluation mode", lambda: dense(nn.Dropout(0.3)).eval()),
    Kind("LSTM", lambda: recurrent(nn.LSTM), (5, 4)),
    Kind("GRU", lambda: recurrent(nn.GRU), (5, 4)),
    Kind("transformer encoder", transformer, (3, 4)),
    Kind("embedding", sentences, (5,), inputs=tokens),
    Kind("embedding, `padding_idx=`", lambda: sentences(padding_idx=1), (5,), inputs=tokens, has_slope=False),
    Kind("embedding, `scale_grad_by_freq=True`", lambda: sentences(scale_grad_by_freq=True), (5,),
         "`vmap` would count the words of all tasks together", "scale_grad_by_freq", tokens, has_slope=False),
    Kind("tied weights", tied),
    Kind("a module under two names", TwoNames),
    Kind("a layer that plays no part", with_unused_layer),
    Kind("a frozen backbone, `requires_grad_(False)`", frozen_backbone),
    Kind("complex parameters", Complex),
    Kind("hooks on parameters", hooked, (3,), "only the loop's autograd calls them", "has a hook"),
    Kind("`if x.sum() > 0:`", branching, (3,),
         "a batch of tasks cannot branch by task, and a compiled step not by value",
         "data-dependent control flow|\\.item\\(\\)"),
    Kind("writes into its input", lambda: Apply(lambda m, x: m.net(x.mul_(1.5)), net=dense())),
    Kind("keeps an activation, `self.features = ...`", Keeping),
    Kind("changes a buffer with every call", Counting, (3,), "tasks must come one after the other",
         "changes its buffer"),
    Kind("`nn.Hardsigmoid`, `nn.Hardswish`, as in MobileNet", lambda: dense(nn.Hardsigmoid(), nn.Hardswish())),
    Kind("a loss of which PyTorch has no second derivative, `nn.MultiMarginLoss`", dense, (3,),
         "`first_order=True` does without", "no second derivative of .* use first_order=True",
         loss=nn.MultiMarginLoss()),
    Kind("`torch.utils.checkpoint`", checkpointed, (3,), "`torch.func` does not know its hooks",
         "saved tensor hooks|_NoopSaveInputs"),
    Kind("`torch.autograd.Function` without `vmap`", lambda: with_head(lambda m, x: Squared.apply(m.body(x)),
         body=nn.Linear(3, 4)), (3,), "see PyTorch on extending `torch.func`", "setup_context|generate_vmap_rule"),
    Kind("inputs that are a dict", lambda: Apply(lambda m, x: m.net(x["a"] + x["b"]), net=dense()),
         inputs=lambda x: {"a": x, "b": x.cos()}),
    Kind("inputs that are a tuple", lambda: Apply(lambda m, x: m.net(x[0] + x[1]), net=dense()),
         inputs=lambda x: (x, x.cos())),
    Kind("outputs that are a tuple", two_outputs(lambda logits, hidden: (logits, hidden)),
         loss=lambda outputs, y: loss_of_two(*outputs, y)),
    Kind("outputs that are a dict", two_outputs(lambda logits, hidden: {"logits": logits, "hidden": hidden}),
         loss=lambda outputs, y: loss_of_two(outputs["logits"], outputs["hidden"], y)),
    Kind("outputs that are a named tuple", two_outputs(WithHidden),
         loss=lambda outputs, y: loss_of_two(outputs.logits, outputs.hidden, y)),
    Kind("bfloat16 parameters", lambda: dense().bfloat16(), inputs=Tensor.bfloat16, exact_to=0.05,
         note="exact to the digits of the dtype"),
    Kind("float16 parameters", lambda: dense().half(), inputs=Tensor.half, exact_to=0.01,
         note="exact to the digits of the dtype"),
]  # fmt: skip


def legacy_weight_norm(model: Any) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        nn.utils.weight_norm(model[0])
    return model


# ---------------------------------------------------------------------------------------------------------------
# What each strategy does


def tasks_for(kind: Kind) -> list[Task]:
    tasks = draw_tasks(CPU, kind.shape, sizes=[(4, 5)] * 3)
    return [Task(kind.inputs(t.support_x), t.support_y, kind.inputs(t.query_x), t.query_y) for t in tasks]


def learner_for(kind: Kind, way: str) -> MetaSGD:
    options = {"auto": {"strategy": "auto"}, "compile": {"strategy": "auto", "compile": True}}
    rates = (0.05, 0.3)
    if kind.build is Complex:
        rates = {"weight": 0.1 * torch.ones(3, 2, dtype=torch.complex128)}
    return make_learner(kind.build, CPU, kind.loss, task_lr=rates, **options.get(way, {"strategy": way}))


def loss_by_hand(kind: Kind, learner: MetaSGD, theta: list[Tensor], alpha: list[Tensor]) -> float:
    """The meta-loss, by a model that takes each step in place: no second derivative, and nothing of the package."""
    tasks, total, model = tasks_for(kind), 0.0, kind.build()
    model.load_state_dict(learner.model.state_dict())
    params = list(model.parameters())
    for task in tasks:
        for param, value in zip(params, theta, strict=True):
            param.data.copy_(value)
        loss = kind.loss(model(task.support_x), task.support_y)
        adapting = [param for param in params if param.requires_grad]
        gradients = iter(torch.autograd.grad(loss, adapting, materialize_grads=True))
        for param, rate in zip(params, alpha, strict=True):
            if param.requires_grad:
                param.data.sub_(rate * next(gradients))
        total += kind.loss(model(task.query_x), task.query_y).item() / len(tasks)
    return total


def loop_is_right(kind: Kind) -> bool:
    """Whether the loop's loss and its slope in a random direction are those of losses and differences by hand."""
    learner = learner_for(kind, "loop")
    start = list(learner.theta.values())
    rates = [learner.alpha.get(name, torch.zeros_like(value).detach()) for name, value in learner.theta.items()]
    theta, alpha = ([value.detach().clone() for value in values] for values in (start, rates))
    expected = loss_by_hand(kind, learner, theta, alpha)
    loss = learner.meta_backward(tasks_for(kind)).item()
    generator = torch.Generator().manual_seed(1)
    slope, shifted = 0.0, []
    for variable, own in zip((*start, *rates), (*theta, *alpha), strict=True):
        direction = torch.randn(own.shape, generator=generator).to(own.dtype) * variable.requires_grad
        if variable.requires_grad:
            slope += (variable.grad.conj() * direction).sum().real.item()
        shifted.append((own, direction))
    step, losses = 1e-5, []
    for sign in (1, -1):
        moved = [own + sign * step * direction for own, direction in shifted]
        losses.append(loss_by_hand(kind, learner, moved[: len(theta)], moved[len(theta) :]))
    difference = (losses[0] - losses[1]) / (2 * step)
    is_slope = abs(slope - difference) <= SLOPE * max(1, abs(difference))
    return abs(loss - expected) <= EXACT * abs(expected) and (is_slope or not kind.has_slope)


def as_real(values: Tensor) -> Tensor:
    return torch.view_as_real(values.resolve_conj()).flatten() if values.is_complex() else values


@contextmanager
def traced_only() -> Iterator[None]:
    """Leave out the compiler, which takes a minute for each model: the graph that it would get computes as it is."""
    with mock.patch("torch._inductor.compile", lambda graph, inputs, options: graph):
        yield


class Finding(NamedTuple):
    """What one way did with one kind of model: a word for the table, and the message of a refusal."""

    word: str
    message: str = ""


def try_out(kind: Kind, way: str) -> Finding:
    """Take a meta-gradient of a kind of model in one way, and predictions, and say what came of it."""
    tasks = tasks_for(kind)
    try:
        with warnings.catch_warnings(record=True) as caught, traced_only():
            warnings.simplefilter("always")
            learner = learner_for(kind, way)
            value = meta_gradient(learner, copy.deepcopy(tasks))
            learner.predict_tasks(copy.deepcopy(tasks))
    except (ValueError, RuntimeError, NotImplementedError, TypeError, AttributeError, KeyError) as error:
        return Finding(REFUSED, f"{type(error).__name__}: {error}")
    reasons = [LOOP] if strategy_of(learner) == "loop" else []
    reasons += [str(warning.message) for warning in caught if "runs uncompiled" in str(warning.message)]
    if kind.exact_to is None:
        assert value.nan_to_num().isfinite().all()
        word = RUNS
    elif way == "loop":
        is_right = kind.exact_to > EXACT or loop_is_right(kind)
        word = EXACTLY if is_right else "WRONG"
    else:
        expected = meta_gradient(learner_for(kind, "loop"), copy.deepcopy(tasks))
        error = relative_error(as_real(value), as_real(expected))
        word = EXACTLY if error < kind.exact_to else f"WRONG by {error:.1e}"
    if way == "compile" and word in (EXACTLY, RUNS) and not any(learner.execution.compiled._functions.values()):
        return Finding(UNCOMPILED, reasons[0])
    return Finding(f"{word}, `{strategy_of(learner)}`" if way == "auto" else word)


@contextmanager
def in_float64() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


def findings(kind: Kind) -> dict[str, Finding]:
    """What each way did with a kind of model."""
    with in_float64():
        return {way: try_out(kind, way) for way in WAYS}


# ---------------------------------------------------------------------------------------------------------------
# The table


def row(kind: Kind, found: dict[str, Finding]) -> str:
    return f"| {kind.name} | " + " | ".join(found[way].word for way in WAYS) + f" | {kind.note} |"


def header() -> list[str]:
    return [
        "| model | `loop` | `threads` | `batched` | `compile=True` | `auto` takes | |",
        "|---|---|---|---|---|---|---|",
    ]


def committed_rows() -> list[str]:
    """The rows of the table on the page."""
    table = PAGE.read_text(encoding="utf-8").split(BEGIN)[1].split(END)[0]
    return [line for line in table.strip().splitlines() if line][2:]


def main() -> None:
    rows = []
    for kind in KINDS:
        found = findings(kind)
        rows.append(row(kind, found))
        print(rows[-1])
        for way, finding in found.items():
            if finding.message:
                print(f"    {way}: {finding.message.splitlines()[0][:200]}")
    text = PAGE.read_text(encoding="utf-8")
    table = BEGIN + "\n" + "\n".join([*header(), *rows]) + "\n\n" + END
    PAGE.write_text(re.sub(f"{BEGIN}.*{END}", lambda _: table, text, flags=re.DOTALL), encoding="utf-8")


if __name__ == "__main__":
    main()
