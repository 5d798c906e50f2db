"""A call of a model with other tensors in the place of its parameters and buffers."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn
from torch.func import functional_call

from metasgd._core.trees import Tree, with_own_containers


def places_of_tensors(model: nn.Module) -> dict[str, str]:
    """Return every place of a model that holds a parameter or buffer, with the name of the tensor that it holds.

    A place is an attribute of a module. A module with two names counts once, under its first name, and a tensor in two
    places (tied weights) has the name under which ``named_parameters`` or ``named_buffers`` lists it.
    """
    first_names: dict[int, str] = {}
    return {
        (place := f"{path}.{attribute}" if path else attribute): first_names.setdefault(id(tensor), place)
        for path, module in model.named_modules()
        for attribute, tensor in (*module._parameters.items(), *module._buffers.items())
        if tensor is not None
    }


def call_with(
    model: nn.Module, tensors: Mapping[str, Tensor], x: Tree, places: Mapping[str, str] | None = None
) -> Any:
    """Return the output of ``model(x)`` with the given tensors in the place of its own, by name.

    ``torch.func.functional_call`` finds tied tensors itself, but exchanges the tensors of a module with two names
    twice, and then puts the wrong ones back. Here each place is exchanged once.

    Args:
        model: any module; it has its own tensors again after the call.
        tensors: by the names of ``named_parameters`` and ``named_buffers``; the others stay.
        x: the input, a tensor or a tree of tensors, which is one argument.
        places: ``places_of_tensors(model)``, if it is known already.

    Raises:
        ValueError: a tensor whose name the model does not have.
    """
    places = places_of_tensors(model) if places is None else places
    values = {place: tensors[key] for place, name in places.items() for key in (place, name) if key in tensors}
    if unknown := sorted(tensors.keys() - places.keys()):
        raise ValueError(f"the model has no parameter or buffer of the name {', '.join(unknown)}")
    return functional_call(model, values, (with_own_containers(x),), tie_weights=False)
