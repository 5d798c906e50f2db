"""What is stored of a learner, by itself or in the checkpoint of a run, and how it is read again."""

import copy
import functools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from metasgd._core.archives import CHECKPOINT, read_archive, storable, write_archive
from metasgd._core.copies import copy_of
from metasgd._core.modes import no_inference_mode

L = TypeVar("L", bound="SavedLearner")

FORMAT = 1
# Of the settings that a learner's state holds, those that may differ where it is loaded: they decide how the learner
# goes on, or how it computes, and not what it predicts.
MAY_DIFFER = {"first_order", "max_norm", "precision", "learn_alpha"}  # the optimiser's groups tell learn_alpha


# ---------------------------------------------------------------------------------------------------------------
# Names


def name_of(value: Any) -> str | None:
    """Return a name of a function or an object by which it is recognised, e.g. ``torch.nn.functional.mse_loss``.

    That of a loss module has its plain settings, since the same class with another ``reduction`` is another loss.

    >>> name_of(nn.MSELoss(reduction="sum"))
    "torch.nn.modules.loss.MSELoss(reduction='sum')"
    """
    if value is None:
        return None
    if isinstance(value, functools.partial):
        parts = [*map(repr, value.args), *(f"{key}={part!r}" for key, part in sorted(value.keywords.items()))]
        return f"{name_of(value.func)}({', '.join(parts)})"
    if isinstance(value, nn.Module):
        plain = {k: v for k, v in vars(value).items() if not k.startswith("_") and k != "training"}
        settings = ", ".join(f"{k}={v!r}" for k, v in sorted(plain.items()) if isinstance(v, int | float | str))
        return f"{qualified(type(value))}({settings})"
    return qualified(value if hasattr(value, "__qualname__") else type(value))


def qualified(value: Any) -> str:
    """Return the name of a function or class with that of its module."""
    return f"{value.__module__}.{value.__qualname__}"


def optimizer_name(optimizer: torch.optim.Optimizer) -> str:
    """Return the name of an optimiser's class; a subclass of one of PyTorch's has the same state as that."""
    kinds = [kind for kind in type(optimizer).__mro__ if kind.__module__.startswith("torch.optim.")]
    return next((kind.__name__ for kind in kinds if kind is not torch.optim.Optimizer), qualified(type(optimizer)))


def same_name(one: str, other: str) -> bool:
    """Tell whether two names mean the same; the module of a program's own functions changes with how it is started."""
    if "__main__" in (one.split(".")[0], other.split(".")[0]):
        return one.split("(")[0].rpartition(".")[2] == other.split("(")[0].rpartition(".")[2]
    return one == other


# ---------------------------------------------------------------------------------------------------------------
# The extra state


def description_of(learner: Any) -> dict[str, Any]:
    """Return what the extra state of a learner has beside the state of its outer optimiser."""
    return {
        "made_with_rates": learner.made_with_rates,
        "optimizer": optimizer_name(learner.meta_optimizer),
        "class": qualified(type(learner)),
        "options": learner.saved_options(),
        "losses": {"loss_fn": name_of(learner.loss_fn), "query_loss_fn": name_of(learner.query_loss_fn)},
    }


def optimizer_state(learner: Any, state: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of the outer optimiser in an extra state, as ``learner`` is to load it.

    The outer learning rates are those of the state if it belongs to a learner that was made with the same ones.
    """
    # An optimiser keeps the tensors it is given; without the copy, two learners would share their moments.
    loaded: dict[str, Any] = copy.deepcopy(dict(state["meta_optimizer"]))
    # Version 0.1.0 kept the rates before their decay as ``initial_lr``, and that of the last iteration as ``lr``.
    for group in loaded["param_groups"] if "made_with_rates" not in state else ():
        group["lr"] = group.pop("initial_lr", group["lr"])
    theirs = state.get("made_with_rates") or [group["lr"] for group in loaded["param_groups"]]
    if theirs != learner.made_with_rates:
        for group, mine in zip(loaded["param_groups"], learner.meta_optimizer.param_groups, strict=True):
            group["lr"] = mine["lr"]
    return loaded


def check_extra_state(learner: Any, state: Mapping[str, Any]) -> None:
    """Refuse the extra state of a learner that would predict otherwise, or whose optimiser is of another kind.

    Args:
        learner: that is to take it.
        state: what ``get_extra_state`` of the other learner returned. That of an older version says less, and what it
            does not say is not compared.

    Raises:
        ValueError: with what differs.
    """
    theirs, own = state.get("options", {}), learner.saved_options()
    for name in own:
        if name in theirs and name not in MAY_DIFFER and theirs[name] != own[name]:
            raise ValueError(
                f"the state is that of a learner with {name}={theirs[name]!r}, and this one has {own[name]!r}, with "
                f"which it would predict otherwise; make it with {name}={theirs[name]!r}"
            )
    optimizer, saved = learner.meta_optimizer, state["meta_optimizer"]
    kind, own_kind = state.get("optimizer"), optimizer_name(optimizer)
    groups, own_groups = saved["param_groups"], optimizer.param_groups
    keys, own_keys = ({key for group in part for key in group} for part in (groups, own_groups))
    if (kind is not None and kind != own_kind) or (kind is None and keys - own_keys and own_keys - keys):
        raise ValueError(
            f"the state is that of the outer optimiser {kind or 'with ' + ', '.join(sorted(keys - own_keys))}, and "
            f"this learner has {own_kind}; make it with the same meta_optimizer"
        )
    if len(groups) != len(own_groups):
        learned = "learn_alpha=True" if len(groups) > len(own_groups) else "learn_alpha=False"
        raise ValueError(
            f"the state has {len(groups)} groups of parameters in its outer optimiser, and this learner has "
            f"{len(own_groups)}; make it with {learned}, as that one"
        )
    counts = [[len(group["params"]) for group in part] for part in (groups, own_groups)]
    if counts[0] != counts[1]:
        raise ValueError(
            f"the state trains {counts[0][0]} parameters, and this learner {counts[1][0]}: the models differ, or "
            "other parts of them are frozen; build the model as it was"
        )


def without_ballast(learner: Any, state: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a state without rates of frozen parameters and copies of buffers, which older versions stored."""
    rates, model = f"{prefix}rates.", f"{prefix}model."
    own = getattr(learner, "alpha", {}).keys()  # a prototypical network has no rates
    return {
        key: value
        for key, value in state.items()
        if not key.startswith(rates) or key.removeprefix(rates) in own or model + key.removeprefix(rates) not in state
    }


# ---------------------------------------------------------------------------------------------------------------
# Files


def read_state(path: str | os.PathLike[str], which: str | None) -> dict[str, Any]:
    """Return the state of the learner in a file or in the folder of a run; see ``SavedLearner.load``.

    Raises:
        FileNotFoundError: there is none.
        ValueError: the file is damaged or holds no learner; ``which`` asks for what is not there.
    """
    if which not in (None, "best", "last"):
        raise ValueError(f"which is {which!r}; choose 'best' or 'last', or None for the best where there is one")
    file = Path(path) / CHECKPOINT if Path(path).is_dir() else Path(path)
    advice = "name a file of learner.save, or the folder of a run"
    if not file.is_file():
        raise FileNotFoundError(f"there is no learner at {file}; {advice}")
    content, has_digest = read_archive(file, "learner")
    if content.get("learner_format", 0) > FORMAT:
        raise ValueError(
            f"{file} has format {content['learner_format']}, and this version reads {FORMAT}; upgrade metasgd"
        )
    state = content if "_extra_state" in content else content.get("state")
    must_have_digest = "learner_format" in content or content.get("format", 0) >= 3
    if (must_have_digest and not has_digest) or not isinstance(state, dict) or "_extra_state" not in state:
        raise ValueError(
            f"{file} is truncated, or holds no learner; name a file of learner.save, or the folder of a run"
        )
    best = content.get("best")
    if which == "best" and best is None:
        raise ValueError(f"{file} has no validated iterate; use which='last'")
    if best is not None and which != "last":
        state = state | best["state"]
    extra = dict(state["_extra_state"])
    settings = content.get("settings") or {}  # of a run whose state does not hold them yet
    known = {"inner_steps": "inner_steps", "first_order": "first_order", "learns_alpha": "learn_alpha"}
    extra.setdefault("options", {known[key]: settings[key] for key in known if settings.get(key) is not None})
    return {**state, "_extra_state": extra}


def options_from(kind: type, extra: Mapping[str, Any], given: Mapping[str, Any], other_loss: bool) -> dict[str, Any]:
    """Return the arguments with which a learner of a stored state is made, besides its model.

    Args:
        kind: the class of the learner.
        extra: the extra state.
        given: arguments of the caller, which count more than what is stored.
        other_loss: whether the losses may be others than those stored.

    Raises:
        ValueError: the learner is of another class, or has another loss.
    """
    theirs = extra.get("class", qualified(kind))
    if theirs != qualified(kind):
        name = theirs.rpartition(".")[2]
        raise ValueError(f"it is a learner of the class {theirs}; read it by {name}.load")
    options = {**extra.get("options", {}), **given}
    for argument, stored in extra.get("losses", {}).items():
        if argument not in given and (found := loss_of_pytorch(stored)) is not None:
            options[argument] = found
        default = F.cross_entropy if argument == "loss_fn" else None
        mine = name_of(options.get(argument, default))
        if not other_loss and stored != mine and (stored is None or mine is None or not same_name(stored, mine)):
            raise ValueError(
                f"it was saved with {argument}={stored}, and here it is {mine}, with which it would predict "
                "otherwise; pass the same one, or other_loss=True"
            )
    return options


def loss_of_pytorch(name: str | None) -> Any:
    """Return the loss function of ``torch.nn.functional`` with a name (None: it is none of them)."""
    module, _, function = (name or "").rpartition(".")
    is_loss = function == "cross_entropy" or function.endswith(("_loss", "_entropy", "_logits", "_div"))
    return getattr(F, function, None) if module == "torch.nn.functional" and is_loss else None


def check_tensors(learner: nn.Module, state: Mapping[str, Any]) -> None:
    """Refuse a state whose tensors have other names, shapes or dtypes than the learner's.

    Raises:
        ValueError: it belongs to another model.
    """
    own, other = (
        {key: (tuple(value.shape), value.dtype) for key, value in part.items() if isinstance(value, Tensor)}
        for part in (learner.state_dict(), state)
    )
    wrong = sorted(key for key in own.keys() | other.keys() if own.get(key) != other.get(key))
    if not wrong:
        return
    first, there, here = wrong[0], other.get(wrong[0]), own.get(wrong[0])
    if there is not None and here is not None and there[0] == here[0]:
        raise ValueError(f"it has {first} in {there[1]}, and the model in {here[1]}; pass model.to({there[1]})")
    found = [str(list(part[0])) if part else "missing" for part in (there, here)]
    raise ValueError(
        f"it belongs to another model: {len(wrong)} tensors differ, e.g. {first} is {found[0]} there and "
        f"{found[1]} here; build the model as it was"
    )


# ---------------------------------------------------------------------------------------------------------------
# The learner


class SavedLearner(nn.Module):
    """A learner whose state is complete: ``save`` and ``load``, and what ``state_dict`` holds beside tensors."""

    made_with_rates: list[float]
    meta_optimizer: torch.optim.Optimizer

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__()

    def saved_options(self) -> dict[str, Any]:
        """Return the arguments of the class that are saved: those that decide predictions, or how training goes on."""
        raise NotImplementedError

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything that decides a prediction, and the outer optimiser, to a file with a SHA-256.

        These are theta, alpha, buffers, the settings and the names of the losses; ``load`` reads it.

        Raises:
            OSError: the file cannot be written; what was there before is kept.
        """
        state = storable(self.state_dict(), "state")
        write_archive(Path(path), {"learner_format": FORMAT, "state": state}, "learner")

    @classmethod
    def load(
        cls: type[L],
        path: str | os.PathLike[str],
        model: nn.Module,
        *,
        which: str | None = None,
        other_loss: bool = False,
        with_optimizer: bool = True,
        **options: Any,
    ) -> L:
        """Return the learner in a file of ``save``, or in the folder of a run of ``metasgd.training.train``.

        No code in the file is executed, so a loss that is not of ``torch.nn.functional`` must be passed again.

        Args:
            path: the file, or the folder.
            model: of the architecture of the saved one; it gets the saved parameters.
            which: ``"best"``, the best validated iterate of a run, or ``"last"`` (None: the best where there is one).
            other_loss: let the loss be another than the saved one.
            with_optimizer: False starts with a new outer optimiser.
            options: arguments of the class, in place of the saved ones (``query_statistics``), and those that are not
                saved: the losses, ``meta_optimizer``, and how the learner computes, such as ``strategy``.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: it is damaged, or belongs to another model, class, loss or optimiser; the model
                is unchanged.
        """
        state = read_state(path, which)
        extra = state["_extra_state"]
        try:
            learner = cls(model, **options_from(cls, extra, options, other_loss))
            if "query_statistics" in options:  # any learner may read its queries in another way than it was saved with
                extra["options"] = {**extra.get("options", {}), "query_statistics": options["query_statistics"]}
            state = without_ballast(learner, state)
            check_tensors(learner, state)
            if not with_optimizer:
                state["_extra_state"] = learner.get_extra_state()
            elif not {"meta_lr", "alpha_lr"} & options.keys() and "made_with_rates" in extra:
                learner.made_with_rates = list(extra["made_with_rates"])
            check_extra_state(learner, state["_extra_state"])
        except ValueError as error:
            raise ValueError(f"{path} cannot be loaded: {error}") from error
        learner.load_state_dict(state)
        return learner

    # state_dict() holds theta and alpha as ordinary entries, and the rest as the module's extra state.
    def get_extra_state(self) -> dict[str, Any]:
        """Return what ``state_dict`` holds beside tensors of the module itself: settings, and the outer optimiser."""
        return {"meta_optimizer": self.meta_optimizer.state_dict(), **description_of(self)}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        """Restore what ``get_extra_state`` returned.

        The outer learning rates are those of the state if it belongs to a learner with the same ``meta_lr`` and
        ``alpha_lr``, and else stay as they are.

        Raises:
            ValueError: a learner with other ``inner_steps`` or the like, which would predict otherwise, or another
                outer optimiser; nothing is changed.
        """
        check_extra_state(self, state)
        with no_inference_mode():
            self.meta_optimizer.load_state_dict(optimizer_state(self, state))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        for ballast in state_dict.keys() - without_ballast(self, state_dict, prefix).keys():
            del state_dict[ballast]
        super()._load_from_state_dict(state_dict, prefix, *args)

    def __deepcopy__(self: L, memo: dict[int, Any]) -> L:
        memo[id(self)] = copied = type(self).__new__(type(self))
        copied.__dict__.update(copy_of(vars(self), memo))
        return copied

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "SavedLearner":
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.meta_optimizer.load_state_dict(self.meta_optimizer.state_dict())  # its state follows the parameters
        return self
