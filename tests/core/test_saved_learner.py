"""Learners that are saved and loaded: nothing that decides a prediction is lost, and what does not fit is refused."""

import copy
import functools
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd import MetaSGD, Task
from metasgd._core.saved_learner import name_of
from metasgd.checkpoints import CHECKPOINT
from metasgd.methods import Reptile
from metasgd.rates import SharedRates
from metasgd.training import train


def net(seed: int = 0, width: int = 4) -> nn.Module:
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(3, width), nn.Tanh(), nn.Linear(width, 2))
    model[0].register_buffer("scale", torch.randn(3))
    return model


def tasks(seed: int = 0, count: int = 3) -> Task:
    generator = torch.Generator().manual_seed(seed)
    return Task(*(torch.randn(count, 5, size, generator=generator) for size in (3, 2, 3, 2)))


class Sampler:
    device = torch.device("cpu")

    def sample(self, num_tasks: int, generator: torch.Generator | None = None) -> Task:
        assert generator is not None
        return Task(*(torch.randn(num_tasks, 5, size, generator=generator) for size in (3, 2, 3, 2)))


def trained(learner: MetaSGD, seeds: range = range(3)) -> MetaSGD:
    for seed in seeds:
        learner.meta_update(tasks(seed))
    return learner


def own_loss(prediction: Tensor, target: Tensor) -> Tensor:
    return (prediction - target).abs().mean()


def assert_same(one: MetaSGD, other: MetaSGD) -> None:
    torch.testing.assert_close(one.predict_tasks(tasks(9)), other.predict_tasks(tasks(9)), rtol=0, atol=0)
    for key, value in one.state_dict().items():
        if isinstance(value, Tensor):
            assert torch.equal(value, other.state_dict()[key])


LEARNERS = {
    "several steps": (MetaSGD, {"inner_steps": 5, "inner_max_norm": 0.5}),
    "first order": (MetaSGD, {"first_order": True, "alpha_lr": 0.1, "max_norm": 0.1}),
    "MAML": (MetaSGD, {"learn_alpha": False, "task_lr": 0.1}),
    "bfloat16": (MetaSGD, {"precision": "bfloat16"}),
    "shared": (SharedRates, {"shared": "layer", "nonnegative": True}),
    "a tensor each, frozen": (SharedRates, {"shared": "tensor", "adapts": lambda name: name.startswith("2")}),
    "Reptile": (Reptile, {"inner_steps": 3}),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_a_saved_learner_predicts_and_goes_on_as_it_did(name: str, tmp_path: Path) -> None:
    """Bit for bit, from a file, into a model with another start and without naming any option or PyTorch's loss."""
    kind, options = LEARNERS[name]
    original = trained(kind(net(), F.mse_loss, **options))
    original.save(tmp_path / "learner.pt")
    loaded = kind.load(tmp_path / "learner.pt", net(seed=9))
    assert type(loaded) is kind
    assert loaded.saved_options() == original.saved_options()
    assert_same(loaded, original)
    assert_same(trained(loaded, range(3, 6)), trained(original, range(3, 6)))


def test_options_may_be_others_where_they_are_named(tmp_path: Path) -> None:
    trained(MetaSGD(net(), F.mse_loss, inner_steps=5)).save(tmp_path / "a")
    loaded = MetaSGD.load(tmp_path / "a", net(), strategy="loop", meta_lr=0.5, first_order=True)
    assert (loaded.inner_steps, loaded.execution.strategy, loaded.first_order) == (5, "loop", True)
    assert loaded.meta_optimizer.param_groups[0]["lr"] == 0.5
    with pytest.raises(ValueError, match=r"a cannot be loaded: .*inner_steps=5, and this one has 1"):
        MetaSGD.load(tmp_path / "a", net(), inner_steps=1)


def test_a_run_is_loaded_at_its_best_or_at_its_last_iterate(tmp_path: Path) -> None:
    learner, scores = MetaSGD(net(), F.mse_loss, inner_steps=2, strategy="loop"), iter([1.0, 3.0, 2.0])
    states = []

    def validate(learner: MetaSGD) -> float:
        states.append(copy.deepcopy(learner))
        return next(scores)

    train(learner, Sampler(), 3, validate=validate, validate_every=1, out=tmp_path, progress=False)
    for path in (tmp_path, tmp_path / CHECKPOINT):
        load = functools.partial(MetaSGD.load, path, strategy="loop")  # by which the states compute, to the last bit
        assert_same(load(net()), states[1])
        assert_same(load(net(), which="best"), states[1])
        assert_same(load(net(), which="last"), states[2])


def test_a_run_without_validation_has_a_last_iterate_only(tmp_path: Path) -> None:
    learner = MetaSGD(net(), F.mse_loss)
    train(learner, Sampler(), 2, out=tmp_path, progress=False)
    assert_same(MetaSGD.load(tmp_path, net()), learner)
    with pytest.raises(ValueError, match=r"has no validated iterate; use which='last'"):
        MetaSGD.load(tmp_path, net(), which="best")
    with pytest.raises(ValueError, match=r"which is 'first'; choose 'best' or 'last'"):
        MetaSGD.load(tmp_path, net(), which="first")


def test_a_state_saved_by_torch_is_read_too(tmp_path: Path) -> None:
    learner = trained(MetaSGD(net(), F.mse_loss, inner_steps=3))
    torch.save(learner.state_dict(), tmp_path / "state.pt")
    assert_same(MetaSGD.load(tmp_path / "state.pt", net(seed=9)), learner)


# ---------------------------------------------------------------------------------------------------------------
# What is refused


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    file = tmp_path / "learner.pt"
    trained(MetaSGD(net(), F.mse_loss)).save(file)
    return file


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        (lambda: net(width=5), {}, "another model"),
        (lambda: nn.Linear(3, 2), {}, "another model: .* there and missing here"),
        (
            lambda: net().double(),
            {},
            r"has .* in torch.float32, and the model in torch.float64; pass model.to\(to",
        ),
        (net, {"learn_alpha": False}, "make it with learn_alpha=True|another model"),
        (net, {"meta_optimizer": torch.optim.SGD}, "outer optimiser Adam, and this learner has SGD; make it with the"),
        (net, {"loss_fn": own_loss}, r"saved with loss_fn=torch.nn.functional.mse_loss, and here it is .*own_loss"),
        (net, {"query_loss_fn": own_loss}, "saved with query_loss_fn=None, and here it is"),
    ],
    ids=["width", "model", "dtype", "learn_alpha", "optimiser", "loss", "query loss"],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(model, options, message, saved) -> None:
    own = model()
    before = [value.clone() for value in own.state_dict().values()]
    with pytest.raises(ValueError, match=rf"learner.pt cannot be loaded: .*({message})"):
        MetaSGD.load(saved, own, **options)
    assert all(torch.equal(old, new) for old, new in zip(before, own.state_dict().values(), strict=True))


def test_another_loss_or_optimiser_is_taken_when_said_so(saved: Path) -> None:
    loaded = MetaSGD.load(
        saved, net(), loss_fn=own_loss, other_loss=True, meta_optimizer=torch.optim.SGD, with_optimizer=False
    )
    assert loaded.loss_fn is own_loss
    assert not loaded.meta_optimizer.state
    trained(loaded)


def test_a_frozen_part_is_refused(saved: Path) -> None:
    model = net()
    model[0].requires_grad_(False)
    with pytest.raises(ValueError, match=r"cannot be loaded"):
        MetaSGD.load(saved, model)


def test_another_class_is_refused(saved: Path) -> None:
    with pytest.raises(ValueError, match=r"it is a learner of the class metasgd.meta_sgd.MetaSGD; read it by Meta"):
        SharedRates.load(saved, net())


def test_every_flipped_byte_and_every_cut_is_noticed(saved: Path) -> None:
    data = saved.read_bytes()
    for place in range(0, len(data), len(data) // 40):
        saved.write_bytes(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
        with pytest.raises(ValueError, match=r"is damaged|is truncated|is whole, but"):
            MetaSGD.load(saved, net())
        saved.write_bytes(data[:place])
        with pytest.raises(ValueError, match=r"is damaged|is truncated"):
            MetaSGD.load(saved, net())


def test_a_file_cut_to_its_archive_is_noticed(saved: Path) -> None:
    """Without the digest it is still a whole archive of PyTorch."""
    saved.write_bytes(saved.read_bytes()[:-73])
    with pytest.raises(ValueError, match=r"is truncated, or holds no learner"):
        MetaSGD.load(saved, net())


def test_files_that_are_none_are_refused(tmp_path: Path, saved: Path) -> None:
    for path in (tmp_path / "nothing.pt", tmp_path):
        with pytest.raises(FileNotFoundError, match=r"there is no learner at .*; name a file of learner.save"):
            MetaSGD.load(path, net())
    torch.save(net().state_dict(), saved)
    with pytest.raises(ValueError, match=r"holds no learner; name a file of learner.save"):
        MetaSGD.load(saved, net())
    torch.save({"learner_format": 2, "state": {}}, saved)
    with pytest.raises(ValueError, match=r"has format 2, and this version reads 1; upgrade metasgd"):
        MetaSGD.load(saved, net())
    torch.save([1], saved)
    with pytest.raises(ValueError, match=r"is whole, but not a learner"):
        MetaSGD.load(saved, net())


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"cannot write .*learner.pt"):
        MetaSGD(net()).save(tmp_path / "missing" / "learner.pt")


# ---------------------------------------------------------------------------------------------------------------
# state_dict and load_state_dict alone


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "inner_steps=5, and this one has 1, with which it would predict otherwise; make it with inner_steps=5"),
        ({"inner_steps": 5, "inner_max_norm": None}, "inner_max_norm=10.0, and this one has None"),
        ({"inner_steps": 5, "learn_alpha": False}, "make it with learn_alpha=True"),
        ({"inner_steps": 5, "meta_optimizer": torch.optim.SGD}, "optimiser Adam, and this learner has SGD"),
        ({"inner_steps": 5, "meta_optimizer": torch.optim.Adagrad}, "optimiser Adam, and this learner has Adagrad"),
    ],
)
def test_a_state_that_would_predict_or_train_otherwise_is_refused(options: dict, message: str) -> None:
    state = trained(MetaSGD(net(), F.mse_loss, inner_steps=5)).state_dict()
    learner = MetaSGD(net(seed=9), F.mse_loss, **options)
    before = copy.deepcopy(learner)
    with pytest.raises(ValueError, match=message):
        learner.load_state_dict(state)
    assert_same(learner, before)


def test_a_state_of_an_older_version_is_compared_in_what_it_says() -> None:
    original = trained(MetaSGD(net(), F.mse_loss, inner_steps=5))
    state = original.state_dict()
    old = {"meta_optimizer": state["_extra_state"]["meta_optimizer"]}
    learner = MetaSGD(net(seed=9), F.mse_loss, inner_steps=5)
    learner.load_state_dict({**state, "_extra_state": old})
    assert_same(learner, original)
    for options, message in (
        ({"meta_optimizer": torch.optim.SGD}, "outer optimiser with .*betas.*, and this learner has SGD"),
        ({"learn_alpha": False}, "make it with learn_alpha=True"),
    ):
        with pytest.raises(ValueError, match=message):
            MetaSGD(net(), F.mse_loss, **options).load_state_dict({**state, "_extra_state": old})


def test_what_does_not_decide_a_prediction_may_differ() -> None:
    state = trained(MetaSGD(net(), F.mse_loss, first_order=True, max_norm=1.0)).state_dict()
    learner = MetaSGD(net(), F.mse_loss, precision="bfloat16")
    learner.load_state_dict(state)
    assert (learner.first_order, learner.max_norm) == (False, None)


def test_a_saved_learner_reads_queries_as_it_did_unless_it_is_told_otherwise(tmp_path: Path) -> None:
    trained(MetaSGD(net(), F.mse_loss, query_statistics="support")).save(tmp_path / "learner.pt")
    assert MetaSGD.load(tmp_path / "learner.pt", net(), loss_fn=F.mse_loss).query_statistics == "support"
    other = MetaSGD.load(tmp_path / "learner.pt", net(), loss_fn=F.mse_loss, query_statistics="support+query")
    assert other.query_statistics == "support+query"
    assert copy.deepcopy(other).query_statistics == "support+query"


def test_names_tell_losses_apart() -> None:
    assert name_of(F.mse_loss) == "torch.nn.functional.mse_loss"
    assert name_of(own_loss).endswith("test_saved_learner.own_loss")
    names = {
        name_of(loss)
        for loss in (
            nn.MSELoss(),
            nn.MSELoss(reduction="sum"),
            nn.CrossEntropyLoss(label_smoothing=0.1),
            nn.CrossEntropyLoss(),
            functools.partial(F.cross_entropy, label_smoothing=0.1),
            functools.partial(F.cross_entropy),
            own_loss,
        )
    }
    assert len(names) == 7


def test_a_folder_that_is_missing_is_named(tmp_path: Path) -> None:
    learner = MetaSGD(nn.Linear(1, 1))
    with pytest.raises(OSError, match=r"cannot write .*nowhere.*; make the folder .*nowhere, or choose another"):
        learner.save(tmp_path / "nowhere" / "learner.pt")
