"""Drawn glyphs: reproducible, set like MNIST's digits, and told apart by class as handwriting is."""

import math

import pytest
import torch

from metasgd import evaluate
from metasgd.baselines import nearest_class_mean
from metasgd.tasks import EpisodeSampler, glyph_classes, glyphs
from metasgd.tasks.glyphs import MAX_PIECES, MAX_STROKES, POINTS, Movement, Pen, draw_ink, pen_path


@pytest.fixture(scope="module")
def drawn() -> torch.Tensor:
    return glyph_classes(100, 20)


def test_classes_are_pictures_by_class_on_the_device(device):
    made = glyph_classes(3, 2, device=device)
    assert made.shape == (3, 2, 28, 28)
    assert made.dtype == torch.uint8
    assert made.device.type == device.type


def test_ink_uses_the_whole_range_in_every_picture(drawn):
    """Black background, and somewhere the full white of a stroke that is wider than a pixel."""
    flat = drawn.flatten(2)
    assert (flat.amin(2) == 0).all()
    assert (flat.amax(2) > 200).all()


def test_the_same_seed_draws_the_same_glyphs_and_another_seed_others():
    assert torch.equal(glyph_classes(3, 4, seed=1), glyph_classes(3, 4, seed=1))
    assert not torch.equal(glyph_classes(3, 4, seed=1), glyph_classes(3, 4, seed=2))


def test_every_device_draws_the_same_glyphs(device):
    """Sines and square roots differ in their last bits, so a pixel of 0..255 may round the other way, or by two."""
    here, there = glyph_classes(4, 4), glyph_classes(4, 4, device=device).cpu()
    assert (here.int() - there.int()).abs().max() <= 2


def test_more_classes_begin_as_fewer_do(drawn):
    """Across the border of the classes that are drawn together, too.

    To one step of 255: the products of a larger batch may be summed in another order.
    """
    assert (glyph_classes(60, 20).int() - drawn[:60].int()).abs().max() <= 1


def test_pictures_do_not_depend_on_how_many_are_inked_together(drawn, monkeypatch):
    """To one step of 255, as above."""
    monkeypatch.setattr(glyphs, "PICTURES_AT_A_TIME", 7)
    assert (glyph_classes(10, 20).int() - drawn[:10].int()).abs().max() <= 1


def test_the_global_generator_is_left_alone():
    before = torch.get_rng_state()
    glyph_classes(2, 2)
    assert torch.equal(torch.get_rng_state(), before)


def test_glyphs_fill_the_box_of_mnist(drawn):
    """20 pixels, the longer way; the soft edge and the fraction of a pixel where it begins may add two or take two."""
    ink = drawn.flatten(0, 1) > 127
    sides = torch.stack([ink.any(1).sum(1), ink.any(2).sum(1)]).amax(0)
    assert sides.min() >= 18
    assert sides.max() <= 22


def test_larger_pictures_show_the_same_glyphs():
    """Shrunk by averaging areas; the edge of the ink is what averaging changes a little."""
    small, large = glyph_classes(10, 4).float() / 255, glyph_classes(10, 4, size=84).float() / 255
    shrunk = torch.nn.functional.avg_pool2d(large, 3)
    assert (shrunk - small).abs().mean() < 0.02
    assert (shrunk - small).abs().max() < 0.25


def test_classes_are_told_apart_and_examples_differ(drawn):
    """5-way 1-shot by nearest pixels: far above guessing (20%), far below the 100% of examples that are all alike.

    MNIST's digits give 55%. Over 200 tasks the standard error is below 1%, so the bounds are several errors wide.
    """
    score = evaluate(nearest_class_mean, EpisodeSampler(drawn, 5, 1), 200).mean
    assert 0.45 < score < 0.75


def test_no_two_examples_are_the_same(drawn):
    flat = drawn.flatten(0, 1).flatten(1)
    assert len(flat.unique(dim=0)) == len(flat)


@pytest.mark.parametrize("name", ["count", "examples", "size"])
def test_a_number_below_one_is_refused(name):
    with pytest.raises(ValueError, match=f"{name} is 0; it must be at least 1"):
        glyph_classes(**{"count": 2, "examples": 2} | {name: 0})


def one_stroke(length: float = 1, turn: float = 0, heading: float = 0) -> Movement:
    """A glyph of one piece."""
    lengths, turns, corners = (torch.zeros(1, MAX_STROKES, MAX_PIECES) for _ in range(3))
    lengths[0, 0, 0], turns[0, 0, 0], corners[0, 0, 0] = length, turn, heading
    nothing = torch.zeros(1, MAX_STROKES)
    return Movement(
        lengths,
        turns,
        torch.zeros_like(turns),
        corners,
        nothing,
        nothing,
        torch.zeros(1, MAX_STROKES, 2),
        torch.ones(1),
    )


def test_a_straight_stroke_is_straight_and_as_long_as_its_length():
    """Points lie in the middle of their steps, so first and last are one step nearer than the ends."""
    path, stroke = pen_path(one_stroke(2, heading=math.pi / 2))
    torch.testing.assert_close(path[0, :, 0], torch.zeros(POINTS), rtol=0, atol=1e-5)
    assert (path[0, -1, 1] - path[0, 0, 1]).item() == pytest.approx(2 * (1 - 1 / POINTS), abs=1e-4)
    assert (stroke == 0).all()


def test_a_full_turn_closes_a_circle():
    """A circle's radius is its length over 2 pi; a polygon of 128 sides differs by some 1e-4 of it."""
    path, _ = pen_path(one_stroke(1, turn=2 * math.pi))
    radii = (path[0] - path[0].mean(0)).norm(dim=1)
    torch.testing.assert_close(radii, torch.full((POINTS,), 1 / (2 * math.pi)), rtol=1e-3, atol=0)


def test_a_second_stroke_is_laid_across_the_middle_of_the_first():
    """A plus sign: both strokes have their middle at the same place, to half a step of the pen."""
    plus = one_stroke(1)
    plus.lengths[0, 1, 0], plus.corners[0, 1, 0] = 1, math.pi / 2
    plus.own[0, 1] = plus.base[0, 1] = 0.5
    path, stroke = pen_path(plus)
    across, down = path[stroke == 0], path[stroke == 1]
    assert len(across) == len(down) == POINTS // 2
    assert (across.mean(0) - down.mean(0)).norm() < 2 / POINTS
    assert across[:, 1].std() < 1e-5 < across[:, 0].std()
    assert down[:, 0].std() < 1e-5 < down[:, 1].std()


def test_the_ink_of_a_bar_has_the_pens_width():
    """A level bar through the middle: its columns hold the pen's width of ink, less where discs leave a notch."""
    pen = Pen(*(torch.tensor([value]) for value in (0.0, 0.0, 1.5, 1.0)), torch.tensor([[0.0, 1.0, 0.0]]))
    path, _ = pen_path(one_stroke())
    picture = draw_ink(path, pen, 28)[0].float() / 255
    assert picture[:, 14].sum().item() == pytest.approx(2 * 1.5, abs=0.05)
    assert picture.any(0).sum() == pytest.approx(20, abs=2)
