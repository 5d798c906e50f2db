"""The tool that makes the shipped weights: a finished cell becomes weights that load as the cell's learner."""

import json

import pytest
import torch

from metasgd.checkpoints import Checkpoint, write_checkpoint
from metasgd.recipes import weight_files
from metasgd.recipes.omniglot import OmniglotRecipe
from metasgd.recipes.shipped import load_weights
from metasgd.tools import make_weights

SCORE = {"metric": "accuracy", "mean": 0.9}


@pytest.fixture
def runs(tmp_path):
    """A folder of experiments in which one cell is finished."""
    recipe = OmniglotRecipe(ways=3, width=4, seed=5)
    learner, folder = recipe.make_learner(), tmp_path / "runs" / make_weights.EXPERIMENT / "5way"
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
    make_weights.main([str(runs), "--out", str(tmp_path / "weights"), "--cells", "5way"])
    name = "omniglot-mnist-5way"
    assert capsys.readouterr().out.strip() == name
    monkeypatch.setattr(weight_files, "FOLDER", tmp_path / "weights")
    learner, record = load_weights(name)
    expected = OmniglotRecipe(ways=3, width=4, seed=5).make_learner()
    for found, values in ((learner.theta, expected.theta), (learner.alpha, expected.alpha)):
        for key, value in values.items():
            torch.testing.assert_close(found[key], value, rtol=2**-10, atol=1e-6)
    assert (record["experiment"], record["cell"]) == (make_weights.EXPERIMENT, "5way")
    assert record["scores"] == [SCORE]
    assert "loss_curve" not in record


def test_a_cell_that_is_not_finished_is_refused(runs, tmp_path):
    with pytest.raises(FileNotFoundError, match="10way"):
        make_weights.main([str(runs), "--out", str(tmp_path / "weights"), "--cells", "10way"])


def test_help_says_what_the_tool_makes(capsys):
    with pytest.raises(SystemExit, match="0"):
        make_weights.main(["--help"])
    assert "python -m metasgd.tools.make_weights" in capsys.readouterr().out
