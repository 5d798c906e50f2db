"""The tool that makes the sample of MNIST takes the first pictures of both splits, and writes what it prints."""

import numpy as np
import pytest
import torch

from metasgd.data import pixels_sha256
from metasgd.tools import make_mnist_sample

IN_TRAINING = 900  # pictures of each digit in the made-up training split


@pytest.fixture
def tiny_mnist(monkeypatch: pytest.MonkeyPatch) -> None:
    """MNIST in pictures of one pixel.

    It is 100 + digit in the first 800 pictures of the training split, and 200 + digit in the first 200 of the test.
    The other pictures, which do not belong in the sample, have the pixel 0.
    """

    def load(root: str, *, quiet: bool) -> list[torch.Tensor]:
        assert (root, quiet) == ("somewhere", True)
        classes = []
        for digit, test_count in enumerate(make_mnist_sample.OFFICIAL_TEST_COUNTS):
            pixels = torch.zeros(IN_TRAINING + test_count, 1, 1, dtype=torch.uint8)
            pixels[:800] = 100 + digit
            pixels[IN_TRAINING : IN_TRAINING + 200] = 200 + digit
            classes.append(pixels)
        return classes

    monkeypatch.setattr(make_mnist_sample, "load_mnist", lambda root, quiet: load(str(root), quiet=quiet))


def test_the_sample_has_the_first_pictures_of_both_splits(tiny_mnist: None) -> None:
    sample = make_mnist_sample.make_sample("somewhere")
    assert sample.shape == (10, 1000, 1, 1)
    for digit, pictures in enumerate(sample):
        assert (pictures[:800] == 100 + digit).all()
        assert (pictures[800:] == 200 + digit).all()


def test_the_tool_writes_the_sample_and_prints_its_checksum(tiny_mnist, tmp_path, capsys) -> None:
    file = tmp_path / "sample.npz"
    make_mnist_sample.main(["somewhere", "--out", str(file)])
    with np.load(file) as archive:
        written = torch.from_numpy(archive["images"])
    assert torch.equal(written, make_mnist_sample.make_sample("somewhere"))
    assert pixels_sha256(list(written)) in capsys.readouterr().out


def test_help_says_what_the_tool_makes(capsys) -> None:
    with pytest.raises(SystemExit, match="0"):
        make_mnist_sample.main(["--help"])
    assert "python -m metasgd.tools.make_mnist_sample" in capsys.readouterr().out
