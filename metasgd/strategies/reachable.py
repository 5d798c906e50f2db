"""What a function may read of Python when it is called: globals, closures, defaults, attributes, contents.

Code names what it reads. So the walk starts at a model and a loss, and follows the names in the code of their methods
to globals, to other functions, to classes and to modules, and attributes and contents to the objects in them.
Libraries (the standard one, NumPy, PyTorch) are taken as they are.
"""

from __future__ import annotations

import collections
import dis
import functools
import importlib.util
import os
import sys
import types
import weakref
from collections.abc import Hashable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

LIBRARIES = {"torch", "numpy", "metasgd", *sys.stdlib_module_names}
# Their instances are boxes for what a user puts into them.
BOXES = ("argparse", "collections", "functools", "types", "torch.nn", "torch.distributions")
PLAIN = {int, float, complex, bool, str, bytes, type(None), type(...), torch.dtype, torch.device, torch.layout}
CONTAINERS = (list, tuple, set, frozenset, dict, collections.deque, types.MappingProxyType)
MAX_OBJECTS = 20_000  # a data set in a list, say
MAX_BYTES = 2**24  # of a NumPy array whose numbers are compared
# Of a module: of the learner's model, tensors are inputs of a compiled function. Recurrent layers list theirs again.
TENSORS_OF_MODULE = ("_parameters", "_buffers", "_flat_weights", "_flat_weight_refs")
NOT_CALLED = {"__init__", "__new__", "__init_subclass__", "__class_getitem__", "__reduce__", "__deepcopy__"}
FUNCTIONS = (types.FunctionType, staticmethod, classmethod, property)
MISSING = object()


class Same:
    """A key that is equal for one and the same object alone, in the same version if it is a tensor."""

    def __init__(self, value: Any) -> None:
        self.value = value  # held, so that no other object gets its address
        self.version = version_of(value) if isinstance(value, Tensor) else 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value and self.version == other.version

    def __hash__(self) -> int:
        return hash((id(self.value), self.version))


def version_of(tensor: Tensor) -> int:
    """Return how often a tensor was written into, as far as it counts that."""
    return 0 if tensor.is_inference() else tensor._version


def is_library(name: str | None) -> bool:
    """Tell whether a module belongs to a library of which no state is watched."""
    return (name or "").partition(".")[0] in LIBRARIES


class Names:
    """The names that code mentions, in functions within it, too.

    Attributes:
        globals: the names that it reads as global variables.
        attributes: these and all others, and texts that might be names, as in ``getattr(config, "scale")``.
        imports: the modules that it imports when it is called.
    """

    def __init__(self, code: types.CodeType) -> None:
        self.globals: dict[str, None] = {}  # in order
        self.attributes: set[str] = set(code.co_names)
        self.imports: dict[str, None] = {}
        for instruction in dis.get_instructions(code):
            if instruction.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                self.globals[instruction.argval] = None
            elif instruction.opname == "IMPORT_NAME":
                self.imports[instruction.argval] = None
        for constant in code.co_consts:
            if isinstance(constant, str) and constant.isidentifier():
                self.attributes.add(constant)
            elif isinstance(constant, types.CodeType):
                inner = names_in(constant)
                self.globals |= inner.globals
                self.attributes |= inner.attributes
                self.imports |= inner.imports


names_in = functools.lru_cache(4096)(Names)


class Namespace:
    """The variables of a class or of a module.

    Args:
        variables: by name.
        always: the names of functions that may be called though no code mentions them, besides those that Python
            calls, such as ``__add__``.
        never: the names of functions that are not called.
    """

    def __init__(self, variables: Mapping[str, Any], always: set[str], never: Iterable[str] = ()) -> None:
        self.variables, self._always, self._taken = variables, always, set(never)

    def names_to_take(self, mentioned: set[str]) -> list[str]:
        """Return the names that code mentions, and those that always count, each of them once."""
        names = [
            name
            for name, value in self.variables.items()
            if name not in self._taken
            and (
                name in mentioned or (isinstance(value, FUNCTIONS) and (name in self._always or name.startswith("__")))
            )
        ]
        self._taken.update(names)
        return names


class Reachable:
    """All that a model and its losses may read, as a key, and as places that can be looked at again quickly.

    Args:
        model: its parameters and buffers do not count.
        functions: losses; what they are and hold counts, with all tensors.

    Attributes:
        parts: of the key: equal for equal numbers and texts, for the same code, and for the same tensors, unchanged.
        is_complete: whether all was looked at, of no more than ``MAX_OBJECTS`` objects.
        dicts: the attributes of objects.
        tables: other dicts.
        lists: and the like, of which each may get other contents.
        empty: dicts and lists that hold nothing.
        sized: what gets longer if something is added to it.
        mappings, keys: global variables, and attributes of classes and modules.
        owners, names: other attributes.
        tensors: that may be written into.
        arrays: of NumPy.
        objects: whose class could be another one later.
        opaque: objects of libraries, which are not looked into.
    """

    def __init__(self, model: nn.Module, functions: Iterable[Any]) -> None:
        self.parts: list[Hashable] = []
        self.is_complete = True
        self.dicts: list[dict[str, Any]] = []
        self.tables: list[dict[Any, Any]] = []
        self.lists: list[Any] = []
        self.empty: list[Any] = []
        self.sized: list[Any] = []
        self.mappings: list[Mapping[str, Any]] = []
        self.keys: list[str] = []
        self.owners: list[Any] = []
        self.names: list[str] = []
        self.tensors: list[Tensor] = []
        self.arrays: list[Any] = []
        self.objects: list[Any] = []
        self.opaque: list[Any] = []
        self._seen: dict[tuple[int, bool], int] = {}
        self._held: list[Any] = []  # so that no object gets the address of another one
        self._queue: collections.deque[tuple[Any, bool]] = collections.deque()
        self._mentioned = {"forward"}
        self._namespaces: list[Namespace] = []
        # A model is copied before it is traced, and its tensors are then exchanged. What its code reads besides, and
        # what a loss holds, is not copied.
        self._queue.append((model, True))
        self._queue.extend((function, False) for function in functions)
        while self._queue or self._take_mentioned():
            self._look_at(*self._queue.popleft())

    def _look_at(self, value: Any, is_copied: bool) -> None:
        if type(value) in PLAIN:
            self.parts.append((type(value), value))
            return
        mark = (id(value), is_copied)
        if mark in self._seen:
            self.parts.append(self._seen[mark])
            return
        if len(self._seen) >= MAX_OBJECTS:
            self.is_complete = False
            return
        self._seen[mark] = len(self._seen)
        self._held.append(value)
        if isinstance(value, Tensor):
            self.tensors.append(value)
            self.parts.append(Same(value))
        elif isinstance(value, types.FunctionType):
            self._look_at_function(value)
        elif isinstance(value, type):
            self.parts.append(Same(value))
            self._look_at_class(value, is_called=True)
        elif isinstance(value, types.ModuleType):
            self.parts.append(Same(value))
            if not is_library(value.__name__):
                self._namespaces.append(Namespace(vars(value), set()))
        else:
            self._look_at_object(value, is_copied)

    def _look_at_function(self, function: types.FunctionType) -> None:
        """Look at what a function sees: a decorated one may be a library's function around a user's."""
        is_foreign = is_library(function.__globals__.get("__name__"))
        if is_foreign and is_library(function.__module__):
            self.parts.append(Same(function))
            return
        self.parts.append(function.__code__)
        for name in ("__code__", "__defaults__", "__kwdefaults__"):
            self._watch(function, name)
        inside: list[Any] = [function.__defaults__, function.__kwdefaults__, vars(function)]
        for cell in function.__closure__ or ():
            try:
                inside.append(cell.cell_contents)
            except ValueError:  # a variable that has no value yet
                continue
            self._watch(cell, "cell_contents")
        if not is_foreign:
            names = names_in(function.__code__)
            self._mentioned |= names.attributes
            inside += self._take(function.__globals__, names.globals)
            package = function.__globals__.get("__package__") or ""
            inside += [sys.modules.get(name) or relative(name, package) for name in names.imports]
        self._queue.extend((value, False) for value in inside)

    def _look_at_class(self, kind: type, *, is_called: bool) -> None:
        """Look at a class, at its instances' methods alone if it is not called itself."""
        own = [base for base in kind.__mro__ if not is_library(base.__module__)]
        inherited = [base for base in kind.__mro__ if base not in own and base not in (object, nn.Module)]
        overridden = set().union(*map(vars, inherited)) if own else set()  # a library may call these
        for base in own:
            self.sized.append(vars(base))
            self._namespaces.append(Namespace(vars(base), overridden, set() if is_called else NOT_CALLED))

    def _look_at_object(self, value: Any, is_copied: bool) -> None:
        kind: Any = type(value)
        inside: list[Any] = []
        self.parts.append(kind)
        if isinstance(value, CONTAINERS):
            self.parts.append(len(value))
            if not isinstance(value, (tuple, frozenset)):
                kinds: list[Any] = self.tables if isinstance(value, dict) else self.lists
                (kinds if value else self.empty).append(value)
            inside += contents(value)
        elif isinstance(value, np.ndarray):
            self.parts.append(numbers_of(value))
            self.arrays.append(value)
            inside += value.reshape(-1).tolist() if value.dtype == object else []
        elif isinstance(value, bytearray):
            self.parts.append(numbers_of(value))
            self.arrays.append(value)
        elif isinstance(value, np.generic):
            self.parts.append(value.tobytes())
            return
        elif isinstance(value, functools.partial):
            inside += [value.func, value.args, value.keywords]
        elif isinstance(value, types.MethodType):
            inside += [value.__func__, value.__self__]
        elif isinstance(value, (staticmethod, classmethod)):
            inside.append(value.__func__)
        elif isinstance(value, property):
            inside.append(value.fget)
        elif isinstance(value, weakref.ref):
            inside.append(value())
        elif isinstance(value, (types.BuiltinFunctionType, types.MethodWrapperType)):
            self.parts.append(value.__name__)
            inside.append(value.__self__)
        elif is_library(kind.__module__) and not kind.__module__.startswith(BOXES):
            self.parts.append(Same(value))
            self.opaque.append(value)
            return
        if kind.__module__ not in ("builtins", "collections"):  # these have no attributes
            self.objects.append(value)
            self._look_at_class(kind, is_called=False)
            inside += self._attributes(value, is_copied)
        self._queue.extend((part, is_copied) for part in inside)

    def _attributes(self, value: Any, is_copied: bool) -> Iterator[Any]:
        """Yield the attributes of an object, and note their names."""
        attributes = getattr(value, "__dict__", None)
        if isinstance(attributes, dict):
            self.dicts.append(attributes)
            self.sized.append(attributes)
            for name, part in attributes.items():
                if not (is_copied and isinstance(value, nn.Module) and name in TENSORS_OF_MODULE):
                    self.parts.append(name)
                    yield part
        for base in type(value).__mro__:
            for name, slot in vars(base).items() if not is_library(base.__module__) else ():
                if isinstance(slot, types.MemberDescriptorType):
                    self._watch(value, name)
                    self.parts.append(name)
                    yield getattr(value, name, None)

    def _take(self, namespace: Mapping[str, Any], names: Iterable[str]) -> Iterator[Any]:
        """Yield the variables with these names, as far as there are any."""
        for name in names:
            if name in namespace:
                self.mappings.append(namespace)
                self.keys.append(name)
                self.parts.append(name)
                yield namespace[name]

    def _take_mentioned(self) -> bool:
        """Put what code mentions of the classes and modules found so far into the queue; tell whether that is new."""
        for namespace in self._namespaces:
            names = namespace.names_to_take(self._mentioned)
            self._queue.extend((value, False) for value in self._take(namespace.variables, names))
        if not self._mentioned.isdisjoint(("environ", "getenv")):
            self._mentioned -= {"environ", "getenv"}
            self._queue.append((os.environ._data, False))  # type: ignore[attr-defined]
        return bool(self._queue)

    def _watch(self, owner: Any, name: str) -> None:
        self.owners.append(owner)
        self.names.append(name)


def relative(name: str, package: str) -> types.ModuleType | None:
    """Return the module that a function of a package imports relatively, if it is imported already."""
    try:
        return sys.modules.get(importlib.util.resolve_name("." + name, package))
    except ImportError:
        return None


def contents(container: Any) -> list[Any]:
    """Return what a container contains."""
    return [*container, *container.values()] if isinstance(container, Mapping) else list(container)


def numbers_of(array: Any) -> Hashable:
    """Return what a NumPy array or a ``bytearray`` holds, if it is not too large for that."""
    if isinstance(array, bytearray):
        return bytes(array)
    if array.dtype == object or array.nbytes > MAX_BYTES:
        return Same(array)
    return array.dtype.str, array.shape, array.tobytes()
