"""What a compiled function has taken in from Python is noticed when it changes, wherever Python held it."""

import collections
import enum
import functools
import os
import sys
import types
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd import MetaSGD
from metasgd.strategies import held_by_python, reachable
from metasgd.strategies.held_by_python import HeldByPython
from tests.strategies.helpers import (
    EXACT,
    FAST,
    draw_tasks,
    make_learner,
    meta_gradient,
    mlp,
    recurrent,
    relative_error,
    with_options,
)

# What code reads that is in this file.
scale = 1.0
deep = {"a": [{"b": [{"c": [{"d": 1.0}]}]}]}
numbers = np.ones(3)
mask = torch.ones(2)
config = types.ModuleType("a_users_config")
config.scale = 1.0  # type: ignore[attr-defined]
sys.modules[config.__name__] = config


class Setting:
    scale = 1.0


class Slotted:
    __slots__ = ("scale",)

    def __init__(self) -> None:
        self.scale = 1.0


@dataclass
class Options:
    scale: float = 1.0


class Kind(enum.Enum):
    ONE = 1.0
    TWO = 2.0


slotted, options, kind = Slotted(), Options(), Kind.ONE
factors = collections.deque([1.0])


def helper_of_a_helper() -> float:
    return scale


def helper() -> float:
    return helper_of_a_helper()


def by_default(x: Tensor, factor: float = 1.0, *, factors: list[float] = [1.0]) -> Tensor:  # noqa: B006
    return x * factor * factors[0]


def importing() -> float:
    import a_users_config

    return a_users_config.scale


class Net(nn.Linear):
    """A linear layer whose output ``function`` changes."""

    class_scale = 1.0

    def __init__(self, function: Callable[[Any, Tensor], Tensor]) -> None:
        super().__init__(3, 2)
        self.function = function
        self.own = Options()
        self.slotted = Slotted()
        self.numbers = np.ones(2)
        self.nested: Any = [[[[[[1.0]]]]]]
        self.partial = functools.partial(by_default, factor=1.0)

    @property
    def from_outside(self) -> float:
        return helper()

    @staticmethod
    def static() -> float:
        return scale

    def method(self) -> float:
        return self.another_method()

    def another_method(self) -> float:
        return config.scale  # type: ignore[attr-defined]

    def forward(self, x: Tensor) -> Tensor:
        return self.function(self, super().forward(x))


def set_global(name: str, value: Any) -> Callable[[Any], None]:
    def change(net: Net) -> None:
        globals()[name] = value

    return change


def deeply(net: Net) -> None:
    deep["a"][0]["b"][0]["c"][0]["d"] = 2.0


def in_place(net: Net) -> None:
    numbers[1] = 2.0


READ_AND_CHANGED = {
    "a global variable of forward": (lambda net, x: x * scale, set_global("scale", 2.0)),
    "a global variable of a helper": (lambda net, x: x * helper(), set_global("scale", 2.0)),
    "a helper itself": (lambda net, x: x * helper(), set_global("helper_of_a_helper", lambda: 3.0)),
    "within a lambda": (lambda net, x: (lambda: x * scale)(), set_global("scale", 2.0)),
    "within a comprehension": (lambda net, x: sum([part * scale for part in (x,)]), set_global("scale", 2.0)),
    "deep within containers": (lambda net, x: x * deep["a"][0]["b"][0]["c"][0]["d"], deeply),
    "a deque": (lambda net, x: x * factors[0], lambda net: factors.__setitem__(0, 2.0)),
    "a NumPy array in place": (lambda net, x: x * numbers[1], in_place),
    "a tensor in place": (lambda net, x: x * mask, lambda net: mask.mul_(2)),
    "a module's attribute": (lambda net, x: x * config.scale, lambda net: setattr(config, "scale", 2.0)),
    "a module imported on the way": (lambda net, x: x * importing(), lambda net: setattr(config, "scale", 2.0)),
    "an attribute named by a text": (
        lambda net, x: x * getattr(config, "scale"),  # noqa: B009
        lambda net: setattr(config, "scale", 2.0),
    ),
    "a class attribute": (lambda net, x: x * Setting.scale, lambda net: setattr(Setting, "scale", 2.0)),
    "a class attribute of the model": (
        lambda net, x: x * net.class_scale,
        lambda net: setattr(Net, "class_scale", 2.0),
    ),
    "a slot": (lambda net, x: x * slotted.scale, lambda net: setattr(slotted, "scale", 2.0)),
    "a slot of the model's": (lambda net, x: x * net.slotted.scale, lambda net: setattr(net.slotted, "scale", 2.0)),
    "a data class": (lambda net, x: x * options.scale, lambda net: setattr(options, "scale", 2.0)),
    "a data class of the model's": (lambda net, x: x * net.own.scale, lambda net: setattr(net.own, "scale", 2.0)),
    "a member of an enumeration": (lambda net, x: x * kind.value, set_global("kind", Kind.TWO)),
    "an array of the model's": (lambda net, x: x * net.numbers[0], lambda net: net.numbers.fill(2.0)),
    "a list of lists": (
        lambda net, x: x * net.nested[0][0][0][0][0][0],
        lambda net: net.nested[0][0][0][0][0].__setitem__(0, 2.0),
    ),
    "a default": (lambda net, x: by_default(x), lambda net: setattr(by_default, "__defaults__", (2.0,))),
    "a default's contents": (
        lambda net, x: by_default(x),
        lambda net: by_default.__kwdefaults__["factors"].__setitem__(0, 2.0),
    ),
    "a partial function": (
        lambda net, x: net.partial(x),
        lambda net: net.partial.keywords.__setitem__("factor", 2.0),
    ),
    "what a property reads": (lambda net, x: x * net.from_outside, set_global("scale", 2.0)),
    "what a static method reads": (lambda net, x: x * net.static(), set_global("scale", 2.0)),
    "what a method of a method reads": (
        lambda net, x: x * net.method(),
        lambda net: setattr(config, "scale", 2.0),
    ),
    "an environment variable": (
        lambda net, x: x * float(os.environ["A_USERS_SCALE"]),
        lambda net: os.environ.__setitem__("A_USERS_SCALE", "2"),
    ),
    "forward itself": (lambda net, x: x, lambda net: setattr(Net, "forward", lambda net, x: 2 * F.relu(x))),
    "the code of a function": (
        lambda net, x: x * helper(),
        lambda net: setattr(helper, "__code__", (lambda: 2.0).__code__),
    ),
    "a hook": (lambda net, x: x, lambda net: net.register_forward_hook(lambda module, given, output: 2 * output)),
    "the class of the model": (lambda net, x: x, lambda net: setattr(net, "__class__", Doubled)),
    "PyTorch's dtype": (lambda net, x: x + torch.ones(1), lambda net: torch.set_default_dtype(torch.float64)),
}


class Doubled(Net):
    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


@pytest.fixture
def everything_is_put_back(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Undo what the changes of this file do."""
    for name in ("scale", "kind", "helper_of_a_helper"):
        monkeypatch.setitem(globals(), name, globals()[name])
    for owner, name in [
        (config, "scale"),
        (Setting, "scale"),
        (Net, "class_scale"),
        (Net, "forward"),
        (slotted, "scale"),
        (options, "scale"),
        (by_default, "__defaults__"),
        (helper, "__code__"),
    ]:
        monkeypatch.setattr(owner, name, getattr(owner, name))
    monkeypatch.setitem(deep["a"][0]["b"][0]["c"][0], "d", 1.0)  # type: ignore[index]
    monkeypatch.setenv("A_USERS_SCALE", "1")
    before = torch.get_default_dtype()
    yield
    numbers.fill(1.0)
    mask.fill_(1.0)
    factors[0] = by_default.__kwdefaults__["factors"][0] = 1.0
    torch.set_default_dtype(before)


@pytest.mark.usefixtures("everything_is_put_back")
@pytest.mark.parametrize(("function", "change"), READ_AND_CHANGED.values(), ids=list(READ_AND_CHANGED))
def test_what_a_model_reads_is_noticed_when_it_changes(
    function: Callable[[Net, Tensor], Tensor], change: Callable[[Net], None]
) -> None:
    """The change shows in what the model does, so that it must show in the key, and nothing else may."""
    learner = MetaSGD(Net(function))
    net, held, x = learner.model, HeldByPython(), torch.randn(2, 3)
    key, output = held.key(learner), learner.predict(x)
    assert held.key(learner) is not None
    assert held.key(learner) == key
    assert hash(held.key(learner)) == hash(key)
    assert HeldByPython().key(learner) == key  # what was found out anew is the same
    change(net)  # type: ignore[arg-type]
    changed = held.key(learner)
    assert changed is not None
    assert changed != key
    assert held.key(learner) == changed
    assert HeldByPython().key(learner) == changed
    if torch.get_default_dtype() == torch.float32:
        assert not torch.equal(learner.predict(x), output)


class LossWithAll:
    """A loss that reads in every way at once."""

    factor = 1.0

    def __init__(self) -> None:
        self.inner = Slotted()

    def __call__(self, prediction: Tensor, y: Tensor) -> Tensor:
        return self.factor * self.inner.scale * helper() * F.cross_entropy(prediction, y)


@pytest.mark.usefixtures("everything_is_put_back", "float64", "traced")
@FAST
def test_a_compiled_step_follows_what_its_code_reads(strategy: str, device: torch.device) -> None:
    global scale
    learner = make_learner(lambda: Net(lambda net, x: x * net.method()), device, LossWithAll(), strategy=strategy)
    learner.execution.compile = True
    tasks = draw_tasks(device)

    def assert_right() -> None:
        expected = meta_gradient(with_options(learner, "loop"), tasks)
        assert relative_error(meta_gradient(learner, tasks), expected) < EXACT

    assert_right()
    config.scale = 0.7  # type: ignore[attr-defined]
    assert_right()
    learner.loss_fn.inner.scale = 0.4
    assert_right()
    scale = 0.2
    assert_right()
    assert len(learner.execution.compiled._functions) == 4
    scale = 1.0
    learner.loss_fn.inner.scale = 1.0
    config.scale = 1.0  # type: ignore[attr-defined]
    assert_right()
    assert len(learner.execution.compiled._functions) == 4  # the first one again


def test_the_same_loss_made_anew_is_the_same() -> None:
    """A notebook's cell that defines a loss may run twice, which is worth no compilation."""

    def loss(factor: float) -> Any:
        return lambda prediction, y: factor * F.cross_entropy(prediction, y)

    learner = MetaSGD(mlp(), loss(1.5))
    key = learner.execution.held.key(learner)
    learner.loss_fn = loss(1.5)
    assert learner.execution.held.key(learner) == key
    learner.loss_fn = loss(2.5)
    assert learner.execution.held.key(learner) != key


def test_what_no_code_reads_does_not_count() -> None:
    """Notebooks are full of global variables, and models have methods that train or plot."""
    learner = MetaSGD(Net(lambda net, x: x * helper()))
    key = learner.execution.held.key(learner)
    config.epoch = 3  # type: ignore[attr-defined]
    globals()["something_else"] = 1
    Net.another_class_attribute = 1  # type: ignore[attr-defined]
    try:
        assert learner.execution.held.key(learner) == key
    finally:
        del config.epoch, globals()["something_else"], Net.another_class_attribute  # type: ignore[attr-defined]


@pytest.mark.usefixtures("traced")
def test_what_changes_in_every_step_is_computed_uncompiled(
    device: torch.device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compilation takes a minute; a model that counts something would never be done."""
    monkeypatch.setattr(held_by_python, "MAX_KEYS", 2)
    learner = make_learner(mlp, device, LossWithAll(), strategy="batched", compile=True)
    tasks = draw_tasks(device)

    def assert_right(factor: float) -> None:
        learner.loss_fn.factor = factor
        expected = meta_gradient(with_options(learner, "loop"), tasks)
        assert relative_error(meta_gradient(learner, tasks), expected) < 1e-4

    assert_right(1.0)
    assert_right(2.0)
    with pytest.warns(RuntimeWarning, match="has changed 2 times, at last 'factor'; make it"):
        assert_right(3.0)
    assert_right(4.0)  # without another warning
    assert len(learner.execution.compiled._functions) == 2
    assert_right(1.0)
    assert learner.execution.held.key(learner) is not None  # what is compiled already is still used


def test_a_loss_that_holds_a_data_set_is_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reachable, "MAX_OBJECTS", 100)
    loss = LossWithAll()
    loss.data = [[number] for number in range(200)]  # type: ignore[attr-defined]
    learner = MetaSGD(mlp(), loss)
    with pytest.warns(RuntimeWarning, match="more than .* objects, and changes are noticed in the first of them only"):
        learner.execution.held.key(learner)


def test_what_refers_to_itself_is_looked_at_once() -> None:
    model = mlp()
    model.parent = [model]  # type: ignore[assignment]
    model.weak = weakref.ref(model[0])  # type: ignore[assignment]

    def loss(prediction: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(prediction, y) if loss else prediction

    held = HeldByPython()
    learner = MetaSGD(mlp(), loss)
    learner.model = model
    assert held.key(learner) == held.key(learner)


def test_a_step_of_the_outer_optimiser_changes_nothing(device: torch.device) -> None:
    """Parameters are inputs of a compiled function."""
    learner = make_learner(mlp, device, strategy="batched")
    key = learner.execution.held.key(learner)
    learner.meta_update(draw_tasks(device))
    assert learner.execution.held.key(learner) == key


def test_a_recurrent_layer_lists_its_weights_a_second_time(device: torch.device) -> None:
    learner = make_learner(lambda: recurrent(nn.LSTM), device, strategy="threads")
    key = learner.execution.held.key(learner)
    assert key is not None  # a warning that nothing is compiled would be an error here
    learner.meta_update(draw_tasks(device, (3, 4)))
    assert learner.execution.held.key(learner) == key


def test_a_loss_that_holds_parameters_of_the_model_is_not_compiled(device: torch.device) -> None:
    """Fused optimisers, PyTorch's Adam among them, do not count how often they write into a tensor."""
    learner = make_learner(mlp, device)
    first = learner.model[0]  # type: ignore[index]
    learner.loss_fn = lambda prediction, y: F.cross_entropy(prediction, y) + first.weight.square().sum()
    with pytest.warns(RuntimeWarning, match="uncompiled, as the loss, or a function that the model calls, holds"):
        assert learner.execution.held.key(learner) is None
    assert learner.execution.held.key(learner) is None  # without another warning


def exchange_a_layer(model: Any) -> None:
    model[1] = nn.Sigmoid()


CHANGES = {
    "an attribute is new": lambda model: setattr(model, "extra", 1.5),
    "a number has another type": lambda model: setattr(model, "number", 1.0),
    "evaluation mode": lambda model: model.eval(),
    "a layer is exchanged": exchange_a_layer,
    "an empty list is filled": lambda model: model.seen.append(1),
    "a full list gets more": lambda model: model.sizes.append(1),
    "a list holds something else": lambda model: model.sizes.__setitem__(0, 5),
    "a dict has another name": lambda model: model.table.update(other=model.table.pop("one")),
    "a set holds something else": lambda model: model.chosen.symmetric_difference_update({1, 2}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_what_a_model_holds_is_the_same_until_it_changes(change: Callable[[nn.Module], None]) -> None:
    learner = make_learner(mlp, torch.device("cpu"), nn.CrossEntropyLoss())
    model: Any = learner.model
    model.number, model.seen, model.sizes, model.table, model.chosen = 1, [], [0], {"one": 1}, {1}
    held = HeldByPython()
    key = held.key(learner)
    assert held.key(learner) == key
    assert hash(held.key(learner)) == hash(key)
    change(learner.model)
    changed = held.key(learner)
    assert changed != key
    assert held.key(learner) == changed
    assert HeldByPython().key(learner) == changed
