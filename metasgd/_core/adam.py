"""Adam for small networks, where the work around its arithmetic takes longer than the arithmetic itself."""

import itertools
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from metasgd._core.cpu_threads import one_core_if_small
from metasgd._core.private_torch import FAST_ADAM, foreach_add_, state_of_group

KERNEL_SETTINGS = ("lr", "betas", "weight_decay", "eps", "amsgrad", "maximize")


class FusedAdam(torch.optim.Adam):
    """``torch.optim.Adam`` with ``fused=True``, and little else than the call of its one kernel.

    It has the same results to the last bit, and the same state. Settings that the kernel does not cover are left to
    ``torch.optim.Adam``.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Take a step, with one call of the kernel for neighbouring groups whose settings are equal.

        These are theta and alpha, unless their learning rates differ.
        """
        if closure is not None or not self._is_plain():
            return super().step(closure)
        for settings, groups in itertools.groupby(
            self.param_groups, lambda group: {n: group[n] for n in KERNEL_SETTINGS}
        ):
            tensors: list[list[Tensor]] = [[] for _ in range(6)]  # parameters, gradients, ..., steps
            for group in groups:
                state_of_group(self, group, tensors)
            if not tensors[0]:  # no parameter has a gradient
                continue
            options = dict(settings)
            beta1, beta2 = options.pop("betas")
            foreach_add_(tensors[-1], 1)
            with one_core_if_small(tensors[0][0].device, sum(parameter.numel() for parameter in tensors[0])):
                FAST_ADAM(*tensors, beta1=beta1, beta2=beta2, **options)
        return None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Set all gradients to None, or to zero."""
        if not set_to_none:
            return super().zero_grad(set_to_none)
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.grad = None
        return None

    def _is_plain(self) -> bool:
        """Tell whether the kernel covers everything, e.g. all settings are numbers and all tensors of one dtype."""
        groups = self.param_groups
        return (
            all(group["fused"] and not group.get("decoupled_weight_decay") for group in groups)
            and not any(isinstance(number, Tensor) for group in groups for number in (group["lr"], *group["betas"]))
            and len({(parameter.device, parameter.dtype) for group in groups for parameter in group["params"]}) == 1
            and getattr(self, "grad_scale", None) is None  # is set by torch.amp.GradScaler
        )


def adam(groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
    """Return Adam with one kernel for all parameters, which is far faster for a small network, where there is one."""
    groups = [{**group, "params": list(group["params"])} for group in groups]
    if any(parameter.is_complex() for group in groups for parameter in group["params"]):
        return torch.optim.Adam(groups)  # the kernel would refuse complex parameters at its first step
    try:
        return FusedAdam([dict(group) for group in groups], fused=True)
    except RuntimeError:  # PyTorch has no such kernel for this device or dtype
        return torch.optim.Adam(groups)


def clipped_adam(clip: float | None) -> Callable[[Iterable[dict[str, Any]]], torch.optim.Optimizer]:
    """Return a function that makes Adam which clips the norm of the meta-gradient before each step.

    Args:
        clip: the largest norm of the gradients of theta and alpha taken together (None: they are not clipped).
    """

    def make(groups: Iterable[dict[str, Any]]) -> torch.optim.Optimizer:
        optimizer = adam(groups)
        if clip is not None:

            def clip_gradients(optimizer: torch.optim.Optimizer, *_: Any) -> None:
                variables = [variable for group in optimizer.param_groups for variable in group["params"]]
                nn.utils.clip_grad_norm_(variables, clip)

            optimizer.register_step_pre_hook(clip_gradients)
        return optimizer

    return make
