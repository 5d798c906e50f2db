"""Meta-training that can be killed at any moment, and resumed as if nothing had happened (chapters 8 and 10).

Every random number of an iteration comes from a generator seeded by (seed, iteration), and the outer learning rates
are a function of the iteration. So a checkpoint needs no random state, and a resumed run repeats an uninterrupted one,
on the CPU bit for bit. Nor does a checkpoint depend on how many processes trained together (``metasgd.distributed``):
a run may go on with another number of them. Training then starts from the learner or the checkpoint of rank zero,
which alone validates, writes the checkpoint and shows progress, and in the end all ranks hold the same learner.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from metasgd import distributed
from metasgd._core.task import Tasks
from metasgd.checkpoints import CHECKPOINT, Checkpoint, prepare_folder, read_checkpoint, restore, write_checkpoint
from metasgd.evaluation import Sampler
from metasgd.meta_sgd import MetaSGD


def cosine_decay(fraction: float) -> float:
    """Return the factor of the learning rates after a fraction of the run: from 1 down to 0 along a cosine."""
    return 0.5 * (1 + math.cos(math.pi * fraction))


def iteration_generator(seed: int, iteration: int, device: torch.device | str) -> torch.Generator:
    """Return the generator of one iteration, independent of those of all other iterations and seeds."""
    state = np.random.SeedSequence([seed, iteration]).generate_state(1, np.uint64)[0]
    return torch.Generator(device).manual_seed(int(state) >> 1)


def train(
    learner: MetaSGD,
    sampler: Sampler,
    iterations: int,
    *,
    meta_batch: int = 4,
    seed: int = 0,
    schedule: Callable[[float], float] = cosine_decay,
    validate: Callable[[MetaSGD], float] | None = None,
    validate_every: int = 100,
    out: str | Path | None = None,
    resume: bool = False,
    checkpoint_every: int = 100,
    config: Mapping[str, Any] | None = None,
    progress: bool = True,
) -> list[dict[str, float]]:
    """Meta-train a learner in place and return its history, one dict an iteration (chapter 8).

    Inside an initialised process group of ``torch.distributed`` the processes share each meta-batch, and all must call
    this function with the same arguments (chapter 10).

    Args:
        learner: what to train. With ``validate``, it ends as the best validated iterate, else as the last one.
        sampler: where meta-training tasks come from.
        iterations: meta-updates in all, those before a resume included.
        meta_batch: tasks in each meta-update.
        seed: of the tasks.
        schedule: factor of both outer learning rates as a function of the fraction of the run that is done.
        validate: ``validate(learner) -> score``, larger is better, on tasks that are neither trained on nor tested on.
        validate_every: iterations between two validations; the last iterate is always validated.
        out: folder for the checkpoint (None: nothing is written).
        resume: go on from the checkpoint in ``out``, if there is one.
        checkpoint_every: iterations between two checkpoints.
        config: stored in the checkpoint; a resumed run must have the same.
        progress: show a bar on standard error.

    Raises:
        FileExistsError, OSError: ``out`` holds a run already and ``resume`` is not set, or it cannot be written.
        ValueError: the checkpoint is damaged, or belongs to another model or configuration.
        FloatingPointError: the loss or its gradient is not finite. The state before that iteration is kept.
        metasgd.distributed.GroupError: another process was lost or has failed. The last checkpoint is kept.
    """
    check_counts(
        iterations=iterations, meta_batch=meta_batch, checkpoint_every=checkpoint_every, validate_every=validate_every
    )
    with distributed.current_world() as world:
        run = RunInProgress.begin(learner, world, out, resume, dict(config or {}))
        set_rates = outer_rates(learner, schedule)
        with run.told_where_to_resume(), run.bar(iterations, progress) as bar:
            for iteration in range(run.done, iterations):
                set_rates(iteration / iterations)
                tasks = sampler.sample(meta_batch, iteration_generator(seed, iteration, sampler.device))
                metrics = run.meta_update(tasks)
                if validate is not None and (run.done % validate_every == 0 or run.done == iterations):
                    metrics["validation"] = run.validate(validate)
                run.history.append(metrics)
                if run.done % checkpoint_every == 0 or run.done == iterations:
                    run.save()
                show(bar, metrics)
    return run.finish()


def check_counts(**counts: int) -> None:
    """Refuse a number, given by its name, that is below 1."""
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")


def show(bar: "tqdm[Any]", metrics: Mapping[str, float]) -> None:
    """Move the progress bar on by one iteration, and show its metrics."""
    bar.set_postfix(metrics, refresh=False)
    bar.update()


def outer_rates(learner: MetaSGD, schedule: Callable[[float], float]) -> Callable[[float], None]:
    """Return a function that sets both outer rates after a fraction of the run."""
    groups = learner.meta_optimizer.param_groups
    initial_rates = [group.setdefault("initial_lr", group["lr"]) for group in groups]

    def set_rates(fraction: float) -> None:
        for group, rate in zip(groups, initial_rates, strict=True):
            group["lr"] = rate * schedule(fraction)

    return set_rates


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
    iteration: int = 0  # the one that is worked on

    @classmethod
    def begin(
        cls, learner: MetaSGD, world: distributed.World, out: str | Path | None, resume: bool, config: dict[str, Any]
    ) -> "RunInProgress":
        """Return the run of the folder, or a new one; on all ranks, with the learner as it is on rank zero."""
        found = world.on_rank_zero(lambda: find_run(out, resume, config))
        if world.size > 1 and not found.state:
            found = found._replace(state=world.on_rank_zero(learner.state_dict))
        if found.state:
            restore(learner, found.state, out if out is not None and found.iteration else "process 0")
        return cls(learner, world, out, config, found.iteration, list(found.history), found.best, found.iteration)

    def meta_update(self, tasks: Tasks) -> dict[str, float]:
        """Take one meta-step and return its metrics; if it fails, save the state before it.

        Raises:
            FloatingPointError, metasgd.distributed.GroupError, metasgd.distributed.Terminated: the step failed.
        """
        self.iteration = self.done
        try:
            metrics = self.world.meta_update(self.learner, tasks)
        except (FloatingPointError, distributed.Terminated) as error:
            self.save()  # the failed update changed nothing
            kept = f"; {Path(self.out) / CHECKPOINT} holds the state before it" if self.out is not None else ""
            raise type(error)(f"iteration {self.iteration}: {error}{kept}") from error
        self.done += 1
        return metrics

    def validate(self, score_of: Callable[[MetaSGD], float]) -> float:
        """Score the learner, and keep a copy of it if no iterate before was better."""
        score = self.world.on_rank_zero(lambda: score_of(self.learner))
        if self.best is None or score > self.best["score"]:
            state = {key: value for key, value in self.learner.state_dict().items() if key != "_extra_state"}
            state = {key: value.clone() for key, value in state.items()}
            self.best = {"score": score, "iteration": self.done, "state": state}
        return score

    def save(self) -> None:
        """Write the checkpoint, if there is a folder for it."""
        out = self.out
        if out is not None:
            self.world.on_rank_zero(
                lambda: write_checkpoint(
                    out, Checkpoint(self.done, self.learner.state_dict(), self.history, self.best, self.config)
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


def find_run(out: str | Path | None, resume: bool, config: dict[str, Any]) -> Checkpoint:
    """Return the run to go on from: that of the folder, or one of no iterations and no state.

    Raises:
        FileExistsError, OSError, ValueError: see ``train``.
    """
    if out is None or not (prepare_folder(out) / CHECKPOINT).exists():
        return Checkpoint(0, {}, [], None, config)
    run = read_checkpoint(out)
    if not resume:
        raise FileExistsError(
            f"{out} already holds a run, at iteration {run.iteration}; resume it, or choose another folder"
        )
    if run.config != config:
        changed = sorted(key for key in {**run.config, **config} if run.config.get(key) != config.get(key))
        raise ValueError(
            f"{out} was made with other settings of {changed}: {[run.config.get(key) for key in changed]}, "
            f"now {[config.get(key) for key in changed]}; resume with the same, or choose another folder"
        )
    return run


def how_to_resume(out: str | Path | None, saved: int) -> str:
    """Say what is left of a run that lost a process: its last checkpoint, or nothing."""
    if out is None or saved == 0:
        return "nothing was saved yet, so start again"
    return (
        f"{Path(out) / CHECKPOINT} holds iteration {saved}, from which --resume goes on with any number of processes"
    )
