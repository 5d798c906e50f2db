"""Checkpoints: what is written is read, and nothing else is. Those of recipes are in ``tests/recipes``."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from metasgd import MetaSGD, Task
from metasgd.checkpoints import (
    CHECKPOINT,
    FORMAT,
    Checkpoint,
    config_of_format_1,
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
