"""The cells of a report, in the order of their worth (chapter 10)."""

import itertools
from dataclasses import dataclass, field, replace
from typing import Any

# How a contender computes: a strategy of ``MetaSGD``, or the program of chapter 10.
STRATEGIES = ("loop", "batched", "streams")
PROGRAM, PROGRAM_BATCHED = "program, side by side", "program, all at once"
COMPILED = ", compiled"
PRECISIONS = ("float32", "tf32", "bfloat16")
GOALS = (85, 90)  # per cent of right answers, the times to which are noted


@dataclass(frozen=True)
class Sizes:
    """How large everything is.

    Args:
        meta_batch: of the workload that all contenders are measured on.
        width: its filters of a convolution.
        meta_batches: of all workloads.
        widths: of all workloads.
        shots: of all workloads.
        training: settings of the program that differ from its own when the learner of chapter 8 is trained.
        seconds: of a contender in a round, at least.
        slowness: how many times as long as on a GPU a cell may take.
    """

    meta_batch: int = 32
    width: int = 64
    meta_batches: tuple[int, ...] = (4, 32, 128, 512)
    widths: tuple[int, ...] = (32, 64)
    shots: tuple[int, ...] = (1, 5)
    training: tuple[tuple[str, Any], ...] = ()
    seconds: float = 0.3
    slowness: float = 1.0


# A CPU takes seconds for a single meta-step of the workload of a GPU.
ON_CPU = Sizes(meta_batch=4, width=32, meta_batches=(4, 32), widths=(32,), slowness=6.0)
TINY = Sizes(
    meta_batch=2,
    width=2,
    meta_batches=(2, 3),
    widths=(2,),
    shots=(1,),
    training=(("width", 2), ("classes", 40), ("iterations", 2), ("meta_batch", 2), ("test_tasks", 20)),
    seconds=0.001,
)


@dataclass(frozen=True)
class Cell:
    """One thing to measure.

    Args:
        kind: which function of ``metasgd.gpu_report.measures`` measures it.
        settings: its arguments.
        seconds: about how long it takes on a GPU; a cell for which there is no time left is not begun.
    """

    kind: str
    settings: dict[str, Any] = field(default_factory=dict)
    seconds: float = 15

    @property
    def name(self) -> str:
        """The key of the cell in a report."""
        return " ".join([self.kind, *(f"{name}={value}" for name, value in self.settings.items())])


def make_cells(device_type: str, sizes: Sizes | None = None, *, has_tf32: bool = True, gpus: int = 2) -> list[Cell]:
    """Return the cells for a type of device, those of most worth first.

    Args:
        device_type: ``"cuda"``, or ``"cpu"``, which has neither streams nor TF32.
        sizes: how large everything is (None: as in the book, less on a CPU).
        has_tf32: whether a GPU has TF32; those before NVIDIA's Ampere, as the T4, take float32 in its place.
        gpus: how many GPUs there are; two processes need two.
    """
    on_gpu = device_type == "cuda"
    sizes = sizes or (Sizes() if on_gpu else ON_CPU)
    strategies = [name for name in STRATEGIES if on_gpu or name != "streams"]
    precisions = [name for name in PRECISIONS if name != "tf32" or (on_gpu and has_tf32)]
    all_at_once = {"meta_batch": sizes.meta_batch, "width": sizes.width, "shots": 1}

    def speed(contender: str, precision: str = "float32", **workload: int) -> Cell:
        settings = {"contender": contender, "precision": precision, **all_at_once, **workload}
        return Cell("speed", {**settings, "least": sizes.seconds}, 90 if COMPILED in contender else 15)

    def accuracy(precision: str) -> Cell:
        return Cell("accuracy", {"precision": precision, **dict(sizes.training)}, 90)

    quick = ["streams", PROGRAM, PROGRAM_BATCHED] if on_gpu else ["batched", PROGRAM, PROGRAM_BATCHED]
    cells = [Cell("meta_gradient", {"execution": execution}) for execution in ("plain", "recorded")]
    cells += [Cell("strategies", {"strategies": tuple(strategies)}), Cell("switches")]
    cells += [speed(name) for name in (*strategies, PROGRAM, PROGRAM_BATCHED)]
    cells += [accuracy("float32"), Cell("drawing", {"meta_batch": sizes.meta_batch, "width": sizes.width})]
    cells += [speed(name, precision) for precision in precisions[1:] for name in quick]
    cells += [Cell("error", {"width": sizes.width, "precision": precision}) for precision in precisions]
    cells += [accuracy(precision) for precision in precisions[1:]]
    cells += [speed(PROGRAM, meta_batch=sizes.meta_batches[-1]), Cell("profile", all_at_once)]
    cells += [Cell("resume"), Cell("meta_gradient", {"execution": "compiled"}, 60)]
    in_turn = (*strategies, PROGRAM, PROGRAM_BATCHED, PROGRAM + COMPILED)
    cells += [Cell("turns", {"contenders": in_turn, **all_at_once}, 120)]
    cells += [speed(name + COMPILED) for name in (PROGRAM, PROGRAM_BATCHED, *strategies[1:])]
    cells += [speed(PROGRAM_BATCHED + COMPILED, precision) for precision in precisions[1:]]
    cells += [Cell("processes", dict(sizes.training), 60)] * (not on_gpu or gpus > 1)
    grid = itertools.product(sizes.widths, sizes.shots, sizes.meta_batches, quick, precisions)
    for width, shots, meta_batch, contender, precision in grid:
        cells.append(speed(contender, precision, width=width, shots=shots, meta_batch=meta_batch))
    cells = [replace(cell, seconds=sizes.slowness * cell.seconds) for cell in cells]
    return list({cell.name: cell for cell in cells}.values())
