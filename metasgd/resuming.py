"""What a resumed run must have in common with the run that it goes on with (chapter 8)."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from metasgd._core.adam import FusedAdam
from metasgd._core.archives import storable
from metasgd.checkpoints import CHECKPOINT, Checkpoint, check_same_model, read_checkpoint
from metasgd.meta_sgd import MetaSGD

# What the groups of an outer optimiser hold beside its settings: parameters, the rates, and how it is computed.
NO_SETTINGS = {"params", "lr", "initial_lr", "foreach", "fused", "capturable", "differentiable"}
ATTRIBUTES = ("inner_steps", "first_order", "learns_alpha", "inner_max_norm", "max_norm", "query_statistics")
LONGEST = 80  # characters of a value in an error


def run_settings(
    learner: MetaSGD, meta_batch: int, seed: int, schedule: Callable[[float], float], factors: Sequence[float]
) -> dict[str, Any]:
    """Return what a resumed run must have in common with the run, besides ``config``.

    Args:
        learner: as in ``train``.
        meta_batch: as in ``train``.
        seed: as in ``train``.
        schedule: as in ``train``; recorded is its name, for an error, and what it returns.
        factors: what the schedule returns, one number an iteration.
    """
    optimizer = learner.meta_optimizer
    settings = {
        "seed": seed,
        "meta_batch": meta_batch,
        "learner": type(learner).__qualname__,
        **{key: getattr(learner, key, None) for key in ATTRIBUTES},
        **{key: function_settings(getattr(learner, key, None)) for key in ("loss_fn", "query_loss_fn")},
        "rates": [float(group["lr"]) for group in optimizer.param_groups],
        "optimizer": "Adam" if isinstance(optimizer, FusedAdam) else type(optimizer).__qualname__,
        "optimizer_groups": [
            plain({key: value for key, value in group.items() if key not in NO_SETTINGS})
            for group in optimizer.param_groups
        ],
        "schedule": getattr(schedule, "__name__", type(schedule).__name__),
        "iterations": len(factors),
        "factors": torch.tensor(factors, dtype=torch.float64),
    }
    return dict(storable(settings, "settings"))


def function_settings(function: Any) -> dict[str, Any]:
    """Return the name of a loss and, where it is a module or has been given arguments, these settings.

    >>> function_settings(nn.CrossEntropyLoss(label_smoothing=0.1))
    {'name': 'CrossEntropyLoss', 'reduction': 'mean', 'ignore_index': -100, 'label_smoothing': 0.1}
    """
    if function is None:
        return {}
    if isinstance(function, functools.partial):
        return {**function_settings(function.func), **plain(function.keywords)}
    if isinstance(function, nn.Module):
        own = {key: value for key, value in vars(function).items() if key != "training" and not key.startswith("_")}
        return {"name": type(function).__qualname__, **plain(own)}
    return {"name": str(getattr(function, "__qualname__", type(function).__qualname__))}


def plain(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that are None, numbers, texts, or tuples or lists of these."""

    def is_plain(value: Any) -> bool:
        if isinstance(value, list | tuple):
            return all(map(is_plain, value))
        return value is None or isinstance(value, int | float | str)

    return {key: value for key, value in settings.items() if is_plain(value)}


def find_run(
    learner: MetaSGD,
    out: str | Path | None,
    resume: bool,
    config: dict[str, Any],
    settings: dict[str, Any],
) -> Checkpoint:
    """Return the run to go on from: that of the folder, or one of no iterations and no state.

    Args:
        learner: as in ``train``.
        out: as in ``train``.
        resume: as in ``train``.
        config: as in ``train``, as ``storable`` returns it.
        settings: as ``run_settings`` returns them.

    Raises:
        FileExistsError, OSError, ValueError: see ``train``.
    """
    if out is None or not (Path(out) / CHECKPOINT).exists():
        return Checkpoint(0, {}, [], None, config)
    run = read_checkpoint(out)
    if not resume:
        raise FileExistsError(
            f"{out} already holds a run, at iteration {run.iteration}; resume it, or choose another folder"
        )
    check_same_model(learner, run.state, out)
    if run.settings:
        check_factors(run, settings, out)
    of_the_schedule = {"iterations", "schedule", "factors"}
    known = run.settings.keys() & settings.keys() - of_the_schedule  # an older checkpoint lacks some, or all
    lengthened = bool(run.settings) and run.settings["iterations"] != settings["iterations"]
    named = {**run.config, **config}.keys() - ({"iterations"} if lengthened else set())
    for there, here in (
        ({key: run.config.get(key) for key in named}, {key: config.get(key) for key in named}),
        (flat({key: run.settings[key] for key in known}), flat({key: settings[key] for key in known})),
    ):
        changed = sorted((key for key in there.keys() & here.keys() if not same(there[key], here[key])), key=str)
        if changed:
            raise ValueError(
                f"{out} was made with other settings of {changed}: {listed(there, changed)}, now "
                f"{listed(here, changed)}; resume with the same, or choose another folder"
            )
    return run


def check_factors(run: Checkpoint, settings: Mapping[str, Any], out: str | Path) -> None:
    """Refuse a schedule, or a number of iterations, by which the run so far would have had other learning rates.

    Raises:
        ValueError: the rates of the iterations that are done would have been others; or fewer iterations than these.
    """
    there, here = run.settings, settings
    old, new = there["factors"], here["factors"]
    is_longer, enough = there["iterations"] != here["iterations"], len(new) >= run.iteration
    if isinstance(old, Tensor):
        count = min(len(new), run.iteration) if is_longer else len(new)
        agree = torch.allclose(old[:count], new[:count], rtol=1e-9, atol=1e-12)  # another machine may round otherwise
    else:  # an older checkpoint holds three of them: the first, that in the middle, and the last
        three = [*new[[0, len(new) // 2, -1]].tolist()]
        agree = three == old and (not is_longer or bool((new == new[0]).all()))
    if agree and enough:
        return
    if is_longer:
        raise ValueError(
            f"{out} was made with other settings of ['iterations']: [{there['iterations']}], now "
            f"[{here['iterations']}], with which the {run.iteration} iterations that are done would have had other "
            "learning rates, or were fewer; resume with the same, or give a run of another length a folder of its own "
            "(with a constant schedule, as schedule=lambda fraction: 1.0, a run can be made longer)"
        )
    names = [there["schedule"]], [here["schedule"]]
    which = (
        f"other settings of ['schedule']: {names[0]}, now {names[1]}"
        if names[0] != names[1]
        else (f"another schedule of the name {here['schedule']}")
    )
    raise ValueError(f"{out} was made with {which}; resume with the same, or choose another folder")


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as one dict.

    >>> flat({"seed": 0, "groups": [{"betas": (0.9, 0.999)}, {"betas": (0.5, 0.999)}]})
    {'seed': 0, 'groups[0].betas': (0.9, 0.999), 'groups[1].betas': (0.5, 0.999)}
    """
    found: dict[str, Any] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{key}.")
        elif isinstance(value, list) and value and all(isinstance(entry, Mapping) for entry in value):
            for number, entry in enumerate(value):
                found |= flat(entry, f"{prefix}{key}[{number}].")
        else:
            found[f"{prefix}{key}"] = value
    return found


def same(first: Any, second: Any) -> bool:
    """Tell whether two values that a checkpoint can store are the same; NaN is the same as NaN."""
    if isinstance(first, Tensor) or isinstance(second, Tensor):
        if not (isinstance(first, Tensor) and isinstance(second, Tensor)):
            return False
        first, second = first.cpu(), second.cpu()
        if (first.shape, first.dtype) != (second.shape, second.dtype):
            return False
        return bool(((first == second) | ((first != first) & (second != second))).all())
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(same(first[key], second[key]) for key in first)
    if isinstance(first, list | tuple) and type(first) is type(second):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, float) and isinstance(second, float) and math.isnan(first):
        return math.isnan(second)
    return bool(first == second)


def listed(settings: Mapping[str, Any], names: Sequence[str]) -> str:
    """Return the values of some settings for an error, each no longer than fits."""
    texts = [" ".join(repr(settings[name]).split()) for name in names]
    return "[" + ", ".join(text if len(text) <= LONGEST else text[:LONGEST] + "..." for text in texts) + "]"
