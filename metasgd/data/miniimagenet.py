"""miniImageNet, from a folder in the usual split of its classes (chapter 12)."""

import csv
import os
import re
from collections.abc import Collection, Mapping
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from metasgd._core.checks import check_counts
from metasgd._core.messages import logger
from metasgd.data.folder import class_folders
from metasgd.data.parts import EXAMPLES, PARTS, check_parts, in_numbers
from metasgd.data.pictures import picture_files, read_picture

COLUMNS = ("filename", "label")  # of the published lists
LAYOUT = (
    "must hold train/, val/ and test/, with a folder for each of their 64, 16 and 20 classes, or else images/, and "
    "beside it train.csv, val.csv and test.csv, as Ravi and Larochelle published them"
)
SOURCE = (
    "its pictures are ImageNet's (image-net.org, on terms that you must accept there), and the lists of its classes "
    "are at github.com/twitter-research/meta-learning-lstm"
)

Files = dict[str, dict[str, list[Path]]]  # by part and class


def load_miniimagenet(
    root: str | Path | None = None,
    parts: Collection[str] = tuple(PARTS),
    *,
    size: int = 84,
    examples: int = 1,
    quiet: bool = False,
) -> dict[str, dict[str, Tensor]]:
    """Load miniImageNet: 600 colour pictures of 84 x 84 pixels of each of 100 classes of ImageNet (chapter 12).

    Its classes are divided as by Ravi and Larochelle, "Optimization as a model for few-shot learning", 2017: 64 to
    meta-train, 16 to validate and 20 to test. The folder has one of two forms::

        train/n01532829/*.jpg        a folder for each class, in a folder for each part: train, val, test
        images/n0153282900000005.jpg all pictures, and beside them train.csv, val.csv and test.csv, whose columns
                                     filename and label say which picture is of which class

    With the CSV files, each class may also have a folder of its own, ``images/n01532829/``, and all may lie beside the
    CSV files, without ``images/``. What lies in the folder of a class is all of the class, whatever the files are
    called.

    A picture is read by ``read_picture``: one of 84 x 84 pixels as it is, any other scaled and cut to a square. Large
    originals take some minutes, and 38,400 pictures of meta-training 813 MB of memory; all 60,000 take 1.27 GB.

    Args:
        root: the folder, or one that contains it as ``miniimagenet``, in any spelling, such as ``mini-ImageNet``
            (None: the folder that the environment variable ``METASGD_DATA`` names).
        parts: which parts are read, some of ``"train"``, ``"val"`` and ``"test"``. The names of the classes and the
            numbers of the pictures of all three are checked first, in any case.
        size: the height and width of the results in pixels.
        examples: how many pictures each class must have at least.
        quiet: show no progress, and do not say which source was used; else it is a message, see
            ``metasgd.show_messages``.

    Returns:
        by part and by the name of a class, sorted, uint8 of shape (examples, 3, size, size).

    Raises:
        FileNotFoundError: no folder is named, it is not there, it has neither form, or a picture of a list is missing.
        NotADirectoryError: it is a file.
        ValueError: a part has another number of classes than it should, or a class of another part; a class has too
            few pictures; a list without its columns, or with a picture twice; a file that is no PNG or JPEG, or is
            damaged; a part that does not exist.
    """
    check_parts(parts)
    check_counts(size=size, examples=examples)
    folder = _find_folder(root)
    has_folders = all((folder / part).is_dir() for part in PARTS)
    files = {part: _files_in_folders(folder / part) if has_folders else _files_in_list(folder, part) for part in PARTS}
    _check_split(folder, files, examples)
    found = {part: _read(files[part], size, f"miniImageNet, {part}", quiet) for part in parts}
    if not quiet:
        logger.info(f"miniImageNet ({in_numbers(found)}), from {folder}")
    return found


def _find_folder(root: str | Path | None) -> Path:
    """Return the folder that has one of the two forms: the one that is named, or miniimagenet in it."""
    root = root or os.environ.get("METASGD_DATA")
    if not root:
        raise FileNotFoundError(
            "miniImageNet is not part of the package, and no folder was named; pass root='data' (--data-root data), "
            f"or set METASGD_DATA; the folder {LAYOUT}; {SOURCE}"
        )
    root = Path(root).expanduser()
    if root.is_file():
        raise NotADirectoryError(f"{root} is a file; unpack it, and name the folder, which {LAYOUT}")
    if not root.is_dir():
        raise FileNotFoundError(
            f"the folder {root} does not exist; name the folder of miniImageNet, which {LAYOUT}; {SOURCE}"
        )
    inside = [path for path in sorted(root.iterdir()) if re.sub(r"[-_ ]", "", path.name.lower()) == "miniimagenet"]
    for folder in (*inside, root):
        if any(all((folder / f"{part}{end}").exists() for part in PARTS) for end in ("", ".csv")):
            return folder
    looked = " and ".join(map(str, (*inside, root)))
    raise FileNotFoundError(f"miniImageNet is not in {looked}; the folder {LAYOUT}; {SOURCE}")


def _files_in_folders(folder: Path) -> dict[str, list[Path]]:
    """Return the pictures of each class of a part, from a folder for each class."""
    return {one.name: picture_files(one) for one in class_folders(folder)}


def _files_in_list(folder: Path, part: str) -> dict[str, list[Path]]:
    """Return the pictures of each class of a part, from the part's list."""
    base = folder / "images" if (folder / "images").is_dir() else folder
    present = {path.name for path in base.iterdir()}
    classes: dict[str, list[Path]] = {}
    for name, label in _rows(folder / f"{part}.csv"):
        classes.setdefault(label, []).append(base / name)
    for label, named in classes.items():
        if (base / label).is_dir():
            classes[label] = picture_files(base / label)
            continue
        if missing := [path for path in named if path.name not in present]:
            raise FileNotFoundError(
                f"{missing[0]} is missing, and so is a folder {base / label}, though {part}.csv lists "
                f"{len(named)} pictures of the class {label}, of which {len(missing)} are missing; copy the pictures "
                f"into {base}"
            )
        if len(set(named)) < len(named):
            raise ValueError(f"{folder / part}.csv lists a picture of the class {label} twice; get the list again")
    return dict(sorted(classes.items()))


def _rows(file: Path) -> list[tuple[str, str]]:
    """Return the rows of a list: the name of a picture, and its class."""
    try:
        with open(file, newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file} cannot be read as CSV ({error}); get the list again") from error
    if not rows:
        raise ValueError(f"{file} lists no picture; get the list again")
    pairs = [tuple((row.get(column) or "").strip() for column in COLUMNS) for row in rows]
    for line, (name, label) in enumerate(pairs, 2):
        if not name or not label or {name, label} & {".", ".."} or re.search(r"[/\\]", name + label):
            raise ValueError(
                f"line {line} of {file} names no picture and class; its columns must be filename and label, as in "
                "n0153282900000005.jpg,n01532829"
            )
    return [(name, label) for name, label in pairs]


def _check_split(folder: Path, files: Files, examples: int) -> None:
    """Refuse parts that are not those of miniImageNet, or too small."""
    for part, count in PARTS.items():
        if len(files[part]) != count:
            raise ValueError(
                f"{part} in {folder} has {len(files[part])} classes instead of {count}; the usual split of Ravi and "
                "Larochelle has 64 in train, 16 in val and 20 in test"
            )
    where: dict[str, str] = {}
    for part, classes in files.items():
        for name, own in classes.items():
            if name in where:
                raise ValueError(
                    f"the class {name} is in {where[name]} and in {part} of {folder}; a class may be in one part alone"
                )
            where[name] = part
            if len(own) < examples:
                raise ValueError(
                    f"the class {name} of {part} in {folder} has {len(own)} pictures, and {examples} are needed; add "
                    "the others, or lower shots or queries"
                )
    others = [name for classes in files.values() for name, own in classes.items() if len(own) != EXAMPLES]
    if others:
        logger.warning(
            f"{len(others)} classes in {folder} do not have the {EXAMPLES} pictures of miniImageNet's, e.g. "
            f"{others[0]}; scores are not to be compared with published ones"
        )


def _read(files: Mapping[str, list[Path]], size: int, what: str, quiet: bool) -> dict[str, Tensor]:
    """Return the pictures of each class, with a bar on standard error."""
    found = {}
    with tqdm(
        total=sum(map(len, files.values())), desc=what, unit=" pictures", disable=True if quiet else None
    ) as bar:
        for name, own in files.items():
            found[name] = torch.empty((len(own), 3, size, size), dtype=torch.uint8)
            for picture, file in zip(found[name], own, strict=True):
                picture.copy_(read_picture(file, colour=True, size=size))
            bar.update(len(own))
    return found
