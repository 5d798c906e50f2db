"""Running an experiment: cell by cell, so that it can be killed at any moment and go on.

A finished cell is a small JSON file in the work folder, an unfinished one a checkpoint there. So an experiment can be
started again after it was killed, and split over processes by ``--shard``. When all cells are there, they are joined
into one results file. The seconds of a cell are those of the process that finished it.
"""

import json
import time
from pathlib import Path
from typing import Any

import torch

from metasgd._core.files import write_json
from metasgd._core.provenance import provenance
from metasgd.data import load_mnist
from metasgd.experiments.experiment import TEST_SEED, Cell, Experiment, Setup
from metasgd.experiments.results import FORMAT

RESULT = "result.json"  # of a finished cell, in its folder


def run_experiment(
    experiment: Experiment,
    *,
    out: Path,
    work: Path,
    root: str | Path | None = None,
    tasks: int | None = None,
    device: torch.device | str = "cpu",
    shard: tuple[int, int] = (0, 1),
    command: str = "",
    compile: bool = False,
    precision: str = "float32",
    **changes: Any,
) -> Path | None:
    """Run the cells of one experiment that are not done yet; write and return the results file when all are.

    Args:
        experiment: one of ``metasgd.experiments.EXPERIMENTS``.
        out: folder of the results file, ``NAME.json``.
        work: folder of checkpoints and finished cells.
        root: folder of the data (None: the environment variable ``METASGD_DATA``, or the sample of MNIST).
        tasks: test tasks of each score (None: as in the book).
        device: where to train.
        shard: (i, n): run only every n-th cell, from the i-th on.
        command: what was typed, for the record.
        compile: compile the learners, as ``MetaSGD`` does; this changes results by rounding.
        precision: of the learners, as in ``MetaSGD``.
        changes: settings that differ from the book's in every cell.

    Raises:
        ValueError: ``compile``, ``precision`` or a setting for an experiment that has no such choice.
    """
    if not experiment.compiled and (compile or precision != "float32"):
        option = "--compile" if compile else "--precision"
        raise ValueError(f"{experiment.name} can neither be compiled nor change its precision; leave {option} out")
    cells = experiment.make_cells(changes)
    images = load_mnist(root) if experiment.data == "mnist" else None
    setup = Setup(experiment.tasks if tasks is None else tasks, device, root, images, compile, precision)
    work = work / experiment.name
    first, step = shard
    for name in list(cells)[first::step]:
        if not (work / name / RESULT).exists():
            write_json(work / name / RESULT, run_cell(cells[name], setup, work / name, command))
    finished = {name: work / name / RESULT for name in cells}
    if not all(file.exists() for file in finished.values()):
        return None
    target = out / f"{experiment.name}.json"
    write_json(target, join_cells(experiment.name, setup, finished, command))
    return target


def run_cell(cell: Cell, setup: Setup, folder: Path, command: str) -> dict[str, Any]:
    """Run one cell, going on from its checkpoint if there is one, and return what a results file keeps of it."""
    started = time.perf_counter()
    found = cell.run(setup, folder)
    made = {"command": command, "seconds": round(time.perf_counter() - started, 1), **provenance(setup.device)}
    if setup.precision != "float32":
        made["precision"] = setup.precision
    return cell.describe() | found | {"provenance": made}


def join_cells(name: str, setup: Setup, finished: dict[str, Path], command: str) -> dict[str, Any]:
    """Return the content of a results file, which says once for all cells what is the same in all.

    Args:
        name: of the experiment.
        setup: of its cells.
        finished: the file of each cell.
        command: makes the results file; a cell that was made by another command says by which.
    """
    cells = {cell: json.loads(file.read_text(encoding="utf-8")) for cell, file in finished.items()}
    for content in cells.values():
        if content["provenance"]["command"] == command:
            del content["provenance"]["command"]
    header: dict[str, Any] = {"format": FORMAT, "experiment": name, "command": command}
    if setup.tasks:
        header |= {"tasks": setup.tasks, "task_seed": TEST_SEED}
    if setup.images is not None:
        header["images"] = sum(map(len, setup.images))
    return header | {"cells": cells}
