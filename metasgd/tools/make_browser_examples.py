"""Make the script with the ready digits of chapter 14's page: pictures of the embedded sample of MNIST."""

import base64
import json
from collections.abc import Sequence

import torch

from metasgd.data import load_mnist_sample
from metasgd.tools._page_script import write_script

EXAMPLES = 12  # pictures of each digit
FILE = "examples.js"


def examples_script() -> str:
    """Return the script, which defines ``metaSgdExamples`` (chapter 14).

    It has the number of ``digits``, the number of pictures of ``each``, and all ``pixels``, uint8 in base 64, digit
    after digit. The pictures are the last ones of each digit in the sample. The page's network was meta-trained
    without MNIST, so all ten digits are new to it.
    """
    digits = load_mnist_sample()
    pixels = torch.stack([pictures[-EXAMPLES:] for pictures in digits]).numpy().tobytes()
    content = {"digits": len(digits), "each": EXAMPLES, "pixels": base64.b64encode(pixels).decode()}
    return f"self.metaSgdExamples = {json.dumps(content)};\n"


def main(argv: Sequence[str] | None = None) -> None:
    """Write the script into a folder, and print where it is."""
    write_script(argv, "make_browser_examples", __doc__, examples_script, "adapt", FILE)


if __name__ == "__main__":
    main()
