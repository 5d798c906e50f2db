"""Which parameters of a model adapt: decided when the learner is made, and looked after from then on."""

from collections.abc import Iterable, Mapping, Sequence

from torch import Tensor, nn
from torch.nn.parameter import UninitializedParameter


def check_parameters(model: nn.Module, losses: Iterable[object]) -> None:
    """Refuse parameters that could not be trained: uninitialised ones, inference tensors, and those of a loss.

    Args:
        model: whose parameters become theta.
        losses: functions or modules.

    Raises:
        ValueError: with the name of the first such parameter.
    """
    own = set(map(id, model.parameters()))
    for name, value in model.named_parameters():
        if isinstance(value, UninitializedParameter):
            raise ValueError(f"parameter '{name}' has no shape yet; call the model once on an example before")
        if value.is_inference():
            raise ValueError(f"parameter '{name}' was made under torch.inference_mode; make the model outside of it")
    for loss_fn in losses:
        if isinstance(loss_fn, nn.Module):
            for name, value in loss_fn.named_parameters():
                if value.requires_grad and id(value) not in own:
                    raise ValueError(
                        f"the loss {type(loss_fn).__name__} has a trainable parameter '{name}', which meta-training "
                        "would leave as it is; freeze it by loss_fn.requires_grad_(False), or make it a part of the "
                        "model"
                    )


def as_module(tensors: Mapping[str, Tensor]) -> nn.Module:
    """Return a module whose parameters have the given names, in the same order.

    >>> [name for name, _ in as_module({"0.weight": Tensor([1.0]), "2.bias": Tensor([1.0])}).named_parameters()]
    ['0.weight', '2.bias']
    """
    root = nn.Module()
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        module = root
        for part in path:
            if part not in module._modules:
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        module.register_parameter(last, nn.Parameter(tensor))
    return root


def trainable_names(theta: Mapping[str, Tensor], alpha: Mapping[str, Tensor]) -> list[str]:
    """Return the names of the parameters that adapt: those with ``requires_grad``.

    Raises:
        ValueError: none has, or one that had not when the learner was made, so that it has no rate.
    """
    names = [name for name, value in theta.items() if value.requires_grad]
    if len(names) == len(alpha) and all(map(alpha.__contains__, names)):
        return names
    if not names:
        raise ValueError("no parameter of the model has requires_grad any more; switch it on for those that adapt")
    for name in names:
        if name not in alpha:
            raise ValueError(
                f"parameter '{name}' had no requires_grad, or did not exist, when the learner was made, so it has no "
                "learning rate and would never train; make a new learner of the model"
            )
    return names


def check_trained(theta: Mapping[str, Tensor], variables: Sequence[Tensor]) -> None:
    """Refuse a parameter of the model that the outer optimiser does not have: it was exchanged after the start.

    Args:
        theta: the parameters of the model.
        variables: of the optimiser.

    Raises:
        ValueError: with the name of the first such parameter.
    """
    known = set(map(id, variables))
    for name, value in theta.items():
        if value.requires_grad and id(value) not in known:
            raise ValueError(
                f"parameter '{name}' is another one than when the learner was made, and would never train; make a new "
                "learner of the model"
            )
