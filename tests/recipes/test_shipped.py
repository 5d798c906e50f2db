"""The learners that ship with the package: their files, and their accuracy."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from metasgd import experiments
from metasgd.evaluation import evaluate
from metasgd.recipes import shipped, weight_files
from metasgd.recipes.omniglot import OmniglotRecipe


@pytest.mark.parametrize("name", shipped.weights_names())
def test_shipped_weights_keep_their_accuracy(name, request):
    """On the first 60 of the file's tasks; their mean has a 95% interval sqrt(600 / 60) times as wide as the file's.

    Four standard errors, twice that interval: with these few shipped, a right one fails with a chance below 1e-3.
    """
    learner, record = shipped.load_weights(name)
    config = OmniglotRecipe(**record["config"])
    stored = experiments.load_results(record["experiment"])["cells"][record["cell"]]
    assert record["accuracy"] == stored["accuracy"]
    score = experiments.score_of(stored, f"{config.method}, 1-shot")
    root = request.getfixturevalue("full_omniglot_folder") if config.split_characters()[2] else None
    sampler = replace(config, shots=1).test_tasks(config.load_test_data(root))
    found = evaluate(learner, sampler, 60, seed=experiments.TEST_SEED).mean
    assert abs(found - score.mean) < 2 * math.sqrt(600 / 60) * score.half_width


def test_saved_weights_are_loaded_as_they_were_to_half_precision(tmp_path, monkeypatch):
    """float16 has 11 binary digits: a relative error of 2^-11, or 2^-25 next to zero."""
    config = OmniglotRecipe(ways=3, width=4)
    learner = config.make_learner()
    shipped.save_weights(tmp_path, "small", learner, {"config": {"ways": 3, "width": 4}, "experiment": "none"})
    monkeypatch.setattr(weight_files, "FOLDER", tmp_path)
    assert shipped.weights_names() == ["small"]
    loaded, record = shipped.load_weights("small")
    assert record["experiment"] == "none"
    for own, other in ((learner.theta, loaded.theta), (learner.alpha, loaded.alpha)):
        for key, value in own.items():
            torch.testing.assert_close(other[key], value, rtol=2**-11, atol=2**-25)


def test_damaged_or_unknown_weights_are_refused(tmp_path, monkeypatch):
    learner = OmniglotRecipe(ways=3, width=4).make_learner()
    shipped.save_weights(tmp_path, "small", learner, {"config": {"ways": 3, "width": 4}})
    monkeypatch.setattr(weight_files, "FOLDER", tmp_path)
    with pytest.raises(ValueError, match="there are no weights 'other'; choose one of small"):
        shipped.load_weights("other")
    with np.load(tmp_path / "small.npz") as archive:
        numbers = dict(archive)
    numbers["theta/0.bias"][0] += 1
    np.savez(tmp_path / "small.npz", **numbers)
    with pytest.raises(ValueError, match=r"'small' are damaged: their SHA-256 is .*; install metasgd again"):
        shipped.load_weights("small")
