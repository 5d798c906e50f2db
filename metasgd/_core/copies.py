"""Copies of modules, also of those that keep what they have computed, and calls that leave nothing behind."""

import copy
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import Tensor, nn
from torch._C._functorch import is_functorch_wrapped_tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map

AnyModule = TypeVar("AnyModule", bound=nn.Module)


class DetachResults(TorchFunctionMode):
    """The context in which ``copy.deepcopy`` copies tensors that were computed, without their graph.

    PyTorch copies no tensor that has a graph. A module may keep such ones, wherever it likes: an activation, as
    ``self.features``, or the weight that ``torch.nn.utils.prune`` and the older ``weight_norm`` compute before a call.
    """

    def __torch_function__(
        self, function: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Copy a tensor that was computed, and call any other function as it is."""
        if function is Tensor.__deepcopy__ and not args[0].is_leaf:
            tensor, memo = args
            with _disable_current_modes():  # a compiler that traces the copy takes it for a constant
                memo[id(tensor)] = tensor.detach().clone()
            return memo[id(tensor)]
        return function(*args, **(kwargs or {}))


def copy_of(value: Any, memo: dict[int, Any] | None = None) -> Any:
    """Return ``copy.deepcopy(value, memo)``, with tensors that were computed detached from their graph."""
    with DetachResults():
        return copy.deepcopy(value, memo)


def copy_of_module(module: AnyModule) -> AnyModule:
    """Return a copy of a module; what it keeps of its last call is copied without its graph."""
    copied: AnyModule = copy_of(module)
    return copied


def copy_sharing_tensors(module: AnyModule) -> AnyModule:
    """Return a copy of a module that shares its parameters and buffers."""
    tensors = (*module.parameters(), *module.buffers())
    copied: AnyModule = copy_of(module, {id(tensor): tensor for tensor in tensors})
    return copied


CONTAINERS = (list, dict, deque)
OF_MODULES = nn.Module().__dict__.keys()  # the attributes that every module has


def attributes_of(model: nn.Module) -> list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """Return the attributes of each part of a model: where they are held, what they are, what containers hold."""
    found = []
    for part in model.modules():
        now = {name: value for name, value in vars(part).items() if name not in OF_MODULES}
        contents = {name: tree_map(itself, value) for name, value in now.items() if isinstance(value, CONTAINERS)}
        found.append((vars(part), now, contents))
    return found


def itself(value: Any) -> Any:
    """Return the value, so that ``tree_map`` copies the containers around it and not the value."""
    return value


def keeps_tensors(before: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]) -> bool:
    """Tell whether a model has kept tensors since its attributes were ``before``, by ``attributes_of``."""
    for held, then, contents in before:
        for name, value in held.items():
            if name in OF_MODULES:
                continue
            known = {id(leaf) for leaf in tree_flatten(contents.get(name, then.get(name)))[0]}
            if any(isinstance(leaf, Tensor) and id(leaf) not in known for leaf in tree_flatten(value)[0]):
                return True
    return False


@contextmanager
def nothing_of_vmap_kept(model: nn.Module) -> Iterator[None]:
    """Take back what a model keeps of calls under ``vmap`` in the body of a ``with``, which nobody could use after it.

    An attribute is again what it was before, and so are the contents of a list or dict.
    """
    before = attributes_of(model)
    try:
        yield
    finally:
        for held, then, contents in before:
            for name in [name for name, value in held.items() if name not in OF_MODULES and is_of_vmap(value)]:
                if name not in then:
                    del held[name]
                elif held[name] is not then[name] or name not in contents:
                    held[name] = then[name]
                if name in contents:
                    refill(held[name], contents[name])


def is_of_vmap(value: Any) -> bool:
    """Tell whether a tensor of ``vmap`` is in a value."""
    return any(isinstance(leaf, Tensor) and is_functorch_wrapped_tensor(leaf) for leaf in tree_flatten(value)[0])


def refill(container: Any, contents: Any) -> None:
    """Let a list or dict hold what another one holds."""
    container.clear()
    (container.update if isinstance(container, dict) else container.extend)(contents)
