"""Copies of modules, also of those that keep what they have computed, and calls that leave nothing behind."""

import copy
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from metasgd._core.private_torch import disable_current_modes, tree_flatten, tree_map

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
            with disable_current_modes():  # a compiler that traces the copy takes it for a constant
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


def with_new_tensors(held: dict[str, Any], then: dict[str, Any], contents: dict[str, Any]) -> list[str]:
    """Return the names of the attributes of a module in which there are tensors that were not there ``then``."""
    names = []
    for name, value in held.items():
        if name not in OF_MODULES:
            known = {id(leaf) for leaf in tree_flatten(contents.get(name, then.get(name)))[0]}
            if any(isinstance(leaf, Tensor) and id(leaf) not in known for leaf in tree_flatten(value)[0]):
                names.append(name)
    return names


def keeps_tensors(before: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]) -> bool:
    """Tell whether a model has kept tensors since its attributes were ``before``, by ``attributes_of``."""
    return any(with_new_tensors(*part) for part in before)


def tensors_kept(before: list[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]) -> list[Tensor]:
    """Return the tensors in attributes that hold others since they were ``before``, by ``attributes_of``."""
    changed = [part[0][name] for part in before for name in with_new_tensors(*part)]
    return [leaf for value in changed for leaf in tree_flatten(value)[0] if isinstance(leaf, Tensor)]


@contextmanager
def nothing_kept(model: nn.Module) -> Iterator[None]:
    """Take back the tensors that a model keeps of calls in the body of a ``with``: after ``vmap``, they are of no use.

    An attribute is again what it was before, and so are the contents of a list or dict.
    """
    before = attributes_of(model)
    try:
        yield
    finally:
        for held, then, contents in before:
            for name in with_new_tensors(held, then, contents):
                if name not in then:
                    del held[name]
                elif held[name] is not then[name] or name not in contents:
                    held[name] = then[name]
                if name in contents:
                    refill(held[name], contents[name])


def refill(container: Any, contents: Any) -> None:
    """Let a list or dict hold what another one holds."""
    container.clear()
    (container.update if isinstance(container, dict) else container.extend)(contents)
