"""The learners that ship with the package: their files, and their accuracy."""

import numpy as np
import pytest
import torch

from metasgd.recipes import shipped, weight_files
from metasgd.recipes.omniglot import OmniglotRecipe


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
