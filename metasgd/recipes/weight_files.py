"""The files of the learners that ship with the package: theta and alpha in half precision, and how they were made.

Each learner is two files in ``metasgd/assets/weights``: ``NAME.npz`` with the numbers, and ``NAME.json`` with the
settings, the checksum, the experiment that trained it, and the scores it reached there, as a results file has them.
"""

import hashlib
import json
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from metasgd._core.files import write_json
from metasgd.meta_sgd import MetaSGD

FOLDER = files("metasgd") / "assets" / "weights"


def weights_names() -> list[str]:
    """Return the names of the learners that ship with the package."""
    if not FOLDER.is_dir():
        return []
    return sorted(file.name.removesuffix(".json") for file in FOLDER.iterdir() if file.name.endswith(".json"))


def weights_record(name: str) -> dict[str, Any]:
    """Return how a shipped learner was made.

    Raises:
        ValueError: there are no weights of this name.
    """
    if name not in weights_names():
        raise ValueError(f"there are no weights {name!r}; choose one of {', '.join(weights_names())}")
    record: dict[str, Any] = json.loads((FOLDER / f"{name}.json").read_text())
    return record


def read_weights(name: str) -> tuple[dict[str, Tensor], dict[str, Tensor], dict[str, Any]]:
    """Return theta and alpha of a shipped learner, by parameter name, in float16, and how it was made.

    Raises:
        ValueError: there are no weights of this name, or they are damaged.
    """
    record = weights_record(name)
    with as_file(FOLDER / f"{name}.npz") as path, np.load(path, allow_pickle=False) as archive:
        numbers = {key: torch.from_numpy(archive[key]) for key in archive.files}
    if (found := tensors_sha256(numbers)) != record["sha256"]:
        raise ValueError(f"the weights {name!r} are damaged: their SHA-256 is {found}; install metasgd again")
    theta, alpha = (
        {key.removeprefix(kind): value for key, value in numbers.items() if key.startswith(kind)}
        for kind in ("theta/", "alpha/")
    )
    return theta, alpha, record


def save_weights(folder: str | Path, name: str, learner: MetaSGD, record: dict[str, Any]) -> None:
    """Write a learner's theta and alpha as float16, and its record, to which the checksum is added."""
    numbers = {
        f"{kind}/{parameter}": value.detach().cpu().half()
        for kind, own in (("theta", learner.theta), ("alpha", learner.alpha))
        for parameter, value in own.items()
    }
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {key: value.numpy() for key, value in numbers.items()}
    np.savez_compressed(folder / f"{name}.npz", **arrays)
    record = record | {"sha256": tensors_sha256(numbers)}
    write_json(folder / f"{name}.json", record)


def tensors_sha256(tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256 of tensors: names and values, in the order of the names."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(name.encode() + tensors[name].numpy().tobytes())
    return digest.hexdigest()
