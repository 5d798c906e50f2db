"""The file in which the page that adapts in a browser gets its learner (chapter 14)."""

import base64
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from metasgd._core.files import find_file
from metasgd.meta_sgd import MetaSGD
from metasgd.recipes.browser import BrowserRecipe

FORMAT = "metasgd-web-1"
PREFIX = 'self.metaSgdWeights = "'


def export_learner(
    learner: MetaSGD, recipe: BrowserRecipe, path: str | Path, scalar_rate: float, record: dict[str, Any]
) -> None:
    """Write the file that the page reads.

    It is a script that sets a variable to a text, since a page that is opened from a disk may load scripts and nothing
    else. The text is, in base64: 4 bytes with the length of the header, the header as JSON, and theta and alpha as
    float16.

    Args:
        learner: what to write.
        recipe: its settings, of which the page needs ``groups``.
        path: the file.
        scalar_rate: the best single rate.
        record: what else the header is to say, such as accuracies and versions.
    """
    tensors, numbers, offset = [], [], 0
    for kind, own in (("theta", learner.theta), ("alpha", learner.alpha)):
        for name, value in own.items():
            tensors.append({"kind": kind, "name": name, "shape": list(value.shape), "offset": offset})
            numbers.append(value.detach().cpu().half().flatten().numpy())
            offset += value.numel()
    body = np.concatenate(numbers).astype("<f2").tobytes()
    header = {
        "format": FORMAT,
        "config": asdict(recipe),
        "groups": recipe.groups,
        "scalar_rate": scalar_rate,
        "sha256": hashlib.sha256(body).hexdigest(),
        "record": record,
        "tensors": tensors,
    }
    text = json.dumps(header).encode()
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    content = base64.b64encode(len(text).to_bytes(4, "little") + text + body).decode()
    path.write_text(f'{PREFIX}{content}";\n', encoding="ascii")


def load_exported(path: str | Path) -> tuple[MetaSGD, dict[str, Any]]:
    """Return the learner of a file of ``export_learner``, and the file's header.

    Raises:
        ValueError: it is not such a file, or a damaged one.
    """
    script = Path(path).read_text(encoding="utf-8", errors="replace")
    try:
        content = base64.b64decode(script.removeprefix(PREFIX).removesuffix('";\n'))
        length = int.from_bytes(content[:4], "little")
        header = json.loads(content[4 : 4 + length])
    except ValueError:
        header = {}
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"{path} is not a file of python -m metasgd export; make it again")
    body = content[4 + length :]
    if hashlib.sha256(body).hexdigest() != header["sha256"]:
        raise ValueError(f"{path} is damaged, its SHA-256 is another than its header says; make it again")
    numbers = torch.from_numpy(np.frombuffer(body, "<f2").astype(np.float32))
    learner = BrowserRecipe.from_config(header["config"]).make_learner()
    with torch.no_grad():
        for entry in header["tensors"]:
            own = getattr(learner, entry["kind"])[entry["name"]]
            own.copy_(numbers[entry["offset"] : entry["offset"] + own.numel()].reshape(entry["shape"]))
    return learner, header


def page_file(name: str) -> Path:
    """Return a file of the page, such as ``"weights.js"``: from the checkout, or as shipped in the package.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if file := find_file("adapt", name):
        return file
    raise FileNotFoundError(f"there is no {name} of the page; make weights.js by python -m metasgd export")
