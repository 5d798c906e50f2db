"""Meta-training that can be killed at any moment, and resumed as if nothing had happened (chapters 8 and 10).

Every random number of an iteration is seeded by (seed, iteration): the tasks by a generator of their own, and what a
model draws, for dropout say, by PyTorch's global generator. The outer learning rates are a function of the iteration.
So a checkpoint needs no random state, and a resumed run repeats an uninterrupted one, on the CPU bit for bit. Nor does
a checkpoint depend on how many processes trained together (``metasgd.distributed``): a run may go on with another
number of them. Training then starts from the learner or the checkpoint of rank zero, which alone validates, writes the
checkpoint and shows progress, and in the end all ranks hold the same learner.
"""

import math
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from metasgd import distributed
from metasgd._core.checks import check_counts
from metasgd.callbacks import Callback, check_callbacks
from metasgd.checkpoints import how_to_resume, locked, prepare_folder, storable
from metasgd.evaluation import Sampler
from metasgd.meta_sgd import MetaSGD
from metasgd.resuming import run_settings
from metasgd.run_in_progress import RunInProgress


def cosine_decay(fraction: float) -> float:
    """Return the factor of the learning rates after a fraction of the run: from 1 down to 0 along a cosine."""
    return 0.5 * (1 + math.cos(math.pi * fraction))


def iteration_generator(seed: int, iteration: int, device: torch.device | str) -> torch.Generator:
    """Return the generator of one iteration, independent of those of all other iterations and seeds."""
    return torch.Generator(device).manual_seed(number_from(seed, iteration))


def number_from(*seeds: int) -> int:
    """Return a seed of 63 bits that depends on all the numbers and is independent of those of other numbers."""
    return int(np.random.SeedSequence(list(seeds)).generate_state(1, np.uint64)[0]) >> 1


@contextmanager
def seeded_model(seed: int, device: torch.device) -> Iterator[None]:
    """Seed what a model draws, e.g. for dropout, for the body of a ``with``; the global state is then as it was."""
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.default_generator.manual_seed(seed)
        if device.type == "cuda":
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


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
    callbacks: Sequence[Callback] = (),
    progress: bool = True,
) -> list[dict[str, float]]:
    """Meta-train a learner in place and return its history, one dict an iteration (chapter 8).

    Inside an initialised process group of ``torch.distributed`` the processes share each meta-batch, and all must call
    this function with the same arguments (chapter 10).

    The outer learning rates follow the schedule in each meta-update, and are afterwards as they were before it. The
    first Ctrl-C stops the run after the meta-update that it is in, and saves it; the second stops it at once. (Several
    processes stop before the next meta-update, and together.)
    The function is in one piece because most of it says what the arguments are, and the rest is one loop.

    Args:
        learner: what to train. With ``validate``, it ends as the best validated iterate, else as the last one.
        sampler: where meta-training tasks come from.
        iterations: meta-updates in all, those before a resume included. A run can be resumed with more of them if this
            leaves the rates of those before as they were, as with ``schedule=lambda fraction: 1.0``. With a cosine,
            whose rates are zero in the end, a longer run is another run.
        meta_batch: tasks in each meta-update.
        seed: of the tasks, and of what the model draws.
        schedule: factor of both outer learning rates as a function of the fraction of the run that is done.
        validate: ``validate(learner) -> score``, larger is better and NaN is worst, on tasks that are neither trained
            on nor tested on.
        validate_every: iterations between two validations; the last iterate is always validated.
        out: folder for the checkpoint (None: nothing is written).
        resume: go on from the checkpoint in ``out``, if there is one; it must have the same ``seed``, ``meta_batch``,
            ``config``, loss (by name), outer optimiser with its settings and rates, and a ``schedule`` with the same
            factors. That ``sampler`` draws the same tasks is up to the caller.
        checkpoint_every: iterations between two checkpoints.
        config: stored in the checkpoint: numbers, texts, None, tensors, and lists and dicts of these.
        callbacks: functions that are called after each iteration, in the first process alone, where there are several;
            one of them may stop the run by raising ``StopTraining``. See ``metasgd.callbacks``. A run that was stopped
            is finished: resuming it leaves it as it is, as long as the callback that has stopped it is among
            ``callbacks``, by its name.
        progress: show a bar on standard error.

    Raises:
        FileExistsError, OSError: ``out`` holds a run already and ``resume`` is not set, or another run is still going
            on there, or it cannot be written.
        ValueError: the checkpoint is damaged, or belongs to another model, other arguments or another configuration;
            a schedule that is not a number of at least 0; a ``config`` that cannot be stored; a validation score that
            is not a number.
        KeyboardInterrupt: Ctrl-C, with a message that says what is saved.
        FloatingPointError: the loss or its gradient is not finite, and the state before that iteration is kept; or
            theta or alpha is not, and the last checkpoint is kept, whose numbers are.
        metasgd.distributed.GroupError: another process was lost or has failed. The last checkpoint is kept.
    """
    check_counts(
        iterations=iterations, meta_batch=meta_batch, checkpoint_every=checkpoint_every, validate_every=validate_every
    )
    check_counts(0, seed=seed)
    if not isinstance(config, Mapping | None):
        raise ValueError(f"config is {config!r}; it must be a dict")
    factors = schedule_factors(schedule, iterations)
    settings = run_settings(learner, meta_batch, seed, schedule, factors)
    callbacks = check_callbacks(callbacks, validates=validate is not None)
    stored_config: dict[str, Any] = storable(dict(config or {}), "config")
    with distributed.current_world() as world, ExitStack() as stack:
        if out is not None:
            world.on_rank_zero(lambda: enter_folder(stack, out))
        run = RunInProgress.begin(learner, world, out, resume, stored_config, settings)
        interrupted = stack.enter_context(catch_interrupt(world, progress))
        with run.told_where_to_resume(), run.bar(iterations, progress) as bar:
            for iteration in run.iterations_left(iterations, callbacks):
                tasks = sampler.sample(meta_batch, iteration_generator(seed, iteration, sampler.device))
                with (
                    outer_rates(learner, factors[iteration]),
                    seeded_model(number_from(seed, iteration, 1 + world.rank), next(learner.parameters()).device),
                ):
                    metrics = run.meta_update(tasks)
                if validate is not None and (run.done % validate_every == 0 or run.done == iterations):
                    metrics["validation"] = run.validate(validate)
                run.history.append(metrics)
                if callbacks:
                    run.tell(callbacks, factors)
                if run.done % checkpoint_every == 0 or run.done == iterations or interrupted.is_set() or run.stop:
                    run.save()
                show(bar, metrics)
                if run.stop:
                    break
                if interrupted.is_set() and run.done < iterations:
                    raise KeyboardInterrupt(f"stopped after iteration {run.done}; {how_to_resume(out, run.saved)}")
    return run.finish()


def schedule_factors(schedule: Callable[[float], float], iterations: int) -> list[float]:
    """Return the factor of the outer rates in each iteration.

    Raises:
        ValueError: a schedule that cannot be called, or a factor that is no number, negative or not finite.
    """
    if not callable(schedule):
        raise ValueError(f"schedule is {schedule!r}; give a function of the fraction of the run that is done")
    try:
        factors = [float(schedule(iteration / iterations)) for iteration in range(iterations)]
    except (TypeError, ValueError) as error:
        raise ValueError(f"schedule must return one number for each fraction of the run; {error}") from error
    for iteration, factor in enumerate(factors):
        if not (math.isfinite(factor) and factor >= 0):
            raise ValueError(
                f"schedule({iteration / iterations:.3g}) is {factor}; a factor of the learning rates must be finite "
                "and at least 0"
            )
    return factors


def enter_folder(stack: ExitStack, out: str | Path) -> None:
    """Make the folder of a run, and keep other runs out of it until the stack is closed."""
    stack.enter_context(locked(prepare_folder(out)))


@contextmanager
def catch_interrupt(world: distributed.World, progress: bool) -> Iterator[threading.Event]:
    """Yield an event that the first Ctrl-C sets, in place of an error in the middle of a meta-update.

    Several processes have to stop together; for them ``metasgd.distributed.current_world`` does it. Nor is the handler
    exchanged where it is not Python's own, or outside of the main thread.
    """
    interrupted = threading.Event()
    if (
        world.size > 1
        or threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    ):
        yield interrupted
        return

    def stop(*_: Any) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if progress:
            with suppress(RuntimeError):  # of a signal that came in the middle of another line
                print("\nstopping after this meta-update; Ctrl-C again stops at once", file=sys.stderr)

    signal.signal(signal.SIGINT, stop)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def show(bar: "tqdm[Any]", metrics: Mapping[str, float]) -> None:
    """Move the progress bar on by one iteration, and show its metrics."""
    bar.set_postfix(metrics, refresh=False)
    bar.update()


@contextmanager
def outer_rates(learner: MetaSGD, factor: float) -> Iterator[None]:
    """Multiply the outer rates by a factor for the body of a ``with``."""
    groups = learner.meta_optimizer.param_groups
    rates = [group["lr"] for group in groups]
    try:
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate * factor
        yield
    finally:
        for group, rate in zip(groups, rates, strict=True):
            group["lr"] = rate
