"""Pictures of one's own: which classes train, validate and test, and that a folder which shifts them is refused."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from PIL import Image

from metasgd.cli import main
from metasgd.data import PicturesByClass, load_folder, load_mnist_sample
from metasgd.recipes import load_run, meta_train
from metasgd.recipes.folder_images import FolderRecipe, some_of
from tests.data.sheets import drawn_on_sheet

NAMES = [f"class {place:02}" for place in range(20)]
SMALL = FolderRecipe(width=4, ways=2, iterations=2, meta_batch=2, train_queries=2, queries=3)


def pictures(names=NAMES, count=5, size=28, colour=False) -> PicturesByClass:
    """Pictures that are all of one shade, by which their class can be told."""
    shape = (count, 3, size, size) if colour else (count, size, size)
    classes = [torch.full(shape, 10 * NAMES.index(name) + 10, dtype=torch.uint8) for name in names]
    return PicturesByClass(classes, list(names), [[] for _ in names])


def names_in(sampler) -> set[str]:
    """The classes of many tasks, by their shades."""
    task = sampler.sample(200, torch.Generator().manual_seed(0))
    shades = torch.cat([task.support_x.flatten(2), task.query_x.flatten(2)], 1).amax(-1) * 255
    return {NAMES[round(shade) // 10 - 1] for shade in shades.unique().tolist()}


def test_training_validation_and_test_have_their_own_classes():
    recipe = replace(SMALL, validation_classes=4, test_classes=6, augment=False, quarter_turns=True)
    data = pictures()
    split = recipe.split_classes(data.names)
    assert [len(part) for part in split] == [10, 4, 6]
    assert sorted(name for part in split for name in part) == NAMES
    for part, tasks in zip(split, (recipe.training_tasks, recipe.validation_tasks, recipe.test_tasks), strict=True):
        assert names_in(tasks(data)) == set(part)


def test_a_fifth_is_left_for_the_test_and_at_least_as_many_as_ways():
    assert len(SMALL.split_classes(NAMES).test) == 4
    assert len(replace(SMALL, ways=7).split_classes(NAMES).test) == 7
    assert SMALL.split_classes(NAMES).validation == []
    assert SMALL.validation_tasks(pictures()) is None


def test_the_split_depends_on_names_and_its_seed_alone():
    split = SMALL.split_classes(NAMES)
    assert SMALL.split_classes(NAMES[::-1]) == split
    assert replace(SMALL, seed=5, width=8).split_classes(NAMES) == split
    assert replace(SMALL, split_seed=5).split_classes(NAMES) != split


def test_the_pictures_follow_their_names_in_any_order():
    assert names_in(SMALL.test_tasks(pictures(NAMES[::-1]))) == set(SMALL.split_classes(NAMES).test)


def test_the_network_is_made_for_the_size_and_the_colours(tmp_path):
    recipe = replace(SMALL, size=32, colour=True)
    learner, _ = meta_train(recipe, pictures(size=32, colour=True), out=tmp_path, progress=False)
    assert learner.model[0].in_channels == 3
    assert load_run(tmp_path).learner(torch.rand(2, 3, 32, 32), torch.arange(2), torch.rand(1, 3, 32, 32)).shape == (
        1,
        2,
    )


def test_drawings_are_augmented_in_thickness_and_coloured_pictures_are_not():
    assert SMALL.training_tasks(pictures()).augment.thickness > 0
    assert replace(SMALL, colour=True).training_tasks(pictures(colour=True)).augment.thickness == 0
    assert replace(SMALL, augment=False).training_tasks(pictures()).augment is None
    assert SMALL.test_tasks(pictures()).augment is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test_classes": 1}, "test_classes is 1, and a task has 2 classes; make it 2 or more, or none"),
        ({"validation_classes": 1}, "validation_classes is 1, and a task has 2 classes; make it 2 or more, or 0"),
        ({"ink": True, "colour": True}, "ink makes grey pictures of 28 x 28 pixels, and colour is on; leave one"),
        ({"ink": True, "size": 84}, "ink makes grey pictures of 28 x 28 pixels, and size is 84; leave one"),
        ({"size": 8}, "size is 8; it must be at least 16"),
    ],
)
def test_settings_that_contradict_one_another_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, **settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"test_classes": 19}, "of 20 classes, 19 are left out for the test and 0 for validation, and 1 remain"),
        ({"ways": 11}, "of 20 classes, 11 are left out for the test and 0 for validation, and 9 remain"),
        ({"test_classes": 15, "validation_classes": 9}, "and 0 remain for meta-training, whose tasks have 2; add"),
        ({"shots": 4}, r"of the test classes, has 5 pictures, and 4 shots and 3 queries need 7; .* or queries"),
        (
            {"train_queries": 9},
            r"of the training classes, has 5 pictures, and 1 shots and 9 queries need 10; .* train_",
        ),
        ({"validation_classes": 2, "queries": 5}, "of the (test|validation) classes, has 5 pictures"),
    ],
)
def test_a_folder_that_is_too_small_is_refused_before_any_work(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        meta_train(replace(SMALL, **settings), pictures(), out=tmp_path / "run", progress=False)
    assert not (tmp_path / "run" / "checkpoint.pt").exists()


def test_a_folder_must_be_named():
    with pytest.raises(ValueError, match="name their folder by --data FOLDER"):
        SMALL.load_data()
    with pytest.raises(ValueError, match="uses no data that could be downloaded"):
        SMALL.load_data("own", download=True)


# Runs and their folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of eight classes of five pictures."""
    for place in range(8):
        own = tmp_path / "own" / f"class {place}"
        own.mkdir(parents=True)
        for count in range(5):
            Image.new("RGB", (40, 30), (20 * place, 20 * count, 100)).save(own / f"{count}.png")
    return tmp_path / "own"


@pytest.fixture
def run(folder: Path, tmp_path: Path) -> Path:
    meta_train(SMALL, SMALL.load_data(folder), out=tmp_path / "run", progress=False)
    return tmp_path / "run"


def evaluated(capsys, run, folder, *words) -> tuple[int, str, str]:
    command = ["evaluate", "--checkpoint", run, "--data", folder, "--tasks", 3, "--device", "cpu", *words]
    status = main([str(word) for word in command])
    streams = capsys.readouterr()
    return status, streams.out, streams.err


def test_a_checkpoint_names_the_classes_of_each_part(run, folder, capsys):
    expected = SMALL.split_classes([f"class {place}" for place in range(8)])
    assert load_run(run).checkpoint.config["classes"] == expected._asdict()
    status, out, err = evaluated(capsys, run, folder, "--baselines")
    assert status == 0, err
    assert json.loads(out)["config"]["classes"]["test"] == expected.test
    assert "nearest class mean" in json.loads(out)["methods"]


def test_more_pictures_of_the_same_classes_are_tested_on(run, folder, capsys):
    shutil.copy(folder / "class 0" / "0.png", folder / "class 0" / "more.png")
    assert evaluated(capsys, run, folder)[0] == 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: shutil.copytree(folder / "class 0", folder / "another"), "'another' is new, by which"),
        (lambda folder: shutil.rmtree(folder / "class 3"), "'class 3' is missing, by which"),
        (lambda folder: (folder / "class 0").rename(folder / "z"), "'z' is new and 'class 0' is missing, by which"),
    ],
)
def test_a_folder_whose_classes_have_changed_is_not_tested_on(run, folder, capsys, change, message):
    """The split of so changed names tests classes that were trained on."""
    change(folder)
    status, out, err = evaluated(capsys, run, folder)
    assert (status, out) == (2, "")
    assert f"the classes of the folder are not those of the run: {message}" in err.splitlines()[-1]


def test_a_folder_whose_classes_have_changed_is_not_trained_on_further(run, folder, tmp_path):
    shutil.copytree(folder / "class 0", folder / "another")
    with pytest.raises(ValueError, match=r"other settings of .*'classes'"):
        meta_train(SMALL, SMALL.load_data(folder), out=run, resume=True, progress=False)


def test_accents_that_a_system_stores_apart_are_the_same_name():
    config = {"classes": {"training": ["na\u00efve", "b"], "validation": [], "test": ["c"]}}
    SMALL.check_same_data(PicturesByClass([], ["b", "c", "nai\u0308ve"], []), config)


def test_many_changes_are_counted():
    assert some_of({"a"}) == "'a' is"
    assert some_of(set("abcde")) == "'a', 'b', 'c' and 2 more are"


def test_a_run_on_photographs_of_drawings_reads_others(tmp_path, capsys):
    """From the folder to the answers: training on imitated photographs, a test, and the answers of adapt."""
    generator, digits = torch.Generator().manual_seed(0), load_mnist_sample()
    for digit in range(6):
        own = tmp_path / "sheets" / f"digit {digit}"
        own.mkdir(parents=True)
        for count in range(5):
            sheet = drawn_on_sheet(digits[digit][count], generator, side=120)
            Image.fromarray(sheet.numpy()).save(own / f"{count}.png")
    recipe = replace(SMALL, ink=True)
    learner, _ = meta_train(recipe, recipe.load_data(tmp_path / "sheets"), out=tmp_path / "run", progress=False)
    assert learner.model[0].in_channels == 1
    test = recipe.split_classes(load_folder(tmp_path / "sheets", ink=True).names).test
    few = tmp_path / "few"
    for name in test:
        shutil.copytree(tmp_path / "sheets" / name, few / name)
    query = tmp_path / "sheets" / test[0]
    words = ["adapt", "--run", tmp_path / "run", "--support", few, "--query", query, "--device", "cpu"]
    assert main([str(word) for word in words]) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["ink"] is True
    assert [row["file"] for row in result["queries"]] == [f"{count}.png" for count in range(5)]
