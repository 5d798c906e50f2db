"""Chapter 12: its tables equal the files, its measures known values, its code what it says; and its figures."""

import json
import math
from typing import Any

import pytest
import torch

from metasgd import MetaSGD, Task
from metasgd.data import load_mnist_sample
from metasgd.experiments import across, load_results
from metasgd.models import convnet
from metasgd.tasks import EpisodeSampler, glyph_classes
from tests.book.notebooks import path_of, run_tagged

# Tables


def cell(look: str, ways: int, method: str, mean: float) -> dict[str, Any]:
    """A made-up cell: five shots are a tenth better than one, pixels a tenth worse."""
    means = {f"{method}, 1-shot": mean, "nearest class mean, 1-shot": mean - 0.1, f"{method}, 5-shot": mean + 0.1}
    return {
        "config": {"look": look, "ways": ways, "method": method},
        "accuracy": {name: {"mean": value, "half_width_95": 0.01, "tasks": 600} for name, value in means.items()},
    }


def test_every_accuracy_of_a_file_becomes_a_score():
    (one, pixels, five) = across.stored_scores({"cells": {"5way": cell("varied", 5, "maml", 0.5)}})
    assert [one.method, pixels.method, five.method] == ["MAML", "nearest class mean", "MAML"]
    assert [score.shots for score in (one, pixels, five)] == [1, 1, 5]
    assert {score.ways for score in (one, pixels, five)} == {5}
    assert five.accuracy.mean == pytest.approx(0.6)
    assert one.accuracy.half_width == 0.01


def test_the_table_of_omniglot_has_a_row_for_each_method_and_all_its_settings():
    cells = {"a": cell("pictures", 5, "meta-sgd", 0.8), "b": cell("pictures", 20, "meta-sgd", 0.6)}
    wide = cell("pictures", 20, "meta-sgd", 0.65)
    wide["config"]["width"] = 64
    five = cell("unsteady", 20, "meta-sgd", 0.55)
    five["config"]["shots"] = 5
    table = across.omniglot_table({"cells": cells | {"c": cell("pictures", 5, "maml", 0.7), "d": wide, "e": five}})
    means = {label: {key: round(score.mean, 5) for key, score in row.items()} for label, row in table.items()}
    assert means == {
        "Meta-SGD": {(5, 1): 0.8, (5, 5): 0.9, (20, 1): 0.6, (20, 5): 0.7},
        "Meta-SGD, 64 filters": {(20, 1): 0.65, (20, 5): 0.75},
        "Meta-SGD, 5 shots, unsteady": {(20, 1): 0.55, (20, 5): 0.65},
        "MAML": {(5, 1): 0.7, (5, 5): 0.8},
        "nearest class mean": {(5, 1): 0.7, (20, 1): 0.5},
    }


def test_the_table_of_methods_names_runs_and_what_was_tested_beside_them_the_best_first():
    """Prototypes of two runs have a row each; class means of pixels stand beside Meta-SGD, and come last."""

    def scores(**means: float) -> dict[str, Any]:
        return {name: {"mean": mean, "half_width_95": 0.01} for name, mean in means.items()}

    pixels = {"5-way, nearest class mean, 1-shot": 0.5, "5-way, meta-sgd, 1-shot": 0.8, "5-way, meta-sgd, 5-shot": 0.7}
    wide = {"5-way, protonet, 1-shot": 0.9, "20-way, protonet, 1-shot": 0.4}
    cells = {
        "meta-sgd-seed0": {"method": "meta-sgd", "accuracy": scores(**pixels)},
        "protonet-seed0": {"method": "protonet", "accuracy": scores(**{"5-way, protonet, 1-shot": 0.6})},
        "protonet-60way-seed0": {"method": "protonet", "accuracy": scores(**wide)},
    }
    table = across.comparison_table({"cells": cells})
    assert {label: {key: score.mean for key, score in row.items()} for label, row in table.items()} == {
        "prototypes, 60-way tasks": {(5, 1): 0.9, (20, 1): 0.4},
        "Meta-SGD": {(5, 1): 0.8, (5, 5): 0.7},
        "prototypes": {(5, 1): 0.6},
        "nearest class mean": {(5, 1): 0.5},
    }
    assert next(iter(table)) == "prototypes, 60-way tasks"
    assert list(table)[-1] == "nearest class mean"


def test_the_table_of_mnist_leaves_out_the_ladder():
    cells = {"5way": cell("varied", 5, "meta-sgd", 0.8), "ladder-redrawn": cell("redrawn", 5, "meta-sgd", 0.6)}
    table = across.mnist_table({"cells": cells})
    assert set(table) == {"Meta-SGD", "nearest class mean"}
    assert table["Meta-SGD"][5, 1].mean == 0.8
    assert {name: scores[1].mean for name, scores in across.ladder({"cells": cells}).items()} == {"redrawn": 0.6}


def test_the_table_of_mnist_names_learners_by_what_sets_them_apart():
    cells = {
        name: cell("varied", 10, "meta-sgd", mean) for name, mean in {"usual": 0.8, "wide": 0.9, "shots": 0.7}.items()
    }
    cells["wide"]["config"]["width"] = 64
    cells["shots"]["config"]["shots"] = 5
    copies = {"mean": 0.95, "half_width_95": 0.01, "tasks": 600}
    for content in cells.values():
        content["accuracy"]["meta-sgd with copies, 1-shot"] = copies
    means = {label: row[10, 1].mean for label, row in across.mnist_table({"cells": cells}).items()}
    assert means == {
        "Meta-SGD": 0.8,
        "Meta-SGD, with copies": 0.95,
        "Meta-SGD, 64 filters": 0.9,
        "64 filters, with copies": 0.95,
        "Meta-SGD, 5 shots": 0.7,
        "5 shots, with copies": 0.95,
        "nearest class mean": pytest.approx(0.7),
    }
    assert list(means)[-1] == "nearest class mean"


@pytest.mark.parametrize("name", ["omniglot", "omniglot-mnist"])
def test_every_number_of_the_tables_stands_in_the_file(name):
    """Whichever runs the file holds: each entry is one of its accuracies, and each whole run has its entry."""
    results = load_results(name)
    stored = {
        (score["mean"], score["half_width_95"]) for c in results["cells"].values() for score in c["accuracy"].values()
    }
    table = across.omniglot_table(results) if name == "omniglot" else across.mnist_table(results)
    shown = {(score.mean, score.half_width) for row in table.values() for score in row.values()}
    shown |= {(score.mean, score.half_width) for rung in across.ladder(results).values() for score in rung.values()}
    assert shown <= stored
    own = {
        (stored["mean"], stored["half_width_95"])
        for c in results["cells"].values()
        for key, stored in c["accuracy"].items()
        if not key.startswith("nearest")
    }
    assert own <= shown


def test_the_papers_table_is_complete():
    assert {tuple(sorted(row)) for row in across.PAPER.values()} == {((5, 1), (5, 5), (20, 1), (20, 5))}
    assert all(0.9 < mean < 1 for row in across.PAPER.values() for mean in row.values())


# Measures


def bar(length: int = 20, width: int = 3) -> torch.Tensor:
    picture = torch.zeros(1, 28, 28)
    picture[:, 4 : 4 + length, 12 : 12 + width] = 1
    return picture


def test_a_bar_measures_its_width_less_its_ends():
    """2 A / E with E = 2 l + 2 w, but for one corner, where a gradient of two steps has the length sqrt(2), not 2."""
    expected = 2 * 20 * 3 / (2 * 20 + 2 * 3 - (2 - math.sqrt(2)))
    assert across.stroke_width(bar()).item() == pytest.approx(expected, rel=1e-5)


def test_a_faint_bar_is_as_wide_as_a_bright_one():
    torch.testing.assert_close(across.stroke_width(0.4 * bar()), across.stroke_width(bar()))


def test_measures_tell_ink_size_and_place():
    """Rows 4 to 23 and columns 12 to 14 of 0 to 27: the middle, 13.5, is half a pixel to the right of column 13."""
    found = {name.split(" [")[0]: value.item() for name, value in across.measures(bar()).items()}
    assert found["ink"] == pytest.approx(100 * 60 / 784)
    assert found["longer side"] == 20
    assert found["off centre"] == pytest.approx(0.5, abs=1e-5)


def test_bytes_are_measured_as_fractions_of_255():
    for name, value in across.measures((255 * bar()).to(torch.uint8)).items():
        torch.testing.assert_close(value, across.measures(bar())[name])


def test_bolder_glyphs_measure_bolder(monkeypatch):
    """The pen's width is found to a fifth: ends and crossings take from it, blots add."""
    for half_width in (0.8, 1.5):
        monkeypatch.setattr("metasgd.tasks.glyphs.PEN", (half_width, half_width))
        width = across.stroke_width(glyph_classes(100, 1)[:, 0] / 255).median().item()
        assert width == pytest.approx(2 * half_width, rel=0.2)


def test_stored_measures_are_those_of_the_digits_and_the_glyphs():
    """To the rounding of the file; a pixel of a glyph may round the other way."""
    stored = load_results("pictures")["cells"]
    sets = {
        "MNIST": torch.cat([digit[:200] for digit in load_mnist_sample()]),
        "glyphs": glyph_classes(2000, 1)[:, 0],
    }
    for name, pictures in sets.items():
        assert stored[name]["pictures"] == len(pictures)
        for measure, values in across.measures(pictures).items():
            expected = torch.tensor(stored[name]["quantiles"][measure])
            torch.testing.assert_close(across.quantiles(values), expected, rtol=2e-3, atol=2e-3)


def test_the_command_measures_all_data_sets(omniglot_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(across, "glyph_classes", lambda count, examples: glyph_classes(3, examples))
    across.main(["--root", str(omniglot_folder), "--out", str(tmp_path)])
    made, stored = json.loads((tmp_path / "pictures.json").read_text()), load_results("pictures")
    assert made.keys() == stored.keys()
    assert (
        list(made["cells"])
        == list(stored["cells"])
        == ["MNIST", "Omniglot", "Omniglot, redrawn", "redrawn, pens measured", "glyphs"]
    )
    assert made["cells"]["MNIST"] == stored["cells"]["MNIST"]


# The chapter's code


@pytest.fixture(scope="module")
def chapter() -> dict[str, Any]:
    """The definitions of the tagged cells, in one namespace."""
    return run_tagged(path_of(12), ("pen", "company"), {"torch": torch})


def test_the_chapters_pen_draws_a_line_of_its_width(chapter):
    """Down the middle: each of the columns left and right of it holds half of the ink of a row."""
    line = chapter["draw_stroke"]((0, 0), heading=math.pi / 2, half_width=1.5)
    assert line[10:18].sum(1).tolist() == pytest.approx([3.0] * 8, abs=0.02)
    torch.testing.assert_close(line, line.flip(1), rtol=0, atol=1e-4)


def test_the_chapters_ring_is_a_ring(chapter):
    """Empty in the middle, the same from all four sides; the gap where the pen ends is one step of 200."""
    ring = chapter["draw_stroke"]((math.pi, math.pi))
    assert ring[12:16, 12:16].sum() == 0
    assert (ring - torch.rot90(ring)).abs().max() < 0.1


def test_queries_in_usual_company_are_read_as_always_and_alone_without_the_others(chapter):
    """Alone, a query's scores do not change when the other queries do; together they do."""
    torch.manual_seed(0)
    learner = MetaSGD(convnet(3, width=4), task_lr=0.1)
    digits = [digit[:20] for digit in load_mnist_sample()]
    task = Task(*(part[0] for part in EpisodeSampler(digits, 3, 1, 5).sample(1)))
    methods = {name: chapter["in_company"](learner, read) for name, read in chapter["companies"].items()}
    method = methods["together"]
    with torch.no_grad():
        usual = learner(task.support_x, task.support_y, task.query_x)
        torch.testing.assert_close(method(task.support_x, task.support_y, task.query_x), usual)
    others = task.query_x.clone()
    others[1:] = others[1:].flip(0)
    for name, changes in (("together", False), ("each alone", False), ("by class", True)):
        first, again = (methods[name](task.support_x, task.support_y, x)[0] for x in (task.query_x, others))
        assert bool((first - again).abs().max() > 1e-3) == changes, name  # flipping keeps the batch, not the class
    others[1:] = 0
    for name, changes in (("together", True), ("each alone", False)):
        first, again = (methods[name](task.support_x, task.support_y, x)[0] for x in (task.query_x, others))
        assert bool((first - again).abs().max() > 1e-3) == changes, name
