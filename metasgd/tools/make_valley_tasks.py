"""Make the script with the tasks that chapter 2's page shows and trains on: minima of the valley, drawn as there."""

import argparse
import base64
import json
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from metasgd._core.files import PACKAGE
from metasgd.tasks import Valley

TASKS = {"training": (64, 0), "fresh": (200, 1)}  # by name, their number and the seed, as the chapter draws them
NOISE, NOISE_SEED = 0.5, 2  # standard deviation of the noise that the page can add to support targets, and its seed
FILE = "tasks.js"


def valley_tasks() -> dict[str, tuple[Tensor, Tensor]]:
    """Return the tasks of chapter 2 by name, on the CPU in float64.

    Returns:
        Minima of the query loss, shape (tasks, 2), and how far noise in the support targets moves those of the support
        loss, of the same shape. Two examples determine two weights, so noise e in the targets moves the minimum by
        X^-1 e, where X has the support inputs as its rows.
    """
    generator = torch.Generator("cpu").manual_seed(NOISE_SEED)
    tasks = {}
    for name, (count, seed) in TASKS.items():
        valley = Valley(device="cpu", dtype=torch.float64, seed=seed)
        noise = NOISE * torch.randn(count, 2, generator=generator, dtype=torch.float64)
        tasks[name] = valley.minima(count), torch.linalg.solve(valley.inputs, noise.mT).mT
    return tasks


def tasks_script() -> str:
    """Return the script, which defines ``metaSgdValleyTasks``: by name and part, float64 numbers in base 64."""
    content = {
        name: {
            part: base64.b64encode(values.contiguous().numpy().tobytes()).decode()
            for part, values in zip(("minima", "shifts"), pair, strict=True)
        }
        for name, pair in valley_tasks().items()
    }
    return f"self.metaSgdValleyTasks = {json.dumps(content)};\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Write the script into a folder, and print where it is."""
    parser = argparse.ArgumentParser(prog="python -m metasgd.tools.make_valley_tasks", description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=PACKAGE.parent / "book" / "_static" / "bend", metavar="FOLDER",
        help="the folder to write it into (default: that of the page in the checkout)",
    )  # fmt: skip
    target = parser.parse_args(argv).out / FILE
    target.write_text(tasks_script())
    print(target)


if __name__ == "__main__":
    main()
