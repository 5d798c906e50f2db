"""What every recipe promises: documented and frozen settings, a learner, tasks, a test, and runs that can be read."""

import math
from dataclasses import FrozenInstanceError, asdict, dataclass, fields, replace

import numpy as np
import pytest
import torch

from metasgd import MetaSGD, Task, checkpoints, training
from metasgd.checkpoints import Checkpoint, read_checkpoint, write_checkpoint
from metasgd.data import PARTS, PicturesByClass, load_mnist_sample
from metasgd.recipes import RECIPES, Contestant, Recipe, load_run, meta_train, recipe_of, setting
from metasgd.recipes.browser import BrowserRecipe
from metasgd.recipes.cifar_fs import CifarFsRecipe
from metasgd.recipes.contestants import META_LEARNERS
from metasgd.recipes.folder_images import FolderRecipe
from metasgd.recipes.glyphs import GlyphsRecipe
from metasgd.recipes.miniimagenet import MiniImageNetRecipe
from metasgd.recipes.mnist import MnistRecipe
from metasgd.recipes.navigation import NavigationRecipe
from metasgd.recipes.omniglot import CHARACTERS, OmniglotRecipe
from metasgd.recipes.sine import SineRecipe

SMALL_MNIST = MnistRecipe(width=4, iterations=4, meta_batch=2, num_composites=3)
SMALL_OMNIGLOT = OmniglotRecipe(width=4, iterations=4, meta_batch=2)
SMALL_COLOUR = {"ways": 2, "width": 4, "iterations": 4, "meta_batch": 2, "train_queries": 2, "use_validation": False}
SMALL: dict[str, Recipe] = {
    "mnist": SMALL_MNIST,
    "mnist, validated": replace(SMALL_MNIST, validation_digits=(7, 9), method="first-order"),
    "glyphs": GlyphsRecipe(width=4, iterations=4, meta_batch=2, fold=1, glyphs="none"),
    "omniglot": SMALL_OMNIGLOT,
    "images": FolderRecipe(width=4, ways=3, iterations=4, meta_batch=2, queries=3, quarter_turns=True),
    "images, validated": FolderRecipe(
        ways=2, width=4, iterations=4, meta_batch=2, queries=3, validation_classes=2, test_classes=3, augment=False
    ),
    "miniimagenet": MiniImageNetRecipe(**SMALL_COLOUR),
    "cifar-fs": CifarFsRecipe(**SMALL_COLOUR),
    "sine": SineRecipe(iterations=4, meta_batch=3),
    "sine, drawn rates": SineRecipe(iterations=4, meta_batch=3, task_lr=(0.005, 0.1), clip=None),
    "navigation": NavigationRecipe(iterations=4, meta_batch=2, trajectories=4, horizon=5, hidden=6),
    "browser": BrowserRecipe(width=8, groups=2, iterations=4, meta_batch=2, train_queries=2),
    "reptile on mnist": Contestant("reptile", SMALL_MNIST),
    "layer-rates on omniglot": Contestant("layer-rates", SMALL_OMNIGLOT),
    "protonet on mnist": Contestant("protonet", SMALL_MNIST),
}
small = pytest.mark.parametrize("recipe", SMALL.values(), ids=SMALL.keys())
every = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())


@pytest.fixture(scope="module")
def data():
    """MNIST's sample, and random pictures in place of all others, by what a recipe is about."""
    generator = torch.Generator().manual_seed(0)
    drawings = torch.randint(256, (CHARACTERS, 20, 28, 28), generator=generator).to(torch.uint8)
    digits = load_mnist_sample()
    names = [f"class {place}" for place in range(9)]
    own = PicturesByClass([drawings[place, : 6 + place] for place in range(9)], names, [[] for _ in names])
    colours = {
        size: {
            part: {
                name: torch.randint(256, (18, 3, size, size), generator=generator, dtype=torch.uint8)
                for name in ("bus", "cup", "fox")
            }
            for part in PARTS
        }
        for size in (32, 84)
    }
    found = {
        "mnist": digits,
        "glyphs": digits,
        "omniglot": drawings,
        "browser": drawings,
        "images": own,
        "miniimagenet": colours[84],
        "cifar-fs": colours[32],
    }

    def data_of(recipe: Recipe):
        problem = recipe.problem if isinstance(recipe, Contestant) else recipe
        return found.get(problem.name)

    return data_of


def assert_same_learner(first, second):
    ours, theirs = first.state_dict(), second.state_dict()
    assert ours.keys() == theirs.keys()
    for key in ours.keys() - {"_extra_state"}:
        assert torch.equal(ours[key], theirs[key]), key


def test_the_registry_has_every_recipe_by_its_name():
    assert RECIPES.keys() >= {"mnist", "omniglot", "sine", "navigation", "browser"}
    assert all(recipe.name == name for name, recipe in RECIPES.items())


def test_every_recipe_is_tested_here_at_a_small_size():
    assert RECIPES.keys() <= {recipe.name for recipe in SMALL.values()}


@every
def test_a_recipe_is_frozen(recipe):
    with pytest.raises(FrozenInstanceError):
        recipe().iterations = 3


@every
def test_the_documentation_of_a_recipe_has_every_setting_with_its_default(recipe):
    for one in fields(recipe):
        assert f"    {one.name}: {one.metadata['help']} (default: " in recipe.__doc__
        assert len(one.metadata["help"]) > 10


def test_a_setting_with_choices_or_a_least_number_is_checked():
    @dataclass(frozen=True)
    class Cake(Recipe):
        """A cake."""

        name = "cake"
        layers: int = setting(2, "layers of dough", least=1)
        cream: str = setting("vanilla", "between the layers", choices=("vanilla", "lemon"))

    assert Cake.choices("cream") == ("vanilla", "lemon")
    assert "    layers: layers of dough (default: 2)." in Cake.__doc__
    with pytest.raises(ValueError, match="cream 'soap' does not exist; choose one of vanilla, lemon"):
        Cake(cream="soap")
    with pytest.raises(ValueError, match="layers is 0; it must be at least 1"):
        Cake(layers=0)
    with pytest.raises(ValueError, match=r"layers is 2.5; it must be a whole number"):
        Cake(layers=2.5)
    assert Cake(layers=np.int64(3)).layers == 3


NUMBERS = [
    (recipe, one.name)
    for recipe in RECIPES.values()
    for one in fields(recipe)
    if isinstance(one.default, int | float) and not isinstance(one.default, bool)
]


@pytest.mark.parametrize("number", [math.nan, math.inf, -1])
@pytest.mark.parametrize(("recipe", "name"), NUMBERS, ids=lambda value: getattr(value, "name", value))
def test_a_number_that_is_not_finite_or_below_zero_is_refused(recipe, name, number):
    """Also the fold, and the number of characters, whose own sentences say how many there are."""
    with pytest.raises(ValueError, match=rf"{name} (is )?{number}(; |\.0; | does not exist)"):
        recipe(**{name: number})


def test_an_end_of_a_range_is_checked():
    with pytest.raises(ValueError, match=r"task_lr is \(0.005, nan\); it must be finite"):
        SineRecipe(task_lr=(0.005, math.nan))
    with pytest.raises(ValueError, match="clip is 0; it must be above 0"):
        SineRecipe(clip=0)


@small
def test_a_recipe_makes_the_same_learner_and_leaves_the_global_random_state_alone(recipe):
    before = torch.get_rng_state()
    first = recipe.make_learner()
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert_same_learner(first, recipe.make_learner())


@pytest.mark.parametrize("name", ["sine", "navigation", "omniglot"])
def test_maml_starts_where_meta_sgd_starts_and_keeps_its_one_rate(name, data):
    recipe = replace(SMALL[name], method="maml", task_lr=0.01)
    ours, maml = SMALL[name].make_learner(), recipe.make_learner()
    assert all(torch.equal(ours.theta[key], value) for key, value in maml.theta.items())
    assert [any(rate.requires_grad for rate in learner.alpha.values()) for learner in (ours, maml)] == [True, False]
    trained, _ = meta_train(recipe, data(recipe), progress=False)
    assert all((rate == 0.01).all() for rate in trained.alpha.values())


@small
def test_a_recipe_draws_the_same_tasks_for_training_and_test(recipe, data):
    learner = recipe.make_learner()
    for tasks_of in (recipe.training_tasks, recipe.test_tasks):
        first, second = (
            tasks_of(data(recipe), learner=learner).sample(2, torch.Generator().manual_seed(1)) for _ in range(2)
        )
        assert isinstance(first, Task)
        assert len(first.support_x) == 2
        assert all(torch.equal(one, other) for one, other in zip(first, second, strict=True))


@small
def test_a_recipe_tests_its_learner(recipe, data):
    learner = recipe.make_learner()
    scores = recipe.test(learner, data(recipe), 3, seed=5)
    again = recipe.test(learner, data(recipe), 3, seed=5)
    assert scores
    assert [score.mean for score in scores.values()] == [score.mean for score in again.values()]
    assert all(len(score.per_task) == 3 for score in scores.values())
    if recipe.metric == "accuracy":
        assert all(0 <= score.mean <= 1 for score in scores.values())


def test_tasks_of_navigation_need_the_learner_that_draws_them():
    with pytest.raises(ValueError, match="drawn by a learner's policy; give the learner"):
        NavigationRecipe().training_tasks(None)
    recipe = SMALL["navigation"]
    with pytest.raises(ValueError, match="draws trajectories from a generator; give one"):
        recipe.test_tasks(None, learner=recipe.make_learner()).sample(2)


def test_the_validation_of_a_recipe_is_the_one_that_made_the_stored_results(data):
    every = {
        "mnist": (100, 100),
        "omniglot": (100, 100),
        "sine": (1000, 100),
        "navigation": (50, 5),
        "browser": (100, 100),
        "images": (100, 100),
        "miniimagenet": (500, 1000),
        "cifar-fs": (500, 1000),
    }
    validated = {"mnist, validated", "navigation", "images, validated"}
    for name in {*every, *validated}:
        recipe = SMALL[name]
        assert (recipe.validation(data(recipe)) is not None) == (name in validated)
        assert (recipe.checkpoint_every, recipe.validate_every) == every[recipe.name]


def test_data_that_cannot_be_downloaded_are_not(data):
    for name in ("sine", "navigation"):
        with pytest.raises(ValueError, match=f"the recipe {name} uses no data that could be downloaded"):
            RECIPES[name]().load_data(download=True)


# Meta-training


@small
def test_a_run_that_is_interrupted_goes_on_bit_for_bit(recipe, data, tmp_path, monkeypatch):
    whole, history = meta_train(recipe, data(recipe), progress=False, validate_every=1)
    original = training.iteration_generator

    def interrupted(seed, iteration, device):
        if iteration == 2:
            raise KeyboardInterrupt
        return original(seed, iteration, device)

    options = {"out": tmp_path, "checkpoint_every": 1, "validate_every": 1, "progress": False}
    with monkeypatch.context() as patch:
        patch.setattr(training, "iteration_generator", interrupted)
        with pytest.raises(KeyboardInterrupt):
            meta_train(recipe, data(recipe), **options)
    assert read_checkpoint(tmp_path).iteration == 2
    resumed, its_history = meta_train(recipe, data(recipe), resume=True, **options)
    assert its_history == history
    assert_same_learner(resumed, whole)


@small
def test_a_run_is_loaded_with_its_learner_and_its_settings(recipe, data, tmp_path):
    learner, history = meta_train(recipe, data(recipe), out=tmp_path, validate_every=1, progress=False)
    run = load_run(tmp_path)
    assert run.recipe == recipe
    assert run.checkpoint.config["recipe"] == recipe.name
    assert run.checkpoint.history == history
    assert_same_learner(run.learner, learner)
    scores = [entry["validation"] for entry in history if "validation" in entry]
    assert run.iteration == (scores.index(max(scores)) + 1 if scores else 4)


def test_a_run_with_other_settings_does_not_go_on(tmp_path):
    recipe = SMALL["sine"]
    meta_train(recipe, out=tmp_path, progress=False)
    with pytest.raises(ValueError, match=r"other settings of \['shots'\]: \[10\], now \[5\]"):
        meta_train(replace(recipe, shots=5), out=tmp_path, resume=True, progress=False)


def test_a_run_on_other_images_does_not_go_on(data, tmp_path):
    images = data(SMALL_MNIST)
    meta_train(SMALL_MNIST, images, out=tmp_path, progress=False)
    fewer = [pictures[:500] for pictures in images]
    with pytest.raises(ValueError, match=r"other settings of \['images'\]: \[10000\], now \[5000\]"):
        meta_train(SMALL_MNIST, fewer, out=tmp_path, resume=True, progress=False)


def test_a_run_that_cannot_be_tested_is_refused_before_any_work(data, monkeypatch):
    monkeypatch.setattr(MetaSGD, "meta_update", lambda *_: pytest.fail("work was done first"))
    with pytest.raises(ValueError, match="6 ways need 6 classes, but there are 5; lower ways"):
        meta_train(replace(SMALL_MNIST, ways=6), data(SMALL_MNIST), progress=False)


# Checkpoints of format 1


def config_of_format_1(recipe: Recipe) -> dict:
    """What the program of format 1 stored, recipe by recipe, in the order of its dictionary."""
    if isinstance(recipe, Contestant):
        return {"data": recipe.problem.name, **asdict(recipe.problem), "method": recipe.method}
    images = {"images": 10_000} if recipe.name == "mnist" else {}
    return {"data": "web" if recipe.name == "browser" else recipe.name, **images, **asdict(recipe)}


def write_format_1(folder, recipe: Recipe, monkeypatch) -> MetaSGD:
    """Write a checkpoint with the state of an untrained learner as format 1 did, and return the learner."""
    learner = recipe.make_learner()
    folder.mkdir(exist_ok=True)
    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "FORMAT", 1)
        state = learner.state_dict()
        write_checkpoint(folder, Checkpoint(4, state, [{"loss": 1.0}] * 4, None, config_of_format_1(recipe)))
    assert torch.load(folder / checkpoints.CHECKPOINT, weights_only=True)["format"] == 1
    return learner


@small
def test_checkpoints_of_format_1_are_read(recipe, data, tmp_path, monkeypatch):
    learner = write_format_1(tmp_path, recipe, monkeypatch)
    run = load_run(tmp_path)
    assert run.recipe == recipe
    assert_same_learner(run.learner, learner)
    assert (run.iteration, len(run.checkpoint.history)) == (4, 4)


@pytest.mark.parametrize("method", META_LEARNERS)
def test_every_compared_method_of_format_1_is_read(method, tmp_path, monkeypatch):
    recipe = Contestant(method, SMALL_MNIST)
    learner = write_format_1(tmp_path, recipe, monkeypatch)
    run = load_run(tmp_path)
    assert run.recipe == recipe
    assert type(run.learner) is type(learner)


@pytest.mark.parametrize("method", ["meta-sgd", "maml"])
def test_a_compared_method_of_format_1_that_is_a_plain_run_on_omniglot_is_read_as_one(method, tmp_path, monkeypatch):
    """Nothing in such a file tells them apart, and theta, alpha and all settings are the same."""
    learner = write_format_1(tmp_path, Contestant(method, SMALL_OMNIGLOT), monkeypatch)
    run = load_run(tmp_path)
    assert run.recipe == replace(SMALL_OMNIGLOT, method=method)
    assert_same_learner(run.learner, learner)


def test_a_finished_run_of_format_1_goes_on_where_it_was(tmp_path, monkeypatch):
    learner = write_format_1(tmp_path, SMALL["sine"], monkeypatch)
    resumed, history = meta_train(SMALL["sine"], out=tmp_path, resume=True, progress=False)
    assert history == [{"loss": 1.0}] * 4
    assert_same_learner(resumed, learner)


@pytest.mark.parametrize(
    ("config", "named"), [({"data": "letters", "width": 4}, "'letters'"), ({"width": 4}, "None"), ({}, "None")]
)
def test_a_run_of_no_known_recipe_is_refused_in_one_sentence(config, named, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "FORMAT", 1)
    write_checkpoint(tmp_path, Checkpoint(4, {}, [], None, config))
    with pytest.raises(ValueError, match=rf"the run in .* cannot be read: it was made by the recipe {named}, "):
        load_run(tmp_path)


def test_settings_that_a_file_of_results_stores_make_the_recipe():
    """JSON has no tuples."""
    recipe = SineRecipe.from_config({"task_lr": [0.005, 0.1], "shots": 5, "beyond": "this recipe"})
    assert recipe == SineRecipe(task_lr=(0.005, 0.1), shots=5)
    assert recipe_of({"recipe": "mnist", "validation_digits": [7, 9]}) == MnistRecipe(validation_digits=(7, 9))
