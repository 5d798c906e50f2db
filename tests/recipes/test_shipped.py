"""The learners that ship with the package: their files, and their accuracy."""

import numpy as np
import pytest
import torch

from metasgd._core.task import as_list
from metasgd.data import load_mnist_sample
from metasgd.recipes import shipped, weight_files
from metasgd.recipes.omniglot import OmniglotRecipe
from metasgd.tasks import EpisodeSampler


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


@pytest.mark.parametrize("statistics", ["support", "support+query"])
def test_a_shipped_learner_reads_queries_as_it_is_told(statistics):
    """In float32, a batch of another size rounds otherwise, by some 1e-6 for logits of about 1 to 10."""
    learner, _ = shipped.load_weights("omniglot-mnist-5way", query_statistics=statistics)
    sampler = EpisodeSampler(load_mnist_sample(), 5, 1, 2)
    (task,) = as_list(sampler.sample(1, torch.Generator().manual_seed(0)))
    together = learner.predict_tasks([task])[0]
    alone = [
        learner.predict_tasks([task._replace(query_x=x, query_y=task.query_y[:1])])[0] for x in task.query_x.split(1)
    ]
    torch.testing.assert_close(torch.cat(alone), together, rtol=1e-4, atol=1e-4)
    assert shipped.load_weights("omniglot-mnist-5way")[0].query_statistics == "queries"
    with pytest.raises(ValueError, match="does not exist"):
        shipped.load_weights("omniglot-mnist-5way", query_statistics="alone")
