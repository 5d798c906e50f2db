"""Every name of PyTorch that the package uses and that PyTorch does not promise to keep, and what for.

A test holds that no other file of the package uses one. Each week the tests run with a nightly build of PyTorch, too,
which shows what will change before a release does.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.modules.loss import _Loss
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

__all__ = [
    "FAST_ADAM",
    "HARDSIGMOID",
    "PACK_PADDED_SEQUENCE",
    "WEIGHT_NORM",
    "WEIGHT_NORM_INTERFACE",
    "AnyInstanceNorm",
    "AnyLoss",
    "AnyNorm",
    "TorchDispatchMode",
    "disable_current_modes",
    "foreach_add",
    "foreach_add_",
    "foreach_copy_",
    "foreach_div",
    "foreach_mul",
    "foreach_sub",
    "inductor_compile",
    "state_of_group",
    "tree_flatten",
    "tree_map",
    "tree_unflatten",
]

# The three functions on trees walk dicts, lists and tuples of tensors as torch.func does, which has no public way.
# TorchDispatchMode sees every operator that a model calls, also in its derivatives.
disable_current_modes = _disable_current_modes  # a compiler does not see what is done inside

# What all layers of a kind, and all losses, are at bottom.
AnyLoss, AnyNorm, AnyInstanceNorm = _Loss, _NormBase, _InstanceNorm

# One operation on a whole list of tensors, as PyTorch's own optimisers use them: one call in place of many.
foreach_add, foreach_sub, foreach_mul, foreach_div = (
    torch._foreach_add,
    torch._foreach_sub,
    torch._foreach_mul,
    torch._foreach_div,
)
foreach_add_, foreach_copy_ = torch._foreach_add_, torch._foreach_copy_

# The kernel behind torch.optim.Adam(fused=True). By the public way a step for a small network takes a third longer.
FAST_ADAM = torch._fused_adam_

# Functions of which a derivative is wrong, or missing, and that are replaced by name wherever a model calls them.
HARDSIGMOID = torch._C._nn.hardsigmoid
WEIGHT_NORM = torch._weight_norm
WEIGHT_NORM_INTERFACE = torch._weight_norm_interface
PACK_PADDED_SEQUENCE = torch._pack_padded_sequence


def state_of_group(optimizer: torch.optim.Adam, group: dict[str, Any], tensors: Sequence[list[Tensor]]) -> None:
    """Append what Adam's kernel needs of a group to six lists: parameters, gradients, ..., numbers of steps."""
    optimizer._init_group(group, *tensors)


def inductor_compile(*args: Any, **kwargs: Any) -> Any:
    """Compile a graph of operators, by the part of ``torch.compile`` that makes kernels.

    What is compiled is kept on the disk, for the next process, in the folder of ``torch.compile``. This asks for an
    environment of symbolic shapes, which ``torch.compile`` always has, and which stays empty here.
    """
    from torch._guards import TracingContext, tracing  # these imports take seconds
    from torch._inductor import compile as compile_graph
    from torch._subclasses.fake_tensor import FakeTensorMode
    from torch.fx.experimental.symbolic_shapes import ShapeEnv

    with tracing(TracingContext(FakeTensorMode(shape_env=ShapeEnv()))):
        return compile_graph(*args, **kwargs)
