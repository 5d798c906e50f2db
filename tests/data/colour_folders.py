"""Small imitations of miniImageNet and of CIFAR-100, in the layouts of the real ones."""

import csv
import hashlib
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision.datasets import CIFAR100

PARTS = {"train": 64, "val": 16, "test": 20}
EXAMPLES = 18  # pictures of a class
# CIFAR-100's classes as its authors list them, by superclass (Krizhevsky 2009), in the spelling of its files.
BY_SUPERCLASS = """
beaver dolphin otter seal whale                        aquarium_fish flatfish ray shark trout
orchid poppy rose sunflower tulip                      bottle bowl can cup plate
apple mushroom orange pear sweet_pepper                clock keyboard lamp telephone television
bed chair couch table wardrobe                         bee beetle butterfly caterpillar cockroach
bear leopard lion tiger wolf                           bridge castle house road skyscraper
cloud forest mountain plain sea                        camel cattle chimpanzee elephant kangaroo
fox porcupine possum raccoon skunk                     crab lobster snail spider worm
baby boy girl man woman                                crocodile dinosaur lizard snake turtle
hamster mouse rabbit shrew squirrel                    maple_tree oak_tree palm_tree pine_tree willow_tree
bicycle bus motorcycle pickup_truck train              lawn_mower rocket streetcar tank tractor
"""
CIFAR_100 = tuple(BY_SUPERCLASS.split())


def class_names(part: str) -> list[str]:
    """Names in the form of ImageNet's, sorted."""
    first = 10_000_000 * (1 + list(PARTS).index(part))
    return [f"n{first + 7 * index:08}" for index in range(PARTS[part])]


def make_miniimagenet(folder: Path, side: int = 12) -> None:
    """Write the three parts, with a folder for each class.

    Picture k of class c has everywhere about the colour (2 c, 12 k, 128), with c in its part and k from 0.
    """
    for part in PARTS:
        for index, name in enumerate(class_names(part)):
            (folder / part / name).mkdir(parents=True)
            for example in range(EXAMPLES):
                picture = Image.new("RGB", (side, side), (2 * index, 12 * example, 128))
                picture.save(folder / part / name / f"{name}{example:08}.jpg", quality=95)


def copy_of(folder: Path, to: Path) -> Path:
    """Copy a folder, with links to the files, which are not changed."""
    shutil.copytree(folder, to, copy_function=os.link)
    return to


def as_published(folder: Path, *, folders: bool = False, images: str = "images") -> None:
    """Turn folders of parts into lists of the published form and a folder of images, of all or by class."""
    (folder / images).mkdir(exist_ok=True)
    for part in PARTS:
        with open(folder / f"{part}.csv", "w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(["filename", "label"])
            for one in sorted((folder / part).iterdir(), reverse=True):
                rows.writerows((file.name, one.name) for file in sorted(one.iterdir()))
                if folders:
                    one.rename(folder / images / one.name)
                else:
                    for file in one.iterdir():
                        file.rename(folder / images / file.name)
        shutil.rmtree(folder / part)


def make_cifar_100(root: Path) -> None:
    """Write the three files: picture k of class c has the colours c, k and 200, but a first row of 255, 0, 0.

    There are 15 pictures of a class for training, and 3 for testing.
    """
    folder = root / "cifar-100-python"
    folder.mkdir(parents=True)
    names = sorted(CIFAR_100)
    order = np.random.default_rng(0)
    for file, examples in (("train", range(15)), ("test", range(15, EXAMPLES))):
        labels = np.repeat(np.arange(100), len(examples))
        data = np.empty((len(labels), 3, 32, 32), dtype=np.uint8)
        data[:, 0] = labels[:, None, None]
        data[:, 1] = np.tile(examples, 100)[:, None, None]
        data[:, 2] = 200
        data[:, :, 0] = np.array([255, 0, 0], dtype=np.uint8)[:, None]
        # Classes are mixed; the pictures of each stay in their order.
        mixed = np.argsort(np.tile(np.arange(len(examples)), 100) * 1000 + order.permutation(100)[labels])
        content = {"data": data[mixed].reshape(len(labels), 3072), "fine_labels": labels[mixed].tolist()}
        (folder / file).write_bytes(pickle.dumps(content))
    (folder / "meta").write_bytes(pickle.dumps({"fine_label_names": names, "coarse_label_names": []}))


def announce(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tell torchvision the checksums of an imitation, so that it checks its files as it does the real ones."""
    folder = root / "cifar-100-python"
    found = {name: hashlib.md5((folder / name).read_bytes()).hexdigest() for name in ("train", "test", "meta")}
    monkeypatch.setattr(CIFAR100, "train_list", [["train", found["train"]]])
    monkeypatch.setattr(CIFAR100, "test_list", [["test", found["test"]]])
    monkeypatch.setattr(CIFAR100, "meta", CIFAR100.meta | {"md5": found["meta"]})
