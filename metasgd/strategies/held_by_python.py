"""What Python holds that a compiled or recorded function has taken in, so that a change of it is noticed."""

from __future__ import annotations

import functools
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


def held_by_python(learner: Learner) -> tuple[Hashable, ...]:
    """Return a key of the loss and the model: their attributes, and the variables that a function of theirs sees."""
    parts = [*entries(learner.loss_fn, 0)]
    for module in learner.model.modules():
        parts += attributes(module, 0)
    return tuple(parts)


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
    """Yield the attributes of an object."""
    for name, part in getattr(value, "__dict__", {}).items():
        if name not in NOT_ATTRIBUTES:
            yield name
            yield from entries(part, depth + 1)
