"""Tasks: what an episode holds, what the folds keep apart, and what linear regression promises."""

from itertools import permutations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from metasgd._core.task import device_or_default
from metasgd.data import load_mnist
from metasgd.tasks import (
    EpisodeSampler,
    LinearRegressionSampler,
    SineWaveSampler,
    composites,
    fold_digits,
    orientations,
)
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


# ---------------------------------------------------------------------------------------------------------------
# Episodes


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


# ---------------------------------------------------------------------------------------------------------------
# Folds of the digits


def test_the_folds_are_those_of_the_protocol() -> None:
    """Fold k holds out {2k, ..., 2k + 4} mod 10; written out here, so that nobody changes the protocol unseen."""
    assert [held_out for _, held_out in map(fold_digits, range(5))] == [
        (0, 1, 2, 3, 4),
        (2, 3, 4, 5, 6),
        (4, 5, 6, 7, 8),
        (0, 6, 7, 8, 9),
        (0, 1, 2, 8, 9),
    ]


def test_a_fold_splits_the_ten_digits() -> None:
    for fold in range(5):
        training, held_out = fold_digits(fold)
        assert sorted(training + held_out) == list(range(10))
        assert len(training) == len(held_out) == 5


@pytest.mark.parametrize("fold", [-1, 5])
def test_a_fold_that_does_not_exist_is_refused(fold: int) -> None:
    with pytest.raises(ValueError, match=f"fold {fold} does not exist; folds are 0 to 4"):
        fold_digits(fold)


def digits_that_say_their_name() -> list[Tensor]:
    """Two pictures of 2 x 2 pixels a digit: ten times the digit, plus where the pixel stands (0 to 3)."""
    return [10 * digit + torch.arange(4).reshape(1, 2, 2).expand(2, 2, 2) for digit in range(10)]


@pytest.mark.parametrize("fold", range(5))
def test_orientations_hold_no_held_out_digit_and_all_training_digits(fold: int) -> None:
    training, _ = fold_digits(fold)
    classes = orientations(digits_that_say_their_name(), training)
    assert {int(pixel) // 10 for pictures in classes for pixel in pictures.flatten()} == set(training)


def test_orientations_are_quarter_turns_without_those_that_look_like_a_digit() -> None:
    """3, 4 and 7 turn all the way; the others by 0 and 90 degrees, since half a turn makes a digit of them."""
    images = digits_that_say_their_name()
    turned = {digit: orientations(images, [digit]) for digit in range(10)}
    assert {digit for digit, classes in turned.items() if len(classes) == 4} == {3, 4, 7}
    assert {digit for digit, classes in turned.items() if len(classes) == 2} == {0, 1, 2, 5, 6, 8, 9}
    # [[0, 1], [2, 3]] turned to the left once, twice, three times.
    assert [(pictures[0] - 70).tolist() for pictures in turned[7]] == [
        [[0, 1], [2, 3]],
        [[1, 3], [0, 2]],
        [[3, 2], [1, 0]],
        [[2, 0], [3, 1]],
    ]
    assert [(pictures[0] - 60).tolist() for pictures in turned[6]] == [[[0, 1], [2, 3]], [[1, 3], [0, 2]]]


@pytest.mark.parametrize(("digit", "seen_as"), [(0, 0), (1, 1), (6, 9), (9, 6)])
def test_half_a_turn_makes_a_digit_again(digit: int, seen_as: int) -> None:
    """The reason for leaving turns out, on real digits: most turned pictures have this digit as nearest neighbour.

    Nearest by cosine among 800 pictures of each digit, for 200 other pictures: a held-out 9 comes back as a turned 6.
    """
    images = torch.stack(load_mnist(quiet=True)).float()
    known = F.normalize(images[:, :800].flatten(0, 1).flatten(1), dim=1)
    turned = F.normalize(torch.rot90(images[digit, 800:], 2, dims=(1, 2)).flatten(1), dim=1)
    neighbours = (turned @ known.T).argmax(1) // 800
    assert neighbours.mode().values == seen_as


def test_composites_join_the_left_of_one_class_to_the_right_of_another() -> None:
    images = digits_that_say_their_name()[:3]
    made = composites(images, 6, examples=5)
    pairs = set()
    for pictures in made:
        assert pictures.shape == (5, 2, 2)
        (left,), (right,) = ((pictures[..., side] // 10).unique().tolist() for side in (0, 1))
        assert pictures[0].fmod(10).tolist() == [[0, 1], [2, 3]]  # left pixels are left, right ones right
        pairs.add((left, right))
    assert pairs == set(permutations(range(3), 2))


def test_more_composites_than_pairs_are_refused() -> None:
    with pytest.raises(ValueError, match="7 composites need 7 pairs, but 3 classes have 6"):
        composites(digits_that_say_their_name()[:3], 7)


# ---------------------------------------------------------------------------------------------------------------
# Linear regression


def make_regression(device: torch.device, **options: object) -> LinearRegressionSampler:
    settings = {"weight_mean": [1.0, -2.0, 0.0], "noise": 0.5, "shots": 4, "queries": 6}
    return LinearRegressionSampler(
        [2.0, 1.0, 0.5], [0.5, 1.5, 0.0], **settings | options, device=device, dtype=torch.float64
    )


def test_a_regression_batch_has_the_promised_shapes(device: torch.device) -> None:
    task = make_regression(device).sample(7)
    assert [tuple(values.shape) for values in task] == [(7, 4, 3), (7, 4, 1), (7, 6, 3), (7, 6, 1)]
    assert {(values.dtype, values.device.type) for values in task} == {(torch.float64, device.type)}


def test_inputs_and_targets_have_the_promised_moments(device: torch.device) -> None:
    """x_i is N(0, s_i^2), and y has mean 0 and variance sum_i s_i^2 (m_i^2 + d_i^2) + noise^2.

    Here 4 * 1.25 + 1 * 6.25 + 0.25 * 0 + 0.25 = 11.5. Tolerances are five standard errors of 200,000 inputs
    (0.8% for a standard deviation) and of the variance of y over 20,000 tasks, whose weights are shared (5%).
    """
    support_x, support_y, query_x, query_y = make_regression(device).sample(20_000)
    x, y = torch.cat([support_x, query_x], 1), torch.cat([support_y, query_y], 1)
    scale = torch.tensor([2.0, 1.0, 0.5], dtype=torch.float64, device=device)
    torch.testing.assert_close(x.flatten(0, 1).std(0), scale, rtol=0.008, atol=0)
    assert (x.mean((0, 1)).abs() < 5 * scale / 200_000**0.5).all()
    assert y.var().item() == pytest.approx(11.5, rel=0.05)


def test_a_task_keeps_its_weights_over_support_and_query(device: torch.device) -> None:
    """Without noise, three support examples determine w, and the query targets follow from it exactly."""
    support_x, support_y, query_x, query_y = make_regression(device, noise=0.0, shots=3).sample(50)
    weights = torch.linalg.solve(support_x, support_y)
    torch.testing.assert_close(query_x @ weights, query_y, rtol=1e-6, atol=1e-6)  # some systems are near-singular
    assert weights[:, 1].std() > 1  # the tasks differ in this weight
    torch.testing.assert_close(weights[:, 2], torch.zeros_like(weights[:, 2]), rtol=0, atol=1e-6)  # not in this one


def test_the_noise_has_its_standard_deviation(device: torch.device) -> None:
    """With known weights (of no spread) the residual is the noise; five standard errors of 100,000 draws are 1.2%."""
    sampler = LinearRegressionSampler([1.0], [0.0], [3.0], noise=0.5, device=device, dtype=torch.float64)
    task = sampler.sample(5_000)
    residual = torch.cat([task.support_y - 3 * task.support_x, task.query_y - 3 * task.query_x], 1)
    assert residual.std().item() == pytest.approx(0.5, rel=0.012)


def test_samplers_draw_on_the_default_device_unless_told_otherwise() -> None:
    assert device_or_default(None) == torch.device("cpu")
    with torch.device("meta"):
        assert device_or_default(None) == torch.device("meta")
        assert device_or_default("cpu") == torch.device("cpu")
    images = numbered_classes()
    for sampler in (
        LinearRegressionSampler([1.0], [1.0]),
        SineWaveSampler(),
        EpisodeSampler(images, WAYS, SHOTS, QUERIES),
    ):
        assert sampler.device == sampler.sample(2).query_x.device == torch.device("cpu")


def test_the_same_seed_draws_the_same_regression_tasks(device: torch.device) -> None:
    first, again, other = (make_regression(device, seed=seed).sample(3).query_y for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("shots", [1, 4])
def test_best_alpha_minimises_the_query_loss_of_drawn_tasks(shots: int, device: torch.device) -> None:
    """Brute force: for fixed theta the query loss over many tasks is a quadratic in alpha, so solve for its minimum.

    theta' = theta - alpha * g makes the query residual ``r - sum_i alpha_i x_i g_i``, a linear regression of r on
    the columns x_i g_i. 400,000 tasks leave a standard error of 1% in the solution; five of them are allowed.
    """
    sampler = LinearRegressionSampler(
        [2.0, 1.0], [0.5, 1.5], [1.0, -2.0], noise=2.0, shots=shots, queries=6, device=device, dtype=torch.float64
    )
    support_x, support_y, query_x, query_y = sampler.sample(400_000)
    theta = sampler.weight_mean[:, None]
    gradient = 2 * support_x.mT @ (support_x @ theta - support_y) / shots  # of the mean squared error
    columns = (query_x * gradient.mT).flatten(0, 1)
    residual = (query_x @ theta - query_y).flatten()
    best = torch.linalg.solve(columns.T @ columns, columns.T @ residual)
    torch.testing.assert_close(sampler.best_alpha(), best, rtol=0.05, atol=0)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (([1.0, 1.0], [1.0]), {}, r"lengths are \{'input_scale': 2, 'weight_scale': 1, 'weight_mean': 2\}"),
        (([1.0], [1.0], [1.0, 2.0]), {}, r"'weight_mean': 2"),
        (([-1.0], [1.0]), {}, "must not be negative"),
        (([1.0], [1.0]), {"noise": -0.1}, "must not be negative"),
        (([1.0], [1.0]), {"shots": 0}, "shots is 0"),
        (([1.0], [1.0]), {"queries": 0}, "queries 0"),
    ],
)
def test_impossible_regression_tasks_are_refused(arguments: tuple, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LinearRegressionSampler(*arguments, **options)
