"""Few-shot Omniglot and the way to MNIST: splits, looks and starts."""

import pytest
import torch

from metasgd.recipes import meta_train, omniglot, shipped
from metasgd.recipes.omniglot import CHARACTERS, LOOKS, OmniglotRecipe
from metasgd.recipes.recipe import METHODS

SMALL = {"width": 4, "iterations": 2, "meta_batch": 2}


@pytest.fixture(scope="module")
def drawings() -> torch.Tensor:
    """As many characters as Omniglot's: each picture has one white row and column, which tell its character."""
    made = torch.zeros(CHARACTERS, 20, 28, 28, dtype=torch.uint8)
    for character in range(CHARACTERS):
        made[character, :, character % 28] = 255
        made[character, :, :, character // 28 % 28] = 255
    return made


@pytest.fixture
def marked(monkeypatch) -> torch.Tensor:
    """Fifty characters, of which 30 train and 8 of these validate; every pixel of character c has the value c + 1."""
    monkeypatch.setattr(omniglot, "CHARACTERS", 50)
    monkeypatch.setattr(omniglot, "TRAINING", 30)
    monkeypatch.setattr(omniglot, "VALIDATION", 8)
    return torch.arange(1, 51, dtype=torch.uint8)[:, None, None, None].expand(-1, 20, 28, 28)


def characters_in(pictures) -> set[int]:
    """The characters whose marks occur in float pictures or in a list of classes."""
    pixels = torch.cat([p.flatten() for p in pictures]) if isinstance(pictures, list) else (pictures * 255).round()
    return {int(value) - 1 for value in pixels.unique()}


def test_training_validation_and_test_characters_are_disjoint(marked):
    """Through quarter turns, mirrors and composites, too: no pixel of the others reaches meta-training."""
    config = OmniglotRecipe(characters=22, mirrored=True, num_composites=10, ways=2)
    trained = characters_in(config.training_classes(marked))
    parts = config.split_characters()
    validated, tested = (characters_in(config.character_tasks(marked, part).sample(100).query_x) for part in parts[1:])
    assert (len(trained), len(validated), len(tested)) == (22, 8, 20)
    assert trained | validated | tested == set(range(50))


def test_the_split_is_that_of_the_design():
    """1,200 and 423 characters, the same for every seed."""
    training, validation, test = OmniglotRecipe().split_characters()
    assert (len(training), len(validation), len(test)) == (1200, 0, 423)
    assert not set(training) & set(test)
    assert OmniglotRecipe(seed=7, ways=20).split_characters() == (training, validation, test)
    shorter, validation, same_test = OmniglotRecipe(characters=1100).split_characters()
    assert set(shorter) | set(validation) == set(training)
    assert same_test == test


def test_characters_that_training_has_seen_are_not_tested(drawings):
    config = OmniglotRecipe(characters=CHARACTERS)
    with pytest.raises(ValueError, match="1623 characters of meta-training leave none of these out; lower characters"):
        config.character_tasks(drawings, config.split_characters()[2])


def test_quarter_turns_and_composites_are_new_classes(drawings):
    plain = OmniglotRecipe(quarter_turns=False)
    assert len(plain.training_classes(drawings)) == 1200
    assert len(OmniglotRecipe().training_classes(drawings)) == 4800
    assert len(OmniglotRecipe(num_composites=7).training_classes(drawings)) == 4807


def test_mirrored_characters_and_their_turns_are_new_classes(drawings):
    turned = OmniglotRecipe().training_classes(drawings)
    both = OmniglotRecipe(mirrored=True).training_classes(drawings)
    assert len(both) == 2 * len(turned)
    for one, other in zip(both[: len(turned)], turned, strict=True):
        assert torch.equal(one, other)
    quarter = len(turned) // 4  # a mirrored character turned by a half is the character upside down
    assert torch.equal(both[len(turned) + 2 * quarter], turned[0].flip(1))


def test_an_unsteady_hand_draws_the_training_and_not_the_test(drawings):
    config = OmniglotRecipe(look="unsteady")
    assert config.training_tasks(drawings).augment is omniglot.UNSTEADY_HAND
    assert config.character_tasks(drawings, config.split_characters()[2]).augment is None


def test_a_mixture_draws_from_each_sampler(drawings):
    samplers = [omniglot.digit_sampler([torch.full((30, 28, 28), value)] * 3, 2, 1) for value in (0.25, 0.5)]
    task = omniglot.Mixture(samplers).sample(5, torch.Generator())
    assert task.support_x.flatten(1).amax(1).tolist() == [0.25] * 3 + [0.5] * 2
    assert task.query_y.shape == (5, 30)
    assert omniglot.Mixture(samplers).sample(1, torch.Generator()).query_x.max() == 0.25


@pytest.mark.parametrize("look", LOOKS)
def test_every_look_draws_tasks_of_pictures(drawings, look, monkeypatch):
    monkeypatch.setattr(omniglot, "load_drawings", lambda _: drawings)  # of glyphs
    task = OmniglotRecipe(look=look).training_tasks(drawings).sample(2)
    assert task.support_x.shape == (2, 5, 1, 28, 28)
    assert 0 <= task.query_x.min() < task.query_x.max() <= 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "sgd"}, "method 'sgd' does not exist; choose one of meta-sgd, maml"),
        ({"look": "nice"}, "look 'nice' does not exist; choose one of pictures"),
        ({"characters": 2000}, "characters is 2000; Omniglot has 1 to 1623"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        OmniglotRecipe(**settings)


def test_a_run_starts_from_rows_of_a_learner_that_ships(drawings):
    start, _ = shipped.load_weights("omniglot-20way")
    settings = {"start": "omniglot-20way", "iterations": 1, "meta_lr": 1e-9}
    learner, _ = meta_train(OmniglotRecipe(ways=3, width=64, **settings), drawings, progress=False)
    for own, given in ((learner.theta, start.theta), (learner.alpha, start.alpha)):
        for name, value in own.items():
            torch.testing.assert_close(value, given[name][: len(value)], rtol=0, atol=1e-2)
    assert learner.theta["17.weight"].shape == (3, 64)
    with pytest.raises(ValueError, match=r"0\.weight has shape \(32, 1, 3, 3\), and that .* \(64, 1, 3, 3\); give"):
        meta_train(OmniglotRecipe(width=32, **settings), drawings)
    with pytest.raises(ValueError, match=r"17\.weight has shape \(30, 64\), and that"):
        meta_train(OmniglotRecipe(width=64, ways=30, **settings), drawings)


def test_without_a_start_a_run_begins_at_random():
    recipe = OmniglotRecipe(width=4)
    learner = recipe.make_learner()
    recipe.warm_start(learner)
    for name, value in recipe.make_learner().theta.items():
        assert torch.equal(learner.theta[name], value)


def test_no_run_starts_from_a_learner_that_has_seen_its_test():
    everything = OmniglotRecipe(characters=CHARACTERS, start="omniglot-mnist-5way")
    everything.warm_start(everything.make_learner())
    with pytest.raises(ValueError, match="omniglot-mnist-5way was meta-trained on 1623 characters, among them some"):
        meta_train(OmniglotRecipe(start="omniglot-mnist-5way"), torch.empty(0))


def test_methods_start_from_the_same_network():
    learners = [OmniglotRecipe(method=method, width=4).make_learner() for method in METHODS]
    for name, value in learners[0].theta.items():
        assert torch.equal(value, learners[1].theta[name])
    assert [any(rate.requires_grad for rate in learner.alpha.values()) for learner in learners] == [True, False]


def test_a_head_rate_makes_the_head_start_at_zero_and_leaves_the_rest():
    """Before the step, every class then looks the same, whatever the task."""
    usual, zeroed = (OmniglotRecipe(width=4, head_lr=rate).make_learner() for rate in (None, 2.0))
    assert zeroed.predict(torch.rand(3, 1, 28, 28)).tolist() == [[0] * 5] * 3
    head = {name for name, value in usual.theta.items() if not torch.equal(value, zeroed.theta[name])}
    assert [{value.unique().item() for name, value in zeroed.alpha.items() if name in head}] == [{2.0}]
    assert all(torch.equal(value, zeroed.alpha[name]) for name, value in usual.alpha.items() if name not in head)


def test_glyphs_are_as_many_as_characters(monkeypatch):
    monkeypatch.setattr(omniglot, "CHARACTERS", 7)
    glyphs = omniglot.load_drawings.__wrapped__("glyphs")
    assert (glyphs.shape, glyphs.dtype) == ((7, 20, 28, 28), torch.uint8)
