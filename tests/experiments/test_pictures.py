"""Measures of pictures are those of bars whose measures are known, and the stored ones those of the pictures."""

import math

import pytest
import torch

from metasgd.cli import main
from metasgd.data import load_mnist_sample
from metasgd.experiments import load_results, pictures
from metasgd.experiments.results import read_results
from metasgd.tasks import glyph_classes
from tests.experiments.records import PROVENANCE


def bar(length: int = 20, width: int = 3) -> torch.Tensor:
    picture = torch.zeros(1, 28, 28)
    picture[:, 4 : 4 + length, 12 : 12 + width] = 1
    return picture


def test_a_bar_measures_its_width_less_its_ends():
    """2 area / edge, with edge = 2 (length + width), less one corner, where a gradient is sqrt(2) long and not 2."""
    expected = 2 * 20 * 3 / (2 * 20 + 2 * 3 - (2 - math.sqrt(2)))
    assert pictures.stroke_width(bar()).item() == pytest.approx(expected, rel=1e-5)


def test_a_faint_bar_is_as_wide_as_a_bright_one():
    torch.testing.assert_close(pictures.stroke_width(0.4 * bar()), pictures.stroke_width(bar()))


def test_measures_tell_ink_size_and_place():
    """Rows 4 to 23 and columns 12 to 14 of 0 to 27: the middle, 13.5, is half a pixel to the right of column 13."""
    found = {name.split(" [")[0]: value.item() for name, value in pictures.measures(bar()).items()}
    assert found["ink"] == pytest.approx(100 * 60 / 784)
    assert found["longer side"] == 20
    assert found["off centre"] == pytest.approx(0.5, abs=1e-5)


def test_bytes_are_measured_as_fractions_of_255():
    for name, value in pictures.measures((255 * bar()).to(torch.uint8)).items():
        torch.testing.assert_close(value, pictures.measures(bar())[name])


def test_bolder_glyphs_measure_bolder(monkeypatch):
    """The pen's width is found to a fifth: ends and crossings take from it, blots add."""
    for half_width in (0.8, 1.5):
        monkeypatch.setattr("metasgd.tasks.glyphs.PEN", (half_width, half_width))
        width = pictures.stroke_width(glyph_classes(100, 1)[:, 0] / 255).median().item()
        assert width == pytest.approx(2 * half_width, rel=0.2)


def test_stored_measures_are_those_of_the_digits_and_the_glyphs():
    """To the rounding of the file; a pixel of a glyph may round the other way."""
    stored = {cell["data"]: cell for cell in load_results("pictures")}
    sets = {
        "MNIST": torch.cat([digit[:200] for digit in load_mnist_sample()]),
        "glyphs": glyph_classes(2000, 1)[:, 0],
    }
    for name, shown in sets.items():
        assert stored[name]["pictures"] == len(shown)
        for measure, values in pictures.measures(shown).items():
            expected = torch.tensor(stored[name]["quantiles"][measure])
            torch.testing.assert_close(pictures.quantiles(values), expected, rtol=2e-3, atol=2e-3)


def test_the_command_measures_all_data_sets(omniglot_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "NUM_GLYPHS", 3)
    folders = ["--data-root", str(omniglot_folder), "--out", str(tmp_path), "--work", str(tmp_path / "work")]
    assert main(["experiment", "pictures", *folders, "--device", "cpu"]) == 0
    made, stored = read_results(tmp_path / "pictures.json"), load_results("pictures")
    assert made.header.keys() == stored.header.keys() - {"provenance"}  # which each cell has today
    assert (
        [cell["data"] for cell in made]
        == [cell["data"] for cell in stored]
        == ["MNIST", "Omniglot", "Omniglot, redrawn", "redrawn, pens measured", "glyphs"]
    )
    here = dict(made.cell(data="MNIST").content)
    assert here.pop("provenance").keys() >= PROVENANCE
    assert here == stored.cell(data="MNIST").content
