"""Few-shot miniImageNet and CIFAR-FS: the network, the parts of the classes, and a run on generated pictures."""

from dataclasses import replace

import pytest
import torch

from metasgd.data import CIFAR_FS_CLASSES, PARTS, load_cifar_fs
from metasgd.evaluation import evaluate
from metasgd.experiments.published import CIFAR_FS, MINIIMAGENET
from metasgd.recipes import meta_train
from metasgd.recipes.cifar_fs import CifarFsRecipe
from metasgd.recipes.miniimagenet import MiniImageNetRecipe
from tests.data.colour_folders import class_names

BOTH = (MiniImageNetRecipe, CifarFsRecipe)
both = pytest.mark.parametrize("recipe", BOTH, ids=lambda recipe: recipe.name)


def marked(size, examples=20):
    """All 100 classes, of which class c, counted over train, val and test, has the value c + 1 in every pixel."""
    values = iter(range(1, 101))
    return {
        part: {f"{part} {i}": torch.full((examples, 3, size, size), next(values), dtype=torch.uint8) for i in range(n)}
        for part, n in PARTS.items()
    }


def classes_in(task):
    pixels = torch.cat([task.support_x[..., 0, 0, 0].flatten(), task.query_x[..., 0, 0, 0].flatten()])
    return {int(value) - 1 for value in (pixels * 255).round().unique()}


@both
def test_the_network_is_the_convnet_of_the_papers_in_colour(recipe):
    """Four blocks of 32 filters; of 84 x 84 pixels they leave 5 x 5, of 32 x 32 pixels 2 x 2."""
    shapes = {name: tuple(value.shape) for name, value in recipe().make_network().named_parameters()}
    convolutions = [shape for shape in shapes.values() if len(shape) == 4]
    assert convolutions == [(32, 3, 3, 3), *[(32, 32, 3, 3)] * 3]
    assert (5, 32 * {84: 25, 32: 4}[recipe.size]) in shapes.values()


@both
def test_no_class_of_one_part_is_in_tasks_of_another(recipe):
    data = marked(recipe.size)
    run = recipe(ways=10, train_queries=2)
    generator = torch.Generator().manual_seed(0)
    seen = {
        "train": classes_in(run.training_tasks(data).sample(8, generator)),
        "val": classes_in(run.validation_tasks(data).sample(8, generator)),
        "test": classes_in(run.test_tasks(data).sample(8, generator)),
    }
    assert seen["train"] <= set(range(64))
    assert len(seen["train"]) > 32
    assert seen["val"] == set(range(64, 80))
    assert seen["test"] == set(range(80, 100))


def test_more_ways_than_classes_are_refused_before_any_work():
    with pytest.raises(ValueError, match="ways is 21; cifar-fs has 20 classes in the test"):
        CifarFsRecipe(ways=21, use_validation=False)
    with pytest.raises(ValueError, match=r"ways is 17, and miniimagenet has 16 .*turn use_validation off"):
        MiniImageNetRecipe(ways=17)
    assert MiniImageNetRecipe(ways=20, use_validation=False).validation_tasks({}) is None


def test_a_run_loads_what_it_needs_and_no_more(small_cifar_100, small_miniimagenet):
    run = CifarFsRecipe()
    assert list(run.load_data(small_cifar_100)) == ["train", "val"]
    assert list(replace(run, use_validation=False).load_data(small_cifar_100)) == ["train"]
    assert {part: tuple(found) for part, found in run.load_test_data(small_cifar_100).items()} == {
        "test": CIFAR_FS_CLASSES["test"]
    }
    assert list(MiniImageNetRecipe().load_test_data(small_miniimagenet)["test"]) == class_names("test")


def test_data_of_another_part_are_refused():
    with pytest.raises(ValueError, match=r"the data have train, and test is needed; .*load_test_data"):
        CifarFsRecipe().test_tasks({"train": {}})


def test_too_few_pictures_are_found_before_any_work(small_miniimagenet, small_cifar_100):
    with pytest.raises(ValueError, match=r"has 18 pictures, and 20 are needed; add the others, or lower shots"):
        MiniImageNetRecipe(shots=5).load_data(small_miniimagenet)
    with pytest.raises(ValueError, match=r"has 18 pictures, and 19 are needed"):
        MiniImageNetRecipe(train_queries=18).load_data(small_miniimagenet)
    run = CifarFsRecipe(shots=5, train_queries=1)
    with pytest.raises(
        ValueError, match="5 shots and 15 queries need 20 pictures of a class, but apple of train has 18"
    ):
        meta_train(run, run.load_data(small_cifar_100), progress=False)


def test_miniimagenet_is_not_downloaded():
    with pytest.raises(ValueError, match=r"cannot be downloaded by this program.*image-net.org"):
        MiniImageNetRecipe().load_data(download=True)


@both
def test_the_documentation_quotes_the_published_numbers(recipe):
    text = " ".join(recipe.__doc__.split())
    published = MINIIMAGENET["Meta-SGD"] if recipe is MiniImageNetRecipe else CIFAR_FS["MAML"]
    for accuracy in published.values():
        assert f"{100 * accuracy:.4g}" in text


def test_a_short_run_learns_to_tell_new_colours_apart(small_cifar_100):
    """Each class of the imitation has a red of its own; from one picture a class, guessing would score 1/3."""
    run = CifarFsRecipe(ways=3, width=8, iterations=30, train_queries=5, task_lr=0.1, meta_lr=3e-3, alpha_lr=3e-3)
    learner, history = meta_train(run, run.load_data(small_cifar_100), progress=False, validate_every=30)
    tasks = run.test_tasks(load_cifar_fs(small_cifar_100, ["test"], quiet=True))
    assert any("validation" in entry for entry in history)
    assert evaluate(learner, tasks, 50).mean > 0.6
