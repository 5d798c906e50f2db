"""One call of the model and of the loss, watched: what a strategy would silently compute wrongly is refused.

It is done once for each form of tasks, on copies, and draws no random numbers. The loop needs none of it: there, a
model does what its author wrote.
"""

import pickle
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from metasgd._core.checks import check_takes_tensors
from metasgd._core.copies import copy_of_module, nothing_kept
from metasgd._core.functional import call_with
from metasgd._core.learner import Learner
from metasgd._core.private_torch import TorchDispatchMode
from metasgd._core.task import Task
from metasgd._core.trees import Tree, map_tensors, tensors_of
from metasgd.strategies.precision import forward_precision
from metasgd.strategies.reachable import Reachable
from metasgd.strategies.replaced_functions import FAST_FUNCTIONS, VMAP_SAFE_FUNCTIONS, ReplaceFunctions

Arguments = dict[str, Any]


def has_weight(given: Arguments) -> bool:
    """Tell whether a normalisation by the numbers at hand scales or shifts in the same kernel."""
    return given.get("training", True) and not (given.get("weight") is None and given.get("bias") is None)


def is_special(given: Arguments) -> bool:
    """Tell whether an embedding treats some rows in another way."""
    return given.get("padding_idx", -1) != -1 or bool(given.get("scale_grad_by_freq"))


# The operators behind the functions of ``metasgd.strategies.replaced_functions``, and when they are wrong. Our
# replacements call them, too, but in a right way. A model that calls an operator itself (``torch.ops.aten``), by
# TorchScript or from an extension, gets past the replacements.
WRONG_EVERYWHERE: dict[str, Callable[[Arguments], bool]] = {
    "aten::_weight_norm_interface": lambda given: True,
    "aten::_weight_norm": lambda given: True,
}
WRONG_UNDER_VMAP: dict[str, Callable[[Arguments], bool]] = {
    "aten::native_layer_norm": has_weight,
    "aten::native_batch_norm": has_weight,
    "aten::_native_batch_norm_legit": has_weight,
    "aten::_batch_norm_with_update": has_weight,
    "aten::cudnn_batch_norm": has_weight,
    "aten::miopen_batch_norm": has_weight,
    "aten::embedding": is_special,
    "aten::select_scatter": lambda given: True,
}


class NoteWrongOperators(TorchDispatchMode):
    """The context in which operators with wrong second derivatives are noted."""

    def __init__(self, wrong: dict[str, Callable[[Arguments], bool]]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.wrong, self.found = wrong, ""

    def __torch_dispatch__(
        self, operator: Any, types: Sequence[type], args: tuple[Any, ...] = (), kwargs: Arguments | None = None
    ) -> Any:
        """Call an operator, and note its name if it is wrong."""
        kwargs = kwargs or {}
        name = operator._schema.name
        if name in self.wrong:
            names = [argument.name for argument in operator._schema.arguments]
            if self.wrong[name](dict(zip(names, args, strict=False)) | kwargs):
                self.found = name.replace("::", ".")  # an error raised here would be lost in TorchScript
        return operator(*args, **kwargs)


def probe(learner: Learner, task: Task, *, by_vmap: bool, keeps: bool) -> None:
    """Refuse a model or a loss of which the strategies other than the loop would compute something else.

    Args:
        learner: whose model and loss are meant.
        task: one task of a form that was not seen yet.
        by_vmap: whether ``vmap`` will call them.
        keeps: whether the model keeps tensors, which the loss may read from it.

    Raises:
        RuntimeError: an operator with a wrong second derivative; random numbers of Python or NumPy, which would be the
            same for several tasks; a hook; or a loss that depends on theta or alpha other than by the prediction.
    """
    model = learner.model if keeps else copy_of_module(learner.model)
    call = partial(call_with, model, own_copies(learner))
    refuse_hooks_of_modules(model)
    query_loss_fn = getattr(learner, "query_loss_fn", None)
    wrong = WRONG_EVERYWHERE | (WRONG_UNDER_VMAP if by_vmap else {})
    device = tensors_of(task.support_x)[0].device
    with (
        nothing_kept(model) if keeps else nullcontext(),
        torch.enable_grad(),
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        no_random_numbers_of_python(model, (learner.loss_fn, query_loss_fn)),
        forward_precision(learner.execution.precision, device),
        ReplaceFunctions(VMAP_SAFE_FUNCTIONS if by_vmap else FAST_FUNCTIONS),
        NoteWrongOperators(wrong) as operators,
    ):
        prediction = call(copied(task.support_x))
        check_takes_tensors(learner.loss_fn, prediction, task.support_y)
        losses = [learner.loss_fn(prediction, copied(task.support_y))]
        if query_loss_fn is not None:
            losses.append(query_loss_fn(call(copied(task.query_x)), copied(task.query_y)))
    if operators.found:
        raise RuntimeError(
            f"the second derivative of {operators.found} is wrong in PyTorch here; call it by torch.nn.functional, "
            "which the strategies replace, or use another strategy"
        )
    refuse_other_ways_to_parameters(learner, losses)


def own_copies(learner: Learner) -> dict[str, Tensor]:
    """Return copies of theta, through which no gradient reaches theta itself."""
    return {name: value.detach().clone().requires_grad_(value.requires_grad) for name, value in learner.theta.items()}


def copied(values: Tree) -> Tree:
    """Return a copy of a tensor or of a tree of them, since a model may write into its input."""
    return map_tensors(Tensor.clone, values)


def refuse_hooks_of_modules(model: nn.Module) -> None:
    """Refuse hooks of modules on the way back, which are called for one task at a time by the loop alone."""
    for name, module in model.named_modules():
        if module._backward_hooks or module._backward_pre_hooks:
            raise RuntimeError(f"module '{name}' has a backward hook, which is called by strategy='loop' alone")


def refuse_other_ways_to_parameters(learner: Learner, losses: Iterable[Any]) -> None:
    """Refuse losses that depend on theta or alpha though they were computed by a copy of the model."""
    variables = [variable for group in learner.meta_optimizer.param_groups for variable in group["params"]]
    variables = [variable for variable in variables if variable.requires_grad]
    for loss in losses:
        if not (isinstance(loss, Tensor) and loss.requires_grad and loss.ndim == 0):
            continue
        if any(part is not None for part in torch.autograd.grad(loss, variables, allow_unused=True)):
            raise RuntimeError(
                "the loss, or a function that the model calls, reads parameters of the model itself, not those that "
                "were adapted, which strategy='loop' alone differentiates"
            )


@contextmanager
def no_random_numbers_of_python(model: nn.Module, losses: tuple[Any, ...]) -> Iterator[None]:
    """Refuse random numbers of Python or NumPy, and put the generators back into their states."""
    generators = [random.random.__self__, np.random.random.__self__]  # type: ignore[attr-defined]
    generators += [value for value in Reachable(model, losses).opaque if isinstance(value, GENERATORS)]
    before = list(map(state_of, generators))
    try:
        yield
    finally:
        after = list(map(state_of, generators))
        for generator, state in zip(generators, before, strict=True):
            set_state(generator, state)
    if pickle.dumps(before) != pickle.dumps(after):
        raise RuntimeError(
            "the model or the loss draws random numbers by Python or NumPy, which strategy='loop' alone draws anew "
            "for each task; draw them by PyTorch, or use the loop"
        )


GENERATORS = (random.Random, np.random.Generator, np.random.RandomState)


def state_of(generator: Any) -> Any:
    """Return the state of a generator of Python or NumPy."""
    if isinstance(generator, random.Random):
        return generator.getstate()
    return generator.bit_generator.state if isinstance(generator, np.random.Generator) else generator.get_state()


def set_state(generator: Any, state: Any) -> None:
    """Put a generator into a state that ``state_of`` returned."""
    if isinstance(generator, random.Random):
        generator.setstate(state)
    elif isinstance(generator, np.random.Generator):
        generator.bit_generator.state = state
    else:
        generator.set_state(state)
