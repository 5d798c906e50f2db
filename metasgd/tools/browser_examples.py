"""The ready digits of chapter 14's page: pictures of the embedded sample of MNIST, as a script that the page loads.

Make it again by ``python -m metasgd.tools.browser_examples book/_static/adapt``.
"""

import base64
import json
import sys
from pathlib import Path

import torch

from metasgd.data import load_mnist_sample

EACH = 12  # pictures of each digit
FILE = "examples.js"


def examples_script() -> str:
    """Return the script: it sets ``metaSgdExamples`` to the pixels, uint8, digit after digit, in base 64.

    The pictures are the last ones of each digit in the sample. As the shipped network never saw a digit of MNIST, all
    ten are new to it.
    """
    digits = load_mnist_sample()
    pixels = torch.stack([pictures[-EACH:] for pictures in digits]).numpy().tobytes()
    content = {"digits": len(digits), "each": EACH, "pixels": base64.b64encode(pixels).decode()}
    return f"self.metaSgdExamples = {json.dumps(content)};\n"


def write_examples(folder: str | Path) -> Path:
    """Write the script into a folder, and return the file."""
    target = Path(folder) / FILE
    target.write_text(examples_script())
    return target


if __name__ == "__main__":
    write_examples(sys.argv[1])
