"""A run of meta-training while it goes on: what it has reached, what is saved of it, and how it ends (chapter 8)."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from metasgd import distributed
from metasgd._core.messages import logger
from metasgd._core.task import Tasks
from metasgd.callbacks import Callback, Iteration, Stop, call_all, name_of
from metasgd.checkpoints import (
    CHECKPOINT,
    Checkpoint,
    how_to_resume,
    restore,
    storable,
    write_checkpoint,
)
from metasgd.meta_sgd import MetaSGD
from metasgd.resuming import find_run


@dataclass
class RunInProgress:
    """What a run has reached: ``done`` meta-updates, of which ``saved`` are in the checkpoint."""

    learner: MetaSGD
    world: distributed.World
    out: str | Path | None
    config: dict[str, Any]
    done: int
    history: list[dict[str, float]]
    best: dict[str, Any] | None
    saved: int
    settings: dict[str, Any]
    stop: Stop | None = None
    iteration: int = 0  # the one that is worked on

    @classmethod
    def begin(
        cls,
        learner: MetaSGD,
        world: distributed.World,
        out: str | Path | None,
        resume: bool,
        config: dict[str, Any],
        settings: dict[str, Any],
    ) -> "RunInProgress":
        """Return the run of the folder, or a new one; on all ranks, with the learner as it is on rank zero.

        Raises:
            FileExistsError, OSError, ValueError: see ``train``.
        """
        found = world.on_rank_zero(lambda: find_run(learner, out, resume, config, settings))
        if world.size > 1 and not found.state:
            found = found._replace(state=world.on_rank_zero(learner.state_dict))
        if found.state:
            restore(learner, found.state, out if out is not None and found.iteration else "process 0")
        if out is not None:
            storable(
                learner.state_dict(), "state"
            )  # before any work, if a state of the learner's own cannot be stored
        history = list(found.history)
        done, stop = found.iteration, None if found.stop is None else Stop(*found.stop)
        return cls(learner, world, out, config, done, history, found.best, done, settings, stop)

    def iterations_left(self, iterations: int, callbacks: Sequence[Callback]) -> range:
        """Return the iterations to come: none if the run was stopped by a callback that is still there."""
        if self.stop is not None and self.stop.callback in map(name_of, callbacks):
            logger.info(
                f"the run in {self.out} was stopped by {self.stop.callback} after iteration {self.done}: "
                f"{self.stop.reason}; without this callback it goes on"
            )
            return range(0)
        self.stop = None
        return range(self.done, iterations)

    def tell(self, callbacks: Sequence[Callback], factors: Sequence[float]) -> None:
        """Call the callbacks after an iteration, in the first process, and keep what they have decided for all."""
        iteration = Iteration(
            self.done, len(factors), self.history[-1], self.history, factors[self.done - 1], self.learner
        )
        self.stop = self.world.on_rank_zero(lambda: call_all(callbacks, iteration))
        storable(self.history[-1], "metrics")  # at once, and not when it is saved, if a callback has added to them
        if self.stop is not None:
            logger.info(f"stopped by {self.stop.callback} after iteration {self.done}: {self.stop.reason}")

    def meta_update(self, tasks: Tasks) -> dict[str, float]:
        """Take one meta-update and return its metrics; if it fails, save the state before it.

        Raises:
            FloatingPointError, metasgd.distributed.GroupError, metasgd.distributed.Terminated: the step failed.
            KeyboardInterrupt: one of several processes received Ctrl-C.
        """
        self.iteration = self.done
        try:
            metrics = self.world.meta_update(self.learner, tasks)
        except distributed.Interrupted as error:
            self.save()  # no process has taken the step
            raise KeyboardInterrupt(
                f"stopped after iteration {self.done}; {how_to_resume(self.out, self.saved)}"
            ) from error
        except (FloatingPointError, distributed.Terminated) as error:
            if self.is_finite():
                self.save()
                kept = self.kept("the state before it")
            else:
                kept = f"; theta or alpha was not finite before it, as an earlier step was too long{self.kept()}"
            raise type(error)(f"iteration {self.iteration}: {error}{kept}") from error
        self.done += 1
        return metrics

    def validate(self, score_of: Callable[[MetaSGD], float]) -> float:
        """Score the learner, and keep a copy of it if no iterate before was better.

        Raises:
            ValueError: the score is not one number.
        """
        score = number(self.world.on_rank_zero(lambda: score_of(self.learner)))
        beaten = self.best is None or math.isnan(self.best["score"]) or score > self.best["score"]
        if beaten and not math.isnan(score):
            state = {key: value for key, value in self.learner.state_dict().items() if key != "_extra_state"}
            state = {key: value.clone() for key, value in state.items()}
            self.best = {"score": score, "iteration": self.done, "state": state}
        return score

    def is_finite(self) -> bool:
        """Tell whether all numbers that are learned are finite."""
        groups = self.learner.meta_optimizer.param_groups
        return all(bool(parameter.isfinite().all()) for group in groups for parameter in group["params"])

    def kept(self, what: str = "") -> str:
        """Say what the checkpoint holds, for the end of an error; nothing where there is none."""
        if self.out is None or (not what and self.saved == 0):
            return ""
        return f"; {Path(self.out) / CHECKPOINT} holds {what or f'iteration {self.saved}'}"

    def save(self) -> None:
        """Write the checkpoint, if there is a folder for it.

        Raises:
            FloatingPointError: theta or alpha is not finite; the checkpoint of before is then kept.
        """
        out = self.out
        if out is not None:
            if not self.is_finite():
                raise FloatingPointError(
                    f"after iteration {self.done}, theta or alpha is not finite, as a step was too long; lower "
                    f"meta_lr or alpha_lr{self.kept()}"
                )
            self.world.on_rank_zero(
                lambda: write_checkpoint(
                    out,
                    Checkpoint(
                        self.done,
                        self.learner.state_dict(),
                        self.history,
                        self.best,
                        self.config,
                        self.settings,
                        self.stop,
                    ),
                )
            )
        self.saved = self.done

    def bar(self, iterations: int, progress: bool) -> "tqdm[Any]":
        """Return the progress bar, which rank zero alone shows."""
        return tqdm(
            total=iterations,
            initial=self.done,
            disable=not progress or self.world.rank > 0,
            unit="step",
            desc="meta-training",
        )

    @contextmanager
    def told_where_to_resume(self) -> Iterator[None]:
        """If another process is lost, say in which iteration, and from where the run can go on."""
        try:
            yield
        except distributed.GroupError as error:
            raise distributed.GroupError(
                f"iteration {self.iteration}: {error}; {how_to_resume(self.out, self.saved)}"
            ) from error

    def finish(self) -> list[dict[str, float]]:
        """Leave the learner at its best validated iterate, if any, and return the history."""
        if self.best is not None:
            self.learner.load_state_dict(self.learner.state_dict() | self.best["state"])
        return self.history


def number(score: Any) -> float:
    """Return a validation score as a number of Python.

    Raises:
        ValueError: it is not one number.
    """
    try:
        return float(score)
    except (TypeError, ValueError, RuntimeError):
        raise ValueError(f"validate returned {score!r}; it must return one number, larger being better") from None
