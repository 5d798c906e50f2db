"""A trained learner of characters with fewer classes, and with copies of pictures."""

import pytest
import torch

from metasgd.recipes import omniglot
from metasgd.recipes import omniglot_variants as variants
from metasgd.recipes.omniglot import OmniglotRecipe


def test_fewer_ways_keep_the_first_rows_of_the_head_and_everything_else():
    config = OmniglotRecipe(ways=7, width=4)
    learner = config.make_learner()
    fewer = variants.with_fewer_ways(learner, config, 3)
    x = torch.rand(6, 1, 28, 28)
    torch.testing.assert_close(fewer.predict(x), learner.predict(x)[:, :3])
    for kept, given in ((fewer.theta, learner.theta), (fewer.alpha, learner.alpha)):
        assert [name for name, value in kept.items() if len(value) < len(given[name])] == ["17.weight", "17.bias"]
        assert all(torch.equal(value, given[name][: len(value)]) for name, value in kept.items())
    with pytest.raises(ValueError, match="ways is 8; a learner of 7 ways has no more rows"):
        variants.with_fewer_ways(learner, config, 8)


def test_copies_enlarge_the_support_set_and_leave_the_rest():
    """Two pictures and three copies of each, each with its label; the copies differ, and come again the same."""
    given = []
    method = variants.with_copies(lambda *task: given.append(task) or task[2], copies=3)
    pictures, queries = torch.zeros(2, 1, 28, 28), torch.rand(4, 1, 28, 28)
    pictures[0, :, 5:20, 13], pictures[1, :, 13, 5:20] = 1, 1
    assert all(torch.equal(method(pictures, torch.tensor([1, 0]), queries), queries) for _ in range(2))
    (support, labels, _), (again, *_) = given
    assert labels.tolist() == [1, 0] * 4
    assert torch.equal(support, again)
    assert torch.equal(support[:2], pictures)
    assert len({tuple(picture.flatten().tolist()) for picture in support}) == 8
    upright, lying = support[0::2].sum((1, 3)).amax(1), support[1::2].sum((1, 3)).amax(1)
    assert (upright < 3).all()
    assert (lying > 6).all()


def test_copied_queries_are_read_one_set_at_a_time_after_one_step():
    """Against the plain way: adapt, read the queries and each set of copies, average the log-probabilities."""
    learner, (support, labels, queries) = small_task()
    said = variants.with_copied_queries(learner, support_copies=0, query_copies=2)(support, labels, queries)
    adapted = learner.inner_update(support, labels)
    generator = torch.Generator().manual_seed(1)
    sets = [queries, omniglot.UNSTEADY_HAND(queries, generator), omniglot.UNSTEADY_HAND(queries, generator)]
    expected = sum(learner.predict(pictures, adapted).log_softmax(-1) for pictures in sets) / 3
    torch.testing.assert_close(said, expected)
    assert not torch.allclose(said, learner(support, labels, queries).log_softmax(-1))


def test_without_copies_of_queries_there_are_only_copies_of_support_pictures():
    learner, task = small_task()
    for copies in (0, 2):
        said = variants.with_copied_queries(learner, support_copies=copies, query_copies=0)(*task)
        torch.testing.assert_close(said, variants.with_copies(learner, copies)(*task).log_softmax(-1))


def small_task():
    learner = OmniglotRecipe(width=4).make_learner()
    pictures = torch.rand(12, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    return learner, (pictures[:5], torch.arange(5), pictures[5:])
