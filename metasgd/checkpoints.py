"""The checkpoint of a run: one file, which is replaced in one step and read without executing any code (chapter 10).

Format 2 says by its entry ``recipe`` in ``config`` which recipe made the run. Format 1 called that entry ``data``.
"""

import os
import pickle
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from metasgd.meta_sgd import MetaSGD

FORMAT = 2
CHECKPOINT = "checkpoint.pt"


class Checkpoint(NamedTuple):
    """What a run folder holds: everything that the rest of the run depends on.

    ``state`` is the learner's state after ``iteration`` meta-updates, ``history`` one entry an iteration (``loss``,
    and ``validation`` where it was measured), ``best`` the best validated iterate (``score``, ``iteration``,
    ``state``) or None, and ``config`` whatever the caller needs to build the learner again.
    """

    iteration: int
    state: dict[str, Any]
    history: list[dict[str, float]]
    best: dict[str, Any] | None
    config: dict[str, Any]


def prepare_folder(folder: str | Path) -> Path:
    """Make a folder and prove that files can be written there, before any work is done."""
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OSError(f"cannot write to {folder} ({error.strerror}); choose another folder") from error
    return folder


def write_checkpoint(folder: str | Path, checkpoint: Checkpoint) -> None:
    """Replace the folder's checkpoint in one atomic step: a program that is killed leaves the old or the new one."""
    folder = Path(folder)
    partial = folder / (CHECKPOINT + ".partial")
    with open(partial, "wb") as file:
        torch.save({"format": FORMAT, **checkpoint._asdict()}, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, folder / CHECKPOINT)


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read the checkpoint of a run folder, or a checkpoint file; no code in it is executed.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is truncated or no checkpoint, or of a newer format.
    """
    path = Path(path)
    file = path / CHECKPOINT if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"there is no checkpoint at {file}; name the folder given to train as out")
    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
        version = content.pop("format")
    except (
        RuntimeError,
        EOFError,
        KeyError,
        AttributeError,
        TypeError,
        OSError,
        pickle.UnpicklingError,
    ) as error:
        raise ValueError(f"{file} is truncated or not a checkpoint; train again, or use a copy") from error
    if version > FORMAT:
        raise ValueError(f"{file} has format {version}, and this version reads up to {FORMAT}; upgrade metasgd")
    if version == 1:
        content["config"] = config_of_format_1(content["config"])
    return Checkpoint(**content)


def config_of_format_1(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration of a checkpoint of format 1 as format 2 would have it.

    Format 1 named the data and not the recipe. So a compared method is recognised by what sets it apart from a run of
    the recipe itself: on MNIST it lacks the number of images, and on Omniglot it is neither Meta-SGD nor MAML.

    >>> config_of_format_1({"data": "web", "width": 32})
    {'recipe': 'browser', 'width': 32}
    >>> config_of_format_1({"data": "omniglot", "method": "reptile"})
    {'recipe': 'contestant', 'problem': 'omniglot', 'method': 'reptile'}
    """
    if "data" not in config:
        return dict(config)
    data, settings = config["data"], {key: value for key, value in config.items() if key != "data"}
    if (data == "mnist" and "images" not in settings) or (
        data == "omniglot" and settings.get("method") not in ("meta-sgd", "maml")
    ):
        return {"recipe": "contestant", "problem": data, **settings}
    return {"recipe": "browser" if data == "web" else data, **settings}


def restore(learner: MetaSGD, state: Mapping[str, Any], source: str | Path) -> None:
    """Load a learner's state, refusing that of another model before anything is changed."""
    own, other = (
        {key: tuple(value.shape) for key, value in mapping.items() if isinstance(value, torch.Tensor)}
        for mapping in (learner.state_dict(), state)
    )
    if own != other:
        wrong = sorted(key for key in own.keys() | other.keys() if own.get(key) != other.get(key))
        first = wrong[0]
        raise ValueError(
            f"{source} belongs to another model: {len(wrong)} tensors differ, e.g. {first} is {other.get(first)} "
            f"there and {own.get(first)} here; build the learner with the settings of that run"
        )
    learner.load_state_dict(dict(state))
