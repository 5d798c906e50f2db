"""What Python holds that a compiled or recorded function has taken in, so that a change of it is noticed.

A compiled function knows nothing of Python: it was traced once, and whatever Python decided then is decided. So what
the model and the loss can read belongs to its key. ``metasgd.strategies.reachable`` finds it, by the names in their
code. That takes long, but to see that all of it is still the same takes a few microseconds.

Some things cannot be noticed: the time, random numbers of Python and NumPy, and files; a name that is made up while
the code runs (``getattr(config, "sc" + "ale")``); the state of objects that libraries write in C; what a fused
optimiser does to a tensor that is not the learner's.
"""

from __future__ import annotations

import itertools
import operator
import warnings
from collections.abc import Hashable, Iterator
from typing import Any

import torch
from torch import nn

from metasgd._core.learner import Learner
from metasgd.strategies.reachable import MAX_OBJECTS, MISSING, Reachable, contents, numbers_of, version_of

MAX_KEYS = 8  # of which each is compiled, for a minute; PyTorch's own compiler has the same limit


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
    """The key of what Python holds for a learner, kept while all of that stays the same. A copy starts anew."""

    def __init__(self) -> None:
        self._model: nn.Module | None = None
        self._losses: tuple[Any, ...] = ()
        self._found: Found | None = None
        self._keys: set[Parts] = set()
        self._has_warned = False

    def __reduce__(self) -> tuple[Any, ...]:
        return HeldByPython, ()

    def key(self, learner: Learner) -> tuple[Hashable, ...] | None:
        """Return a key of all that the model and the loss can read besides parameters, buffers and their arguments.

        Args:
            learner: always the same one.

        Returns:
            None, with a warning at the first time, if compilation is of no use: there have been too many keys already,
            or the loss reads what every meta-update changes.
        """
        losses = (learner.loss_fn, getattr(learner, "query_loss_fn", None))
        found = self._found
        if (
            found is None
            or learner.model is not self._model
            or not all(map(operator.is_, losses, self._losses))
            or not found.is_unchanged()
        ):
            self._model, self._losses = learner.model, losses
            variables = {id(p) for group in learner.meta_optimizer.param_groups for p in group["params"]}
            found = self._found = self._look(found, variables)
        if found.key not in self._keys:
            return None
        return torch.get_default_dtype(), found.key

    def _look(self, before: Found | None, variables: set[int]) -> Found:
        """Return what there is now, and count it, unless it is one of theta and alpha themselves."""
        assert self._model is not None
        found = Found(self._model, self._losses)
        if not found.is_complete:
            self._warn(
                f"the model and the loss hold more than {MAX_OBJECTS} objects, and changes are noticed in the first "
                "of them only; pass large data another way, or use compile=False"
            )
        if any(id(tensor) in variables for tensor in found.tensors):
            self._warn(
                "the meta-gradient runs uncompiled, as the loss, or a function that the model calls, holds parameters "
                "of the model itself, whose values a compiled function would keep"
            )
        elif found.key in self._keys or len(self._keys) < MAX_KEYS:
            self._keys.add(found.key)
        else:
            name = before.what_changed() if before else ""
            self._warn(
                "the meta-gradient runs uncompiled from now on where it is new, as what the model or the loss reads "
                f"has changed {MAX_KEYS} times{f', at last {name!r}' if name else ''}; make it a buffer or an input"
            )
        return found

    def _warn(self, message: str) -> None:
        """Give a warning unless there has been one."""
        if not self._has_warned:
            warnings.warn(message, RuntimeWarning, 2)
        self._has_warned = True


class Found(Reachable):
    """What was found, with what it held then."""

    def __init__(self, model: nn.Module, functions: tuple[Any, ...]) -> None:
        super().__init__(model, functions)
        self.sized += self.tables
        self.key = Parts(tuple(self.parts))
        self._sizes = list(map(len, self.sized))
        self._sizes_of_dicts = list(map(len, self.dicts))
        self._attributes_then = list(values_of(self.dicts))
        self._keys_then = list(itertools.chain.from_iterable(self.tables))
        self._values_then = list(values_of(self.tables))
        self._variables_then = list(map(operator.getitem, self.mappings, self.keys))
        self._others_then = [
            getattr(owner, name, MISSING) for owner, name in zip(self.owners, self.names, strict=True)
        ]
        self._lists_then = list(map(contents, self.lists))
        self._versions_then = list(map(version_of, self.tensors))
        self._numbers_then = list(map(numbers_of, self.arrays))
        self._types_then = list(map(type, self.objects))

    def is_unchanged(self) -> bool:
        """Tell whether every place still holds the same objects, and these the same contents."""
        others = map(getattr, self.owners, self.names, itertools.repeat(MISSING))
        try:
            return (
                not any(self.empty)
                and list(map(len, self.sized)) == self._sizes
                and all(map(operator.is_, values_of(self.dicts), self._attributes_then))
                and all(map(operator.is_, itertools.chain.from_iterable(self.tables), self._keys_then))
                and all(map(operator.is_, values_of(self.tables), self._values_then))
                and all(map(operator.is_, map(operator.getitem, self.mappings, self.keys), self._variables_then))
                and all(map(operator.is_, others, self._others_then))
                and list(map(type, self.objects)) == self._types_then
                and all(map(hold_the_same, self.lists, self._lists_then))
                and list(map(version_of, self.tensors)) == self._versions_then
                and list(map(numbers_of, self.arrays)) == self._numbers_then
            )
        except (KeyError, ValueError):  # a variable is gone, or has no value now
            return False

    def what_changed(self) -> str:
        """Return the name of a variable that holds something else now, or '' if that is no variable."""
        for mapping, name, then in zip(self.mappings, self.keys, self._variables_then, strict=True):
            if mapping.get(name, MISSING) is not then:
                return name
        then_values = iter(self._attributes_then)
        for attributes, size in zip(self.dicts, self._sizes_of_dicts, strict=True):
            before = list(itertools.islice(then_values, size))
            for (name, value), then in zip(attributes.items(), before, strict=False):
                if value is not then:
                    return name
        return ""


def values_of(dicts: list[dict[Any, Any]]) -> Iterator[Any]:
    """Return the values of all dicts, one after the other."""
    return itertools.chain.from_iterable(map(dict.values, dicts))


def hold_the_same(container: Any, then: list[Any]) -> bool:
    """Tell whether a container holds the same objects as then."""
    return len(container) == len(then) and all(map(operator.is_, contents(container), then))
