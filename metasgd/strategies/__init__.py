"""How the meta-gradient is computed: four strategies with the same result (chapters 9 and 10).

* ``loop`` is the definition: one task after the other, differentiated through the inner steps by autograd.
* ``threads`` computes one task on each CPU core.
* ``batched`` computes many tasks at once by ``torch.func.vmap``.
* ``streams`` computes one task in each of several streams of an NVIDIA GPU, recorded once and then replayed.

The last three use the adjoint method (``metasgd.strategies.adjoint``), which follows from the identities of chapter 3.
"""

from metasgd.strategies.dispatch import meta_backward, predict_tasks
from metasgd.strategies.execution import Execution
from metasgd.strategies.kernels import with_right_kernels
from metasgd.strategies.preflight import check_reading
from metasgd.strategies.registry import STRATEGIES, Strategy, strategies_on

__all__ = [
    "STRATEGIES",
    "Execution",
    "Strategy",
    "check_reading",
    "meta_backward",
    "predict_tasks",
    "strategies_on",
    "with_right_kernels",
]
