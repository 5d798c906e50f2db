"""The tool that makes the shipped weights: a finished cell becomes weights that load as the cell's learner."""

import json

import pytest
import torch

from metasgd.checkpoints import Checkpoint, write_checkpoint
from metasgd.data import load_mnist_sample
from metasgd.recipes import weight_files
from metasgd.recipes.glyphs import GlyphsRecipe
from metasgd.recipes.omniglot import OmniglotRecipe
from metasgd.recipes.shipped import load_weights
from metasgd.tasks import deslant
from metasgd.tools import make_weights

SCORE = {"metric": "accuracy", "mean": 0.9}


@pytest.fixture
def runs(tmp_path):
    """A folder of experiments in which one cell is finished."""
    recipe = OmniglotRecipe(ways=3, width=4, seed=5)
    learner, folder = recipe.make_learner(), tmp_path / "runs" / "omniglot-mnist" / "5way"
    folder.mkdir(parents=True)
    config = {key: list(value) if isinstance(value, tuple) else value for key, value in vars(recipe).items()}
    result = {
        "recipe": "omniglot",
        "config": config,
        "scores": [SCORE],
        "provenance": {"torch": "2"},
        "loss_curve": [],
    }
    (folder / "result.json").write_text(json.dumps(result))
    write_checkpoint(folder, Checkpoint(0, learner.state_dict(), [], None, {}))
    return tmp_path / "runs"


def test_a_finished_cell_becomes_weights_that_load(runs, tmp_path, monkeypatch, capsys):
    """To half precision: 11 bits."""
    name = "omniglot-mnist-5way"
    make_weights.main([str(runs), "--out", str(tmp_path / "weights"), "--names", name])
    assert capsys.readouterr().out.strip() == name
    monkeypatch.setattr(weight_files, "FOLDER", tmp_path / "weights")
    learner, record = load_weights(name)
    expected = OmniglotRecipe(ways=3, width=4, seed=5).make_learner()
    for found, values in ((learner.theta, expected.theta), (learner.alpha, expected.alpha)):
        for key, value in values.items():
            torch.testing.assert_close(found[key], value, rtol=2**-10, atol=1e-6)
    assert (record["experiment"], record["cell"]) == ("omniglot-mnist", "5way")
    assert record["scores"] == [SCORE]
    assert "loss_curve" not in record


def test_a_learner_of_glyphs_takes_pictures_as_they_are(tmp_path, monkeypatch):
    """Its answers to slanted pictures are those of the trained learner to the same pictures without slant."""
    recipe = GlyphsRecipe(fold=2, width=4, seed=1)
    learner, folder = recipe.make_learner(), tmp_path / "runs" / "mnist" / "fold2-seed0"
    folder.mkdir(parents=True)
    result = {"recipe": "glyphs", "config": vars(recipe), "scores": [SCORE], "provenance": {}}
    (folder / "result.json").write_text(json.dumps(result))
    write_checkpoint(folder, Checkpoint(0, learner.state_dict(), [], None, {}))
    make_weights.main([str(tmp_path / "runs"), "--out", str(tmp_path / "weights"), "--names", "mnist-fold2"])
    monkeypatch.setattr(weight_files, "FOLDER", tmp_path / "weights")
    shipped, _ = load_weights("mnist-fold2")
    digits = torch.stack([images[0] for images in load_mnist_sample()]).unsqueeze(1) / 255
    labels = torch.arange(5)
    expected = learner(deslant(digits[:5]), labels, deslant(digits[5:]))
    torch.testing.assert_close(shipped(digits[:5], labels, digits[5:]), expected, rtol=2**-8, atol=2**-6)


def test_a_cell_that_is_not_finished_is_refused(runs, tmp_path):
    with pytest.raises(FileNotFoundError, match="10way"):
        make_weights.main([str(runs), "--out", str(tmp_path / "weights"), "--names", "omniglot-mnist-10way"])


def test_help_says_what_the_tool_makes(capsys):
    with pytest.raises(SystemExit, match="0"):
        make_weights.main(["--help"])
    assert "python -m metasgd.tools.make_weights" in capsys.readouterr().out
