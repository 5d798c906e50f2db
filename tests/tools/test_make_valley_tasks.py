"""The tool that makes the tasks of chapter 2's page; that they are the chapter's is a test of the page."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from metasgd.tasks import Valley
from metasgd.tools import make_valley_tasks
from metasgd.tools.make_valley_tasks import NOISE, TASKS, valley_tasks


def test_the_script_has_the_numbers_of_the_tasks(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """To the last bit: they are stored as they are in memory."""
    make_valley_tasks.main(["--out", str(tmp_path)])
    file = tmp_path / make_valley_tasks.FILE
    assert capsys.readouterr().out.strip() == str(file)
    content = json.loads(file.read_text().removeprefix("self.metaSgdValleyTasks = ").rstrip(";\n"))
    tasks = valley_tasks()
    assert list(content) == list(tasks) == list(TASKS)
    for name, parts in content.items():
        for code, expected in zip((parts["minima"], parts["shifts"]), tasks[name], strict=True):
            numbers = np.frombuffer(base64.b64decode(code), np.float64).reshape(-1, 2)
            assert np.array_equal(numbers, expected.numpy())


def test_shifts_are_what_noise_in_the_support_targets_makes_of_the_minima() -> None:
    """The noise has the standard deviation that the tool names, within four standard errors: of 528 numbers, 12%."""
    valley = Valley(dtype=torch.float64)
    noise = torch.cat([shifts @ valley.inputs.mT for _, shifts in valley_tasks().values()])
    assert noise.numel() == 2 * sum(count for count, _ in TASKS.values()) == 528
    assert noise.std().item() == pytest.approx(NOISE, rel=0.12)
