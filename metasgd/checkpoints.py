"""The checkpoint of a run: one file, which is replaced in one step and read without executing any code (chapter 10).

Format 3 ends with a SHA-256 of everything before it, which is compared whenever the file is read, and holds the
settings of the run (``settings``). Format 2 says by its entry ``recipe`` in ``config`` which recipe made the run.
Format 1 called that entry ``data``. Formats 1 and 2 have no digest; the checksums of their archive are compared.
"""

import contextlib
import importlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch

from metasgd._core.archives import CHECKPOINT as CHECKPOINT
from metasgd._core.archives import read_archive, write_archive
from metasgd._core.archives import storable as storable  # both names are handed on to those who write checkpoints
from metasgd._core.saved_learner import without_ballast
from metasgd.meta_sgd import MetaSGD

FORMAT = 3
LOCK = "run.lock"


def module_if_any(name: str) -> Any:
    """Return a module that some systems have, or None."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


fcntl, msvcrt = module_if_any("fcntl"), module_if_any("msvcrt")  # locks of Unix, and of Windows


class Checkpoint(NamedTuple):
    """What a run folder holds: everything that the rest of the run depends on.

    ``state`` is the learner's state after ``iteration`` meta-updates, ``history`` one entry an iteration (``loss``,
    and ``validation`` where it was measured), ``best`` the best validated iterate (``score``, ``iteration``,
    ``state``) or None, ``config`` whatever the caller needs to build the learner again, and ``settings`` the
    arguments of ``train`` that a resumed run must have in common with it (empty in formats 1 and 2). ``stop`` says
    which callback has stopped the run, and why (None: no callback has).
    """

    iteration: int
    state: dict[str, Any]
    history: list[dict[str, float]]
    best: dict[str, Any] | None
    config: dict[str, Any]
    settings: dict[str, Any] = {}  # noqa: RUF012  (never changed)
    stop: tuple[str, str] | None = None


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


@contextlib.contextmanager
def locked(folder: str | Path) -> Iterator[None]:
    """Keep other runs out of a folder for the body of a ``with``, where the file system has locks.

    The lock belongs to the process and ends with it, however it ends. On Linux and macOS it is one of the folder
    itself; on Windows, which has none of folders, one of the file ``run.lock`` in it, which is there meanwhile. It
    holds between the processes of one machine; whether between those of several, the shared file system decides.

    Raises:
        FileExistsError: another run has the folder.
    """
    file = None if fcntl is not None else Path(folder) / LOCK
    if file is not None and msvcrt is None:  # neither Unix nor Windows
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY) if file is None else os.open(file, os.O_RDWR | os.O_CREAT)
    try:
        try:
            if file is None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            else:
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except (BlockingIOError, PermissionError) as error:
            file = None  # it belongs to the other run
            raise FileExistsError(
                f"{folder} belongs to a run that is still going on; wait until it ends, or choose another folder"
            ) from error
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(descriptor)  # which ends the lock
        if file is not None:
            with contextlib.suppress(OSError):  # another process has it open
                file.unlink()


def write_checkpoint(folder: str | Path, checkpoint: Checkpoint) -> None:
    """Replace the folder's checkpoint in one atomic step: a program that is killed leaves the old or the new one.

    Raises:
        ValueError: it holds a value that cannot be stored; see ``storable``.
        OSError: the file cannot be written, e.g. as the disk is full. The checkpoint of before is kept.
    """
    content = {name: storable(value, name) for name, value in checkpoint._asdict().items()}
    write_archive(Path(folder) / CHECKPOINT, {"format": FORMAT, **content}, "checkpoint")


def read_checkpoint(path: str | Path) -> Checkpoint:
    """Read the checkpoint of a run folder, or a checkpoint file; no code in it is executed.

    Raises:
        FileNotFoundError: there is none.
        ValueError: it is damaged, truncated or no checkpoint, or of a newer format.
    """
    path = Path(path)
    file = path / CHECKPOINT if path.is_dir() else path
    if not file.is_file():
        raise FileNotFoundError(f"there is no checkpoint at {file}; name the folder given to train as out")
    content, has_digest = read_archive(file, "checkpoint")
    version = content.pop("format", None)
    damaged = f"{file} is damaged, truncated or not a checkpoint; train again, or use a copy"
    if not isinstance(version, int) or (version == FORMAT and not has_digest):
        raise ValueError(damaged)
    if version > FORMAT:
        raise ValueError(f"{file} has format {version}, and this version reads up to {FORMAT}; upgrade metasgd")
    for group in outer_groups(content.get("state", {})) if version < 3 else []:
        group["lr"] = group.pop("initial_lr", group["lr"])  # these formats stored the rates of the last iteration
    if version == 1:
        content["config"] = config_of_format_1(content["config"])
    try:
        return Checkpoint(**content)
    except TypeError as error:
        raise ValueError(damaged) from error


def outer_groups(state: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the parameter groups of the outer optimiser in a learner's state; none if it has no such optimiser."""
    extra = state.get("_extra_state", {})
    groups: list[dict[str, Any]] = extra.get("meta_optimizer", {}).get("param_groups", [])
    return groups


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
    check_same_model(learner, state, source)
    learner.load_state_dict(dict(state))


def check_same_model(learner: MetaSGD, state: Mapping[str, Any], source: str | Path) -> None:
    """Refuse a state whose tensors have other names or shapes than the learner's.

    Raises:
        ValueError: it belongs to another model.
    """
    own, other = (
        {key: tuple(value.shape) for key, value in mapping.items() if isinstance(value, torch.Tensor)}
        for mapping in (learner.state_dict(), without_ballast(learner, state))
    )
    if own != other:
        wrong = sorted(key for key in own.keys() | other.keys() if own.get(key) != other.get(key))
        first = wrong[0]
        raise ValueError(
            f"{source} belongs to another model: {len(wrong)} tensors differ, e.g. {first} is {other.get(first)} "
            f"there and {own.get(first)} here; build the learner with the settings of that run"
        )


def how_to_resume(out: str | Path | None, saved: int) -> str:
    """Say what is left of a run that lost a process: its last checkpoint, or nothing."""
    if out is None or saved == 0:
        return "nothing was saved yet, so start again"
    return (
        f"{Path(out) / CHECKPOINT} holds iteration {saved}, from which --resume goes on with any number of processes"
    )
