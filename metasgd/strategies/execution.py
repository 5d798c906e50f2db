"""How a learner computes: its settings, and what it has found out about its tasks."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from torch import nn

from metasgd.strategies.compiler import compile_or_warn
from metasgd.strategies.cuda_graphs import record_cuda_graph
from metasgd.strategies.function_cache import FunctionCache
from metasgd.strategies.held_by_python import HeldByPython
from metasgd.strategies.precision import check_precision
from metasgd.strategies.preflight import Known
from metasgd.strategies.registry import STRATEGIES

MAX_RECORDINGS = 8  # CUDA graphs that are kept; each of them holds memory of the GPU


@dataclass
class Execution:
    """The settings of how a learner computes, which ``MetaSGD`` explains, and what it has found out on the way.

    Attributes:
        strategy: a name in ``STRATEGIES``, or ``"auto"``.
        compile: whether the meta-gradient is compiled.
        chunk: the number of tasks that are computed at a time (None: by the memory there is).
        precision: ``"float32"``, ``"tf32"`` or ``"bfloat16"``.
        recompute: whether the graph of an inner step is thrown away, and built again in the backward pass.
        dropout: the model's layers of it, once they are looked for.
        chosen: the strategy that ``"auto"`` stands for, once that is decided.
        tasks_at_a_time: the number of tasks that fit into memory, by ``metasgd.strategies.memory_budget.memory_key``.
        known: what was found out about the model, by the form of the tasks.
        compiled: compiled functions.
        recordings: functions recorded as CUDA graphs.
        held: what Python holds that compiled and recorded functions depend on.

    Raises:
        ValueError: a setting that does not exist, or settings that cannot be combined.
    """

    strategy: str
    compile: bool
    chunk: int | None
    precision: str
    recompute: bool
    # What it has found out, which nobody passes in:
    dropout: list[nn.modules.dropout._DropoutNd] | None = field(default=None, init=False)
    chosen: str | None = field(default=None, init=False)
    tasks_at_a_time: dict[Hashable, int] = field(default_factory=dict, init=False)
    known: dict[Hashable, Known] = field(default_factory=dict, init=False)
    compiled: FunctionCache = field(default_factory=lambda: FunctionCache(compile_or_warn), init=False)
    recordings: FunctionCache = field(
        default_factory=lambda: FunctionCache(record_cuda_graph, MAX_RECORDINGS), init=False
    )
    held: HeldByPython = field(default_factory=HeldByPython, init=False)

    def __post_init__(self) -> None:
        if self.strategy not in ("auto", *STRATEGIES):
            raise ValueError(f"strategy {self.strategy!r} does not exist; choose auto, {', '.join(STRATEGIES)}")
        if self.chunk is not None and self.chunk < 1:
            raise ValueError(f"chunk is {self.chunk}; at least 1 task is worked on at a time")
        if self.compile and self.strategy == "loop":
            raise ValueError("strategy 'loop' is the readable reference and is not compiled; use threads or batched")
        if self.recompute and self.strategy == "loop":
            raise ValueError(
                "strategy 'loop' is the readable reference and keeps every inner step; recompute=True needs threads, "
                "batched, streams or auto"
            )
        check_precision(self.precision)
