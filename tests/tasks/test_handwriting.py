"""Glyphs as many hands write them: reproducible, two ways in a class, families that look alike, and their tasks."""

from collections import Counter

import pytest
import torch

from metasgd.tasks import EpisodeSampler, glyphs
from metasgd.tasks.glyphs import MAX_PIECES, MAX_STROKES, draw_movements
from metasgd.tasks.handwriting import (
    FAMILY,
    SECOND_WAY,
    SIMPLE,
    FamilySampler,
    chosen,
    families,
    handwritten_classes,
    mirrored,
    with_a_change,
)


@pytest.fixture(scope="module")
def movements():
    return draw_movements(400, torch.Generator().manual_seed(0), SIMPLE)


@pytest.mark.parametrize("make", [handwritten_classes, families])
def test_pictures_are_those_of_the_seed(make):
    made = make(3, 4, seed=1)
    assert made.dtype == torch.uint8
    assert torch.equal(made, make(3, 4, seed=1))
    assert not torch.equal(made, make(3, 4, seed=2))
    assert (made.flatten(2).amax(2) > 200).all()  # ink in every picture


@pytest.mark.parametrize("make", [handwritten_classes, families])
def test_the_global_generator_is_left_alone_and_impossible_numbers_are_refused(make):
    before = torch.get_rng_state()
    make(1, 1)
    assert torch.equal(before, torch.get_rng_state())
    with pytest.raises(ValueError, match="count is 0; it must be at least 1"):
        make(0, 3)
    with pytest.raises(ValueError, match="examples is 0; it must be at least 1"):
        make(3, 0)


@pytest.mark.parametrize("make", [handwritten_classes, families])
def test_classes_are_higher_than_wide_on_the_whole(make):
    ink = make(20, 10) > 100
    height, width = (ink.any(dim).sum(2).float().mean(1) for dim in (3, 2))
    assert (height >= width).all()


def test_simple_glyphs_have_no_more_pieces_than_their_style_allows(movements):
    exists = movements.lengths > 0
    strokes = exists.any(2).sum(1)
    assert strokes.max() <= 3
    for count, most in zip((1, 2, 3), SIMPLE.most_pieces, strict=False):
        assert exists[strokes == count].sum(2).max() <= most


def test_a_change_alters_one_thing_and_keeps_the_rest(movements):
    """In nearly every glyph exactly one number is another: a turn, a corner, or a length; or all places of joints."""
    changed = with_a_change(movements, torch.Generator().manual_seed(1))
    counts = {
        name: (getattr(changed, name) != getattr(movements, name)).flatten(1).sum(1)
        for name in ("turns", "corners", "lengths")
    }
    moved = (changed.base != movements.base).any(1)
    total = sum(counts.values())
    assert (total <= 1).all()
    assert (total + moved <= 1).all()
    assert ((total + moved) == 1).float().mean() > 0.85  # a first piece has no corner before it, and stays as it was
    assert all((count > 0).any() for count in (*counts.values(), moved))
    for name in ("eases", "own", "gap", "stretch"):
        assert torch.equal(getattr(changed, name), getattr(movements, name))


def test_a_change_makes_no_piece_without_length_and_none_too_many(movements):
    changed = with_a_change(movements, torch.Generator().manual_seed(2))
    assert changed.lengths.shape == (400, MAX_STROKES, MAX_PIECES)
    before, after = ((lengths > 0).sum((1, 2)) for lengths in (movements.lengths, changed.lengths))
    assert ((after - before >= 0) & (after - before <= 1)).all()
    assert (changed.lengths >= 0).all()


def test_every_other_class_has_a_second_way_in_its_share_of_pictures(monkeypatch):
    """Seen on what is drawn: without the differences of hands, a class with one way has one movement."""
    drawn = []
    monkeypatch.setattr("metasgd.tasks.handwriting.draw", lambda movements, *_: drawn.append(movements))
    handwritten_classes(200, 20)
    (movements,) = drawn
    numbers = torch.cat([part.reshape(len(part), -1) for part in movements], 1).reshape(200, 20, -1)
    ways = [len({tuple(row) for row in number.tolist()}) for number in numbers]
    assert set(ways[1::2]) == {1}
    assert set(ways[::2]) <= {1, 2}
    assert ways[::2].count(2) > 80
    common = [max(Counter(map(tuple, number.tolist())).values()) for number in numbers[::2]]
    assert sum(common) / 2000 == pytest.approx(1 - SECOND_WAY, abs=0.08)


def test_families_look_alike():
    """Mean pictures of one family are nearer to each other than those of different families."""
    made = families(40, 20).float().mean(1).flatten(1).reshape(40, FAMILY, -1)
    distance = torch.cdist(made.flatten(0, 1), made.flatten(0, 1)).reshape(40, FAMILY, 40, FAMILY)
    own = torch.arange(40)
    within = distance[own, :, own, :].sum() / (40 * FAMILY * (FAMILY - 1))
    between = distance.sum() - distance[own, :, own, :].sum()
    assert within < 0.85 * between / (40 * 39 * FAMILY**2)


def test_mirrored_classes_are_the_four_that_keep_height():
    made = handwritten_classes(3, 2)
    four = mirrored(made)
    assert four.shape == (12, 2, 28, 28)
    assert torch.equal(four[:3], made)
    assert torch.equal(four[3:6], torch.rot90(made, 2, dims=(2, 3)))
    assert torch.equal(four[6:9], made.flip(2))
    assert torch.equal(four[9:], made.flip(3))


def marked(count: int) -> torch.Tensor:
    """Families whose pixels are the number of the class."""
    return torch.arange(count * FAMILY, dtype=torch.float32)[:, None, None, None].expand(-1, 3, 4, 4)


@pytest.mark.parametrize("ways", [2, 5, 7])
def test_tasks_have_different_classes_of_which_some_are_of_one_family(ways):
    sampler = FamilySampler(marked(9), ways, 1, 2)
    classes = sampler.draw_classes(3000, torch.Generator().manual_seed(0))
    assert all(len(set(row)) == ways for row in classes.tolist())
    assert set(classes.flatten().tolist()) == set(range(9 * FAMILY))
    alike = [ways - len({number // FAMILY for number in row}) for row in classes.tolist()]
    assert 0.25 < sum(alike) / (3000 * (ways - 1)) < 0.31  # 0.3, less where a family has no member left
    assert max(alike) <= ways - 1


def test_members_and_labels_of_families_are_equally_likely():
    sampler = FamilySampler(marked(6), 5, 1, 2)
    classes = sampler.draw_classes(6000, torch.Generator().manual_seed(1))
    counts = torch.stack([(classes == number).sum(0) for number in range(6 * FAMILY)])  # by class and label
    expected = 6000 / (6 * FAMILY)
    assert (counts - expected).abs().max() < 5.5 * expected**0.5


def test_without_likeness_all_classes_are_of_different_families():
    sampler = FamilySampler(marked(6), 5, 1, 2, alike=0.0)
    classes = sampler.draw_classes(200, torch.Generator().manual_seed(0))
    assert all(len({number // FAMILY for number in row}) == 5 for row in classes.tolist())


def test_samples_are_of_the_classes_that_are_drawn():
    sampler = FamilySampler(marked(6), 5, 1, 2)
    assert isinstance(sampler, EpisodeSampler)
    task = sampler.sample(4, torch.Generator().manual_seed(3))
    assert torch.equal(task.support_x[..., 0, 0, 0], sampler.draw_classes(4, torch.Generator().manual_seed(3)).float())


@pytest.mark.parametrize("count", [10, 4 * FAMILY])
def test_classes_that_are_no_families_are_refused(count):
    with pytest.raises(ValueError, match=f"{count} classes are not whole families of 4, at least 5 of them"):
        FamilySampler(torch.zeros(count, 3, 4, 4), 5, 1, 2)


def test_the_plain_glyphs_are_drawn_in_their_own_style():
    """What stored results and shipped learners were trained on: the first numbers of the first class."""
    movement = glyphs.draw_movements(50, torch.Generator().manual_seed(0))
    assert chosen(movement, torch.tensor([0])).lengths.shape == (1, MAX_STROKES, MAX_PIECES)
    assert ((movement.lengths > 0).any(2).sum(1) == 4).any()  # which the simple style has not
