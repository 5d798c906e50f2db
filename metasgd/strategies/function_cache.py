"""A cache of functions that were compiled or recorded for inputs of certain shapes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import torch
from torch import Tensor

from metasgd._core.learner import TensorFunction

UNKNOWN: Any = object()  # None is a function that could not be made


class FunctionCache:
    """Functions of tensors in a faster form, one for each key and each form of the inputs.

    A copy of a cache, and one that was pickled, starts empty.

    Args:
        make: ``make(function, inputs)`` returns the fast form of a function, or None if there is none.
        max_size: the number of functions that are kept, the newest ones (None: all of them).
    """

    def __init__(
        self,
        make: Callable[[TensorFunction, Sequence[Tensor]], TensorFunction | None],
        max_size: int | None = None,
    ) -> None:
        self._make, self._max_size = make, max_size
        self._functions: dict[Hashable, TensorFunction | None] = {}
        self._lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return FunctionCache, (self._make, self._max_size)

    def clear(self) -> None:
        """Forget all functions, with the memory that they hold."""
        with self._lock:
            self._functions.clear()

    def get_or_make(self, key: Hashable, function: TensorFunction, inputs: Sequence[Tensor]) -> TensorFunction | None:
        """Return the fast form of ``function`` for such inputs, made at the first call, or None if there is none.

        The functions given with one key must differ in nothing but their inputs.
        """
        key = (key, torch.get_num_threads(), *[(x.shape, x.stride(), x.dtype, x.device) for x in inputs])
        made: TensorFunction | None = self._functions.get(
            key, UNKNOWN
        )  # looked for once: the hash of so many shapes takes its time
        if made is UNKNOWN:
            with self._lock:  # if two threads need the same function, one of them makes it
                made = self._functions.get(key, UNKNOWN)
                if made is UNKNOWN:
                    if self._max_size is not None and len(self._functions) >= self._max_size:
                        del self._functions[next(iter(self._functions))]
                    made = self._functions[key] = self._make(function, inputs)
        return made
