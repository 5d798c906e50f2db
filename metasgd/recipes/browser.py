"""The learner of the page that adapts in a browser, and the file in which the page gets it (chapter 14)."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from metasgd._core.files import find_file
from metasgd.evaluation import Method, Sampler, evaluate
from metasgd.meta_sgd import MetaSGD
from metasgd.rates import with_rates
from metasgd.recipes.omniglot import OmniglotConfig, starting_rates, training_sampler
from metasgd.tasks import EpisodeSampler
from metasgd.tasks.glyphs import glyph_classes
from metasgd.training import read_checkpoint, restore, train

FORMAT = "metasgd-web-1"
PREFIX = 'self.metaSgdWeights = "'
WAYS = 5
SCALAR_RATES = (0.03, 0.1, 0.3, 1.0, 3.0)  # of which the best is the page's single rate


@dataclass(frozen=True)
class WebConfig:
    """Everything that decides the training of the page's learner (chapter 14).

    Tasks are half of Omniglot's 1,200 training characters, each picture redrawn with a hand and a pen of its own, and
    half of random glyphs. The last layer starts at zero with rates of ``head_lr``, the others start at ``task_lr``.
    """

    width: int = 32
    groups: int = 4
    iterations: int = 10_000
    meta_batch: int = 4
    train_queries: int = 5
    meta_lr: float = 3e-3
    alpha_lr: float = 3e-3
    task_lr: float = 0.1
    head_lr: float = 1.0
    seed: int = 0


def sketch_net(width: int = 32, groups: int = 4) -> nn.Sequential:
    """Return the page's network for pictures (examples, 1, 28, 28): logits (examples, 5).

    Each of four blocks is a 3 x 3 convolution with stride 2, group normalisation and ReLU. Batch normalisation would
    read a drawing in the company of the others; on a page, a drawing is alone (chapter 12).

    >>> sketch_net(8)(torch.zeros(3, 1, 28, 28)).shape
    torch.Size([3, 5])
    """
    layers: list[nn.Module] = []
    for channels in (1, width, width, width):
        layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.GroupNorm(groups, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * width, WAYS))


def make_learner(config: WebConfig, device: torch.device | str = "cpu") -> MetaSGD:
    """Return the untrained learner; the same seed gives the same start on every device."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        network = sketch_net(config.width, config.groups)
    rates = starting_rates(network, config.task_lr, config.head_lr)
    return MetaSGD(network, meta_lr=config.meta_lr, alpha_lr=config.alpha_lr, task_lr=rates).to(device)


def train_web(
    config: WebConfig,
    drawings: Tensor,
    *,
    device: torch.device | str = "cpu",
    out: str | Path | None = None,
    progress: bool = True,
) -> tuple[MetaSGD, list[dict[str, float]]]:
    """Meta-train the page's learner, going on from a checkpoint in ``out`` if there is one; (learner, history).

    Args:
        config: settings.
        drawings: Omniglot as distance fields, as ``metasgd.data.load_omniglot_strokes`` gives it.
        device: where to train.
        out: folder of the checkpoint (None: none is written).
        progress: show a bar on standard error.
    """
    learner = make_learner(config, device)
    tasks = OmniglotConfig(look="mixed", train_queries=config.train_queries, seed=config.seed)
    history = train(
        learner,
        training_sampler(drawings, tasks, device),
        config.iterations,
        meta_batch=config.meta_batch,
        seed=config.seed,
        out=out,
        resume=True,
        config={"data": "web", **asdict(config)},
        progress=progress,
    )
    return learner, history


def with_one_rate(learner: MetaSGD, rate: float) -> Method:
    """Return the method that takes the step from the same theta with one rate for all parameters."""
    return with_rates(learner, lambda name, learned: torch.full_like(learned, rate))


def without_step(learner: MetaSGD) -> Method:
    """Return the method that does not adapt."""
    return lambda support_x, support_y, query_x: learner.predict(query_x)


def best_single_rate(learner: MetaSGD, rates: Sequence[float] = SCALAR_RATES, num_tasks: int = 200) -> float:
    """Return which rate serves theta best, if all parameters share one: tried on glyphs of a seed of their own."""
    sampler: Sampler = EpisodeSampler(glyph_classes(300, 20, seed=99), WAYS, 1, 15)
    means = {rate: evaluate(with_one_rate(learner, rate), sampler, num_tasks, seed=99).mean for rate in rates}
    return max(means, key=means.__getitem__)


def export_web(
    learner: MetaSGD, config: WebConfig, path: str | Path, scalar_rate: float, record: dict[str, Any]
) -> None:
    """Write the file that the page reads: a script that names a text, as a page on a disk may not fetch anything else.

    The text is base64 of 4 bytes with the header's length, the header as JSON, and theta and alpha as float16.

    Args:
        learner: what to write.
        config: how it was made; the page needs ``groups``.
        path: the file.
        scalar_rate: the best single rate.
        record: what else the header says, such as accuracies and versions.
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
        "config": asdict(config),
        "groups": config.groups,
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


def load_web(path: str | Path) -> tuple[MetaSGD, dict[str, Any]]:
    """Return the learner of a file of ``export_web``, and the file's header.

    Raises:
        ValueError: not such a file, or a damaged one.
    """
    script = Path(path).read_text(encoding="utf-8", errors="replace")
    try:
        content = base64.b64decode(script.removeprefix(PREFIX).removesuffix('";\n'))
        length = int.from_bytes(content[:4], "little")
        header = json.loads(content[4 : 4 + length])
    except ValueError:
        header = {}
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise ValueError(f"{path} is not a file of python -m metasgd export-web; make it again")
    body = content[4 + length :]
    if hashlib.sha256(body).hexdigest() != header["sha256"]:
        raise ValueError(f"{path} is damaged, its SHA-256 is another than its header says; make it again")
    numbers = torch.from_numpy(np.frombuffer(body, "<f2").astype(np.float32))
    learner = make_learner(WebConfig(**header["config"]))
    with torch.no_grad():
        for entry in header["tensors"]:
            own = getattr(learner, entry["kind"])[entry["name"]]
            own.copy_(numbers[entry["offset"] : entry["offset"] + own.numel()].reshape(entry["shape"]))
    return learner, header


def read_run(folder: str | Path) -> tuple[MetaSGD, WebConfig]:
    """Return the learner of a checkpoint of ``train_web``, finished or not, and its settings.

    Raises:
        FileNotFoundError: no checkpoint there.
        ValueError: the checkpoint is of another kind of run.
    """
    checkpoint = read_checkpoint(folder)
    settings = dict(checkpoint.config)
    if settings.pop("data", None) != "web":
        raise ValueError(f"{folder} is not a run of python -m metasgd experiment web")
    config = WebConfig(**settings)
    learner = make_learner(config)
    restore(learner, checkpoint.state, folder)
    return learner, config


def page_file(name: str) -> Path:
    """Return a file of the page, such as ``"weights.js"``: from the checkout, or as shipped in the package.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if file := find_file("adapt", name):
        return file
    raise FileNotFoundError(f"there is no {name} of the page; make weights.js by python -m metasgd export-web")
