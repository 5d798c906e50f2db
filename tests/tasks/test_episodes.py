"""Episodes: what a task of images holds, and that all draws are equally likely."""

from itertools import permutations

import pytest
import torch
from torch import Tensor

from metasgd.tasks import Augment, EpisodeSampler
from metasgd.tasks.episodes import draw_without_replacement

SIZES = (9, 12, 10, 30)  # examples of four classes
WAYS, SHOTS, QUERIES = 3, 2, 5


def numbered_classes() -> list[Tensor]:
    """Float pictures of 1 x 2 pixels that say what they are: (class, example)."""
    return [
        torch.stack([torch.full((size,), label), torch.arange(size)], dim=1).float().unsqueeze(1)
        for label, size in enumerate(SIZES)
    ]


@pytest.fixture
def sampler(device: torch.device) -> EpisodeSampler:
    return EpisodeSampler(numbered_classes(), WAYS, SHOTS, QUERIES, device=device)


def test_an_episode_has_the_promised_shapes_dtypes_and_device(sampler: EpisodeSampler, device: torch.device) -> None:
    task = sampler.sample(4)
    assert task.support_x.shape == (4, WAYS * SHOTS, 1, 1, 2)
    assert task.support_y.shape == (4, WAYS * SHOTS)
    assert task.query_x.shape == (4, WAYS * QUERIES, 1, 1, 2)
    assert task.query_y.shape == (4, WAYS * QUERIES)
    assert [values.dtype for values in task] == [torch.float32, torch.int64] * 2
    assert {values.device.type for values in task} == {device.type}


def test_all_examples_of_an_episode_differ_so_support_and_query_are_disjoint(sampler: EpisodeSampler) -> None:
    task = sampler.sample(500)
    for pictures in torch.cat([task.support_x, task.query_x], dim=1).flatten(2).tolist():
        assert len(set(map(tuple, pictures))) == WAYS * (SHOTS + QUERIES)


def test_each_label_stands_for_one_class_and_each_class_has_one_label(sampler: EpisodeSampler) -> None:
    task = sampler.sample(500)
    classes = torch.cat([task.support_x, task.query_x], dim=1)[..., 0, 0, 0].int().tolist()
    labels = torch.cat([task.support_y, task.query_y], dim=1).tolist()
    for episode in zip(classes, labels, strict=True):
        pairs = set(zip(*episode, strict=True))
        assert len(pairs) == len({label for _, label in pairs}) == len({name for name, _ in pairs}) == WAYS


def test_every_label_has_its_shots_and_queries(sampler: EpisodeSampler) -> None:
    task = sampler.sample(50)
    for label in range(WAYS):
        assert ((task.support_y == label).sum(1) == SHOTS).all()
        assert ((task.query_y == label).sum(1) == QUERIES).all()


def test_a_class_is_not_tied_to_a_label(sampler: EpisodeSampler) -> None:
    first_class = sampler.sample(500).support_x[:, 0, 0, 0, 0]  # the class that has label 0
    assert first_class.unique().tolist() == [0, 1, 2, 3]


def test_every_example_of_a_class_of_any_size_is_drawn_and_no_other(sampler: EpisodeSampler) -> None:
    """Class 3 has 30 examples: that 2,000 tasks miss one of them has probability e^-370."""
    pictures = sampler.sample(2000).query_x.reshape(-1, 2)
    for label, size in enumerate(SIZES):
        assert pictures[pictures[:, 0] == label][:, 1].unique().tolist() == list(range(size))


def test_bytes_are_scaled_to_0_to_1_and_floats_are_not(device: torch.device) -> None:
    pictures = torch.tensor([[[0, 51]], [[255, 102]]], dtype=torch.uint8)  # two examples of 1 x 2 pixels
    from_bytes = EpisodeSampler([pictures], 1, 1, 1, device=device).sample(1)
    from_floats = EpisodeSampler([pictures.float()], 1, 1, 1, device=device).sample(1)
    expected = torch.tensor([0, 0.2, 1, 0.4], device=device)
    for task, scale in ((from_bytes, 1), (from_floats, 255)):
        drawn = torch.cat([task.support_x, task.query_x], dim=1).flatten().sort().values
        torch.testing.assert_close(drawn, scale * expected.sort().values)


def test_one_tensor_of_all_classes_is_as_good_as_a_list(device: torch.device) -> None:
    images = torch.arange(24).reshape(3, 4, 1, 2).float()
    tensor, several = (EpisodeSampler(kind, 2, 1, 2, device=device).sample(5) for kind in (images, list(images)))
    assert all(torch.equal(one, other) for one, other in zip(tensor, several, strict=True))


def test_the_same_seed_draws_the_same_episodes(device: torch.device) -> None:
    def draw(seed: int) -> Tensor:
        return EpisodeSampler(numbered_classes(), WAYS, SHOTS, QUERIES, device=device, seed=seed).sample(9).query_x

    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))


def test_a_generator_takes_the_place_of_the_samplers_own(sampler: EpisodeSampler, device: torch.device) -> None:
    first, second = (sampler.sample(9, torch.Generator(device).manual_seed(5)).query_x for _ in range(2))
    assert torch.equal(first, second)
    assert not torch.equal(sampler.sample(9).query_x, sampler.sample(9).query_x)


def test_sampling_leaves_the_global_random_state_alone(sampler: EpisodeSampler) -> None:
    before = torch.get_rng_state()
    sampler.sample(3)
    assert torch.equal(torch.get_rng_state(), before)


def test_augmentation_sees_every_picture_once_and_the_generator(device: torch.device) -> None:
    seen = []

    def augment(pictures: Tensor, generator: torch.Generator) -> Tensor:
        seen.append((pictures.shape, generator))
        return -pictures

    images, generator = numbered_classes(), torch.Generator(device)
    plain, changed = (
        EpisodeSampler(images, WAYS, SHOTS, QUERIES, device=device, augment=change).sample(4, generator.manual_seed(0))
        for change in (None, augment)
    )
    assert seen == [((4 * WAYS * (SHOTS + QUERIES), 1, 1, 2), generator)]
    assert torch.equal(changed.support_x, -plain.support_x)
    assert torch.equal(changed.query_x, -plain.query_x)
    assert torch.equal(changed.query_y, plain.query_y)


@pytest.mark.parametrize(
    ("ways", "shots", "queries", "message"),
    [
        (5, 1, 1, "5 ways need 5 classes, but there are 4"),
        (2, 4, 6, "4 shots and 6 queries need 10 examples of a class, but the smallest class has 9"),
        (0, 1, 1, "ways is 0"),
        (2, 0, 1, "shots is 0"),
        (2, 1, -1, "queries is -1"),
    ],
)
def test_impossible_episodes_are_refused(ways: int, shots: int, queries: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EpisodeSampler(numbered_classes(), ways, shots, queries)


def test_as_many_ways_shots_and_queries_as_there_are_is_possible(device: torch.device) -> None:
    task = EpisodeSampler(numbered_classes(), 4, 4, 5, device=device).sample(1)
    assert task.query_x.shape == (1, 20, 1, 1, 2)


def test_pixels_that_are_not_finite_are_refused() -> None:
    classes = numbered_classes()
    classes[2][3, 0, 1] = float("nan")
    with pytest.raises(ValueError, match="class 2 has NaN or infinite pixels"):
        EpisodeSampler(classes, WAYS, SHOTS, QUERIES)


# ---------------------------------------------------------------------------------------------------------------
# Colour, any size, and what is no picture


@pytest.mark.parametrize("size", [(32, 32), (84, 84), (5, 8)])
@pytest.mark.parametrize("channels", [1, 3])
def test_coloured_pictures_keep_their_channels_and_size(
    channels: int, size: tuple[int, int], device: torch.device
) -> None:
    images = torch.randint(256, (4, 9, channels, *size), dtype=torch.uint8)
    sampler = EpisodeSampler(images, WAYS, SHOTS, QUERIES, device=device)
    task = sampler.sample(2)
    assert task.support_x.shape == (2, WAYS * SHOTS, channels, *size)
    assert task.query_x.shape == (2, WAYS * QUERIES, channels, *size)
    assert task.query_x.dtype == torch.float32
    known = {picture.tobytes() for picture in (images.flatten(0, 1).float() / 255).numpy()}
    assert all(picture.tobytes() in known for picture in task.query_x.flatten(0, 1).cpu().numpy())


def test_each_channel_of_a_coloured_picture_is_drawn_like_a_grey_picture(device: torch.device) -> None:
    images = torch.randint(256, (4, 9, 3, 6, 7), dtype=torch.uint8)
    coloured = EpisodeSampler(images, WAYS, SHOTS, QUERIES, device=device).sample(2).query_x
    for channel in range(3):
        grey = EpisodeSampler(images[:, :, channel], WAYS, SHOTS, QUERIES, device=device).sample(2).query_x
        assert torch.equal(coloured[:, :, channel : channel + 1], grey)


def test_augmentation_sees_coloured_pictures(device: torch.device) -> None:
    shapes = []

    def augment(pictures: Tensor, generator: torch.Generator) -> Tensor:
        shapes.append(pictures.shape)
        return 1 - pictures

    images = torch.rand(4, 9, 3, 6, 7)
    plain, changed = (
        EpisodeSampler(images, WAYS, SHOTS, QUERIES, device=device, augment=change).sample(2)
        for change in (None, augment)
    )
    assert shapes == [(2 * WAYS * (SHOTS + QUERIES), 3, 6, 7)]
    torch.testing.assert_close(changed.query_x, 1 - plain.query_x)


def test_numpy_arrays_are_as_good_as_tensors(device: torch.device) -> None:
    images = torch.rand(4, 9, 3, 6, 7)
    pair = [EpisodeSampler(kind, WAYS, SHOTS, QUERIES, device=device).sample(1) for kind in (images, images.numpy())]
    assert torch.equal(pair[0].query_x, pair[1].query_x)


GREY = torch.rand(9, 6, 7)
BYTES = (255 * GREY).to(torch.uint8)


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (
            [BYTES, BYTES, GREY],
            r"class 2 have dtype torch.float32, those of class 0 torch.uint8; .* uint8 alone is scaled",
        ),
        ([GREY, GREY.double()], r"class 1 have dtype torch.float64, those of class 0 torch.float32"),
        ([GREY, torch.rand(9, 3, 6, 7)], r"class 1 have shape \(3, 6, 7\), those of class 0 \(6, 7\)"),
        ([GREY, torch.rand(9, 6, 8)], r"class 1 have shape \(6, 8\), those of class 0 \(6, 7\)"),
        ([BYTES.long(), BYTES.long()], r"class 0 has dtype torch.int64; pictures are uint8"),
        ([torch.rand(9, 32, 32, 3)], r"class 0 has shape \(9, 32, 32, 3\), which looks like .*movedim"),
        ([torch.rand(9, 64)], r"class 0 has shape \(9, 64\); pictures have the shape"),
    ],
)
def test_what_is_no_picture_or_differs_is_refused(classes: list[Tensor], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EpisodeSampler(classes, 1, SHOTS, QUERIES)


def test_floats_beyond_1_are_refused_if_augment_would_cut_them_off() -> None:
    pictures = 255 * torch.rand(2, 9, 6, 7)
    EpisodeSampler(pictures, 2, SHOTS, QUERIES)  # standardised pictures, say
    with pytest.raises(ValueError, match=r"class 0 has pixels from .* which Augment would cut off"):
        EpisodeSampler(pictures, 2, SHOTS, QUERIES, augment=Augment())
    EpisodeSampler(pictures / 255, 2, SHOTS, QUERIES, augment=Augment())


# ---------------------------------------------------------------------------------------------------------------
# Drawing without replacement


def test_all_ordered_draws_without_replacement_are_equally_likely(device: torch.device) -> None:
    """Chi-squared of the 12 ordered pairs out of 4, for 60,000 draws with a fixed seed.

    With 11 degrees of freedom a uniform draw exceeds 31.3 once in 1,000 seeds. Leaving out the final shuffle
    (Floyd's own order prefers some) or drawing with a wrong last number gives thousands.
    """
    draws, generator = 60_000, torch.Generator(device).manual_seed(0)
    pairs = draw_without_replacement(torch.full((draws,), 4, device=device), 2, generator)
    observed = torch.tensor(
        [(pairs == torch.tensor(pair, device=device)).all(1).sum() for pair in permutations(range(4), 2)]
    )
    assert observed.sum() == draws  # so no number twice, and none out of range
    expected = draws / 12
    assert ((observed - expected) ** 2 / expected).sum() < 31.3


def test_drawing_all_numbers_gives_a_permutation_of_them(device: torch.device) -> None:
    counts = torch.full((100,), 7, device=device)
    drawn = draw_without_replacement(counts, 7, torch.Generator(device).manual_seed(0))
    assert (drawn.sort(dim=1).values == torch.arange(7, device=device)).all()
    assert len(drawn.unique(dim=0)) > 90
