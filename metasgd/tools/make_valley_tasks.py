"""Make the script with the tasks that chapter 2's page shows and trains on: minima of the valley, drawn as there."""

import base64
import json
from collections.abc import Sequence

import torch
from torch import Tensor

from metasgd.tasks import Valley
from metasgd.tools._page_script import write_script

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
    write_script(argv, "make_valley_tasks", __doc__, tasks_script, "bend", FILE)


if __name__ == "__main__":
    main()
