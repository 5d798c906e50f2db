"""What Python holds that a compiled or recorded function has taken in, so that a change of it is noticed."""

from __future__ import annotations

import functools
import itertools
import operator
import types
from collections.abc import Hashable, Iterator
from typing import Any

from torch import Tensor, nn

from metasgd._core.learner import Learner

MAX_DEPTH = 4  # of objects within objects
PLAIN = (int, float, complex, str, bytes, type(None))
# Of a module: tensors are inputs of a compiled function, and modules within it are looked at by themselves.
NOT_ATTRIBUTES = {"_parameters", "_buffers", "_modules"}


class Same:
    """A key that is equal for one and the same object alone, in the same version if it is a tensor."""

    def __init__(self, value: Any) -> None:
        self.value = value  # held, so that no other object gets its address
        self.version = value._version if isinstance(value, Tensor) and not value.is_inference() else 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value and self.version == other.version

    def __hash__(self) -> int:
        return hash((id(self.value), self.version))


class Parts:
    """A key of many parts, whose hash is worked out once."""

    def __init__(self, parts: tuple[Hashable, ...]) -> None:
        self.parts = parts
        self.hash = hash(parts)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Parts) and self.hash == other.hash and self.parts == other.parts)

    def __hash__(self) -> int:
        return self.hash


class HeldByPython:
    """The key of what Python holds for a learner; that of its model is kept while nothing in the model is exchanged.

    To look at every attribute takes a good part of the meta-step of a small network. Most models hold nothing that can
    change without being exchanged: numbers, texts, and lists and dicts that are empty. Of these, it is enough to see
    that every attribute of every module is still the same object, and that what was empty still is. A copy of the
    object starts anew.
    """

    def __init__(self) -> None:
        self._loss: Same | None = None  # None: a loss that must be looked at every time
        self._model: nn.Module | None = None
        self._key: Parts | None = None  # None: of a model that must be looked at every time
        self._dicts: list[dict[str, Any]] = []  # the attributes of each module, and the modules in it
        self._sizes: list[int] = []
        self._values: list[Any] = []  # of all these dicts
        self._empty: list[Any] = []

    def __reduce__(self) -> tuple[Any, ...]:
        return HeldByPython, ()

    def key(self, learner: Learner) -> tuple[Hashable, ...]:
        """Return a key of the loss and the model: their attributes, and the variables that a function of theirs sees.

        Args:
            learner: always the same one.
        """
        loss_fn = learner.loss_fn
        if self._loss is None or self._loss.value is not loss_fn:
            self._loss = Same(loss_fn) if is_of_pytorch(loss_fn) else None
        loss = [self._loss] if self._loss is not None else entries(loss_fn, 0)
        return (*loss, self.key_of(learner.model))

    def key_of(self, model: nn.Module) -> Parts:
        """Return the key of a model."""
        if self._key is not None and model is self._model and self._is_unchanged():
            return self._key
        modules = list(model.modules())
        key = Parts(tuple(part for module in modules for part in attributes(module, 0)))
        held = [value for module in modules for name, value in vars(module).items() if name not in NOT_ATTRIBUTES]
        self._model, self._key = model, key if all(map(is_fixed, held)) else None
        self._dicts = [part for module in modules for part in (vars(module), module._modules)]
        self._sizes = list(map(len, self._dicts))
        self._values = [value for part in self._dicts for value in part.values()]
        self._empty = [value for value in held if is_container(value)]
        return key

    def _is_unchanged(self) -> bool:
        values = itertools.chain.from_iterable(map(dict.values, self._dicts))
        return (
            not any(self._empty)
            and list(map(len, self._dicts)) == self._sizes
            and all(map(operator.is_, values, self._values))
        )


def is_of_pytorch(value: Any) -> bool:
    """Return whether a value is a function of PyTorch, which sees nothing that changes."""
    return isinstance(value, types.FunctionType) and (value.__module__ or "").startswith("torch.")


def is_container(value: Any) -> bool:
    """Return whether a value may get other contents and still be the same object."""
    return isinstance(value, (list, set, dict))


def is_fixed(value: Any) -> bool:
    """Return whether a value cannot change, or is empty."""
    if is_container(value):
        return not value
    if isinstance(value, tuple):
        return all(isinstance(part, PLAIN) for part in value)
    return isinstance(value, (*PLAIN, type, types.BuiltinFunctionType))


def entries(value: Any, depth: int) -> Iterator[Hashable]:
    """Yield what an object is, and what it holds."""
    if isinstance(value, PLAIN):
        yield type(value), value
        return
    if isinstance(value, (list, tuple, set, frozenset, dict)) and depth < MAX_DEPTH:
        yield type(value), len(value)
        for part in (*value, *value.values()) if isinstance(value, dict) else value:
            yield from entries(part, depth + 1)
        return
    if not isinstance(value, types.MethodType):  # a new object at each access
        yield Same(value)
    if depth >= MAX_DEPTH:
        return
    if isinstance(value, types.FunctionType):
        if is_of_pytorch(value):
            return
        names = [name for name in value.__code__.co_names if name in value.__globals__]
        cells = [cell.cell_contents for cell in value.__closure__ or () if cell.cell_contents is not value]
        found = [value.__globals__[name] for name in names]
        plain = [part for part in found if isinstance(part, (*PLAIN, Tensor, list, tuple, dict))]
        for part in (*cells, *(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values(), *plain):
            yield from entries(part, depth + 1)
    elif isinstance(value, types.MethodType):
        yield from entries(value.__func__, depth + 1)
        yield from entries(value.__self__, depth + 1)
    elif isinstance(value, functools.partial):
        yield from entries((value.func, value.args, value.keywords), depth + 1)
    elif isinstance(value, nn.Module):
        for module in value.modules():
            yield from attributes(module, depth)
            yield from (Same(tensor) for tensor in (*module._parameters.values(), *module._buffers.values()))
    elif not isinstance(value, (type, types.ModuleType, types.BuiltinFunctionType, Tensor)):
        yield from attributes(value, depth)


def attributes(value: Any, depth: int) -> Iterator[Hashable]:
    """Yield the type of an object, its attributes, and, of a module, the names of those in it."""
    kind: Any = type(value)
    yield kind
    if isinstance(value, nn.Module):
        yield tuple(value._modules)
    for name, part in getattr(value, "__dict__", {}).items():
        if name not in NOT_ATTRIBUTES:
            yield name
            yield from entries(part, depth + 1)
