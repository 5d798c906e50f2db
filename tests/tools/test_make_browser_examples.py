"""The tool that makes the ready digits of chapter 14's page writes the pictures that it promises."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from metasgd.data import load_mnist_sample
from metasgd.tools import make_browser_examples


def test_the_script_has_the_last_pictures_of_each_digit(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    make_browser_examples.main(["--out", str(tmp_path)])
    file = tmp_path / make_browser_examples.FILE
    assert capsys.readouterr().out.strip() == str(file)
    content = json.loads(file.read_text().removeprefix("self.metaSgdExamples = ").rstrip(";\n"))
    assert (content["digits"], content["each"]) == (10, make_browser_examples.EXAMPLES)
    pixels = np.frombuffer(base64.b64decode(content["pixels"]), np.uint8).reshape(10, -1, 28, 28)
    expected = torch.stack(load_mnist_sample())[:, -make_browser_examples.EXAMPLES :]
    assert np.array_equal(pixels, expected.numpy())
