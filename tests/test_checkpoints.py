"""Checkpoints: what is written is read, and nothing else is. Those of recipes are in ``tests/recipes``."""

import errno
import os
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metasgd import MetaSGD, Task, checkpoints
from metasgd.checkpoints import (
    CHECKPOINT,
    FORMAT,
    LOCK,
    Checkpoint,
    config_of_format_1,
    locked,
    prepare_folder,
    read_checkpoint,
    restore,
    write_checkpoint,
)


def write(folder):
    """Write a checkpoint of a learner after one meta-update, and return both."""
    learner = MetaSGD(nn.Linear(2, 1), F.mse_loss)
    x = torch.ones(1, 3, 2)
    learner.meta_update(Task(x, x[..., :1], x, x[..., :1]))
    checkpoint = Checkpoint(1, learner.state_dict(), [{"loss": 0.5}], None, {"recipe": "lines", "rates": (0.1, 0.2)})
    write_checkpoint(folder, checkpoint)
    return learner, checkpoint


@pytest.mark.parametrize("where", ["the folder", "the file"])
def test_what_is_written_is_read(tmp_path, where):
    learner, written = write(tmp_path)
    read = read_checkpoint(tmp_path if where == "the folder" else tmp_path / CHECKPOINT)
    assert read._replace(state={}) == written._replace(state={})
    other = MetaSGD(nn.Linear(2, 1), F.mse_loss)
    restore(other, read.state, tmp_path)
    assert all(torch.equal(value, other.theta[name]) for name, value in learner.theta.items())
    assert str(other.meta_optimizer.state_dict()) == str(learner.meta_optimizer.state_dict())
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]


def test_the_state_of_another_model_is_refused_and_changes_nothing(tmp_path):
    write(tmp_path)
    other = MetaSGD(nn.Linear(2, 3), F.mse_loss)
    before = other.theta["weight"].clone()
    with pytest.raises(ValueError, match=r"belongs to another model: 4 tensors differ, e.g. model.bias is"):
        restore(other, read_checkpoint(tmp_path).state, tmp_path)
    assert torch.equal(other.theta["weight"], before)


def test_a_folder_is_made_and_a_file_is_no_folder(tmp_path):
    assert prepare_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"cannot write to .*file .*choose another folder"):
        prepare_folder(tmp_path / "file")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"data": "mnist", "images": 10, "fold": 1}, {"recipe": "mnist", "images": 10, "fold": 1}),
        ({"data": "sine", "shots": 5}, {"recipe": "sine", "shots": 5}),
        ({"data": "web", "width": 8}, {"recipe": "browser", "width": 8}),
        ({"data": "omniglot", "method": "maml"}, {"recipe": "omniglot", "method": "maml"}),
        ({"data": "mnist", "method": "anil"}, {"recipe": "contestant", "problem": "mnist", "method": "anil"}),
        ({"data": "omniglot", "method": "anil"}, {"recipe": "contestant", "problem": "omniglot", "method": "anil"}),
        ({"width": 8}, {"width": 8}),
    ],
)
def test_format_1_named_the_data_and_not_the_recipe(old, new):
    """A run of a user's own, with no data named, stays as it is."""
    assert config_of_format_1(old) == new


def test_truncated_checkpoint_is_refused(tmp_path):
    write(tmp_path)
    file = tmp_path / CHECKPOINT
    for length in (0, 10, file.stat().st_size // 2, file.stat().st_size - 1):
        file.write_bytes(file.read_bytes()[:length])
        with pytest.raises(ValueError, match="truncated or not a checkpoint"):
            read_checkpoint(tmp_path)
        file.unlink()
        write(tmp_path)


def test_file_that_is_no_checkpoint_is_refused(tmp_path):
    (tmp_path / CHECKPOINT).write_text("hello")
    with pytest.raises(ValueError, match="not a checkpoint"):
        read_checkpoint(tmp_path)


def test_checkpoint_of_a_newer_format_is_refused(tmp_path):
    torch.save({"format": FORMAT + 1}, tmp_path / CHECKPOINT)
    with pytest.raises(ValueError, match=rf"format {FORMAT + 1}, and this version reads up to {FORMAT}; upgrade"):
        read_checkpoint(tmp_path)


class Bomb:
    def __reduce__(self):
        return (print, ("code in a checkpoint was executed",))


def test_code_in_a_checkpoint_is_not_executed(tmp_path, capsys):
    torch.save({"format": FORMAT, "state": Bomb()}, tmp_path / CHECKPOINT)
    with pytest.raises(ValueError, match="not a checkpoint"):
        read_checkpoint(tmp_path)
    assert capsys.readouterr().out == ""


def test_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        read_checkpoint(tmp_path)


def flipped(data, position, bit):
    return data[:position] + bytes([data[position] ^ (1 << bit)]) + data[position + 1 :]


def test_a_single_flipped_bit_anywhere_is_found(tmp_path):
    write(tmp_path)
    file = tmp_path / CHECKPOINT
    whole, random = file.read_bytes(), np.random.default_rng(0)
    positions = [*random.integers(len(whole), size=300), *range(len(whole) - 73, len(whole))]
    for position in positions:
        file.write_bytes(flipped(whole, int(position), int(random.integers(8))))
        with pytest.raises(ValueError, match=r"checkpoint.pt is damaged.*; train again, or use a copy"):
            read_checkpoint(tmp_path)


def test_what_follows_the_digest_is_found(tmp_path):
    write(tmp_path)
    file = tmp_path / CHECKPOINT
    file.write_bytes(file.read_bytes() + b"more")
    with pytest.raises(ValueError, match="is damaged"):
        read_checkpoint(tmp_path)


@pytest.mark.parametrize("version", [1, 2])
def test_older_formats_have_no_digest_and_are_read(tmp_path, version):
    """A flipped bit in the numbers of such a file is found by the checksum of its archive."""
    _, checkpoint = write(tmp_path)
    content = {key: value for key, value in checkpoint._asdict().items() if key != "settings"}
    torch.save({"format": version, **content}, tmp_path / CHECKPOINT)
    read = read_checkpoint(tmp_path)
    assert read._replace(state={}) == checkpoint._replace(state={})
    assert all(torch.equal(read.state[key], value) for key, value in checkpoint.state.items() if key != "_extra_state")
    whole = (tmp_path / CHECKPOINT).read_bytes()
    numbers = whole.index(checkpoint.state["model.weight"].numpy().tobytes())
    (tmp_path / CHECKPOINT).write_bytes(flipped(whole, numbers, 3))
    with pytest.raises(ValueError, match="is damaged, truncated or not a checkpoint"):
        read_checkpoint(tmp_path)


def test_numbers_of_numpy_and_paths_are_converted(tmp_path):
    config = {"folder": Path("a") / "b", "rates": (np.float32(0.5), np.int64(3)), "name": np.str_("x"), "on": np.True_}
    history = [{"loss": 0.5, "validation": np.float64(0.25)}]
    write_checkpoint(tmp_path, Checkpoint(1, {}, history, None, config))
    read = read_checkpoint(tmp_path)
    assert read.config == {"folder": str(Path("a") / "b"), "rates": (0.5, 3), "name": "x", "on": True}
    assert type(read.history[0]["validation"]) is float


def test_what_cannot_be_read_back_is_not_written(tmp_path):
    with pytest.raises(ValueError, match=r"config\['net'\]\[1\] is of type torch.nn.*Linear.*give numbers, texts"):
        write_checkpoint(tmp_path, Checkpoint(1, {}, [], None, {"net": [1, nn.Linear(1, 1)]}))
    assert list(tmp_path.iterdir()) == []


def test_a_whole_file_is_not_called_truncated(tmp_path):
    """Earlier versions wrote paths, which are not read without executing code."""
    torch.save({"format": 2, "config": {"folder": Path("a")}}, tmp_path / CHECKPOINT)
    with pytest.raises(ValueError, match="is whole, but not a checkpoint that can be read without executing code"):
        read_checkpoint(tmp_path)


def test_a_full_disk_is_named_and_leaves_nothing_behind(tmp_path):
    """A limit on the size of files stands for the full disk; the checkpoint of before is as it was."""
    write(tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()
    limits, handler = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(
            OSError, match=r"cannot write .*checkpoint.pt \(File too large\).*there is kept; make room"
        ):
            write(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [CHECKPOINT]


class LocksOfWindows:
    """Stands for ``msvcrt``: a lock of a byte of an open file, which only one descriptor has, and ends with it."""

    LK_NBLCK = 2

    def __init__(self, error=None):
        self.owner, self.error = None, error

    def locking(self, descriptor, mode, count):
        assert (mode, count) == (self.LK_NBLCK, 1)
        if self.error is not None:
            raise self.error
        if self.owner not in (None, descriptor) and is_open(self.owner):
            raise PermissionError(errno.EACCES, "Permission denied")
        self.owner = descriptor


def is_open(descriptor):
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_a_folder_is_locked_on_windows_by_a_file_in_it(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "fcntl", None)
    monkeypatch.setattr(checkpoints, "msvcrt", LocksOfWindows())
    with locked(tmp_path):
        with pytest.raises(FileExistsError, match="belongs to a run that is still going on"), locked(tmp_path):
            pass
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    with locked(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("locks", [None, LocksOfWindows(OSError(errno.ENOSYS, "no locks here"))])
def test_where_there_are_no_locks_a_run_goes_on_without(tmp_path, monkeypatch, locks):
    monkeypatch.setattr(checkpoints, "fcntl", None)
    monkeypatch.setattr(checkpoints, "msvcrt", locks)
    with locked(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
