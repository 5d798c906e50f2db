"""Meta-training that can be killed at any moment and resumed without a trace (chapters 8 and 10).

Every random number of an iteration comes from a generator seeded by (seed, iteration), and the learning rates are a
function of the iteration. So a checkpoint needs no random state, and a resumed run repeats an uninterrupted one:
bit for bit on the CPU. Nor does it know how many processes trained (``metasgd.distributed``): any number goes on.
"""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from metasgd import distributed
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
    this function with the same arguments. It starts from process 0's learner or checkpoint, and process 0 alone
    validates, writes the checkpoint and shows progress; in the end all hold the same learner (chapter 10).

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
        FileExistsError: ``out`` holds a run already and ``resume`` is not set.
        OSError: ``out`` cannot be written.
        ValueError: the checkpoint is damaged, or belongs to another model or configuration.
        FloatingPointError: the loss or its gradient is not finite. The state before that iteration is kept.
        metasgd.distributed.GroupError: another process was lost or has failed. The last checkpoint is kept.
    """
    for name, value in (
        ("iterations", iterations),
        ("meta_batch", meta_batch),
        ("checkpoint_every", checkpoint_every),
        ("validate_every", validate_every),
    ):
        if value < 1:
            raise ValueError(f"{name} is {value}; it must be at least 1")
    config = dict(config or {})
    with distributed.current_world() as world:
        run = world.on_rank_zero(lambda: find_run(out, resume, config))
        if world.size > 1 and not run.state:
            run = run._replace(state=world.on_rank_zero(learner.state_dict))
        if run.state:
            restore(learner, run.state, out if out is not None and run.iteration else "process 0")
        history, best, saved = list(run.history), run.best, run.iteration
        groups = learner.meta_optimizer.param_groups
        initial_rates = [group.setdefault("initial_lr", group["lr"]) for group in groups]

        def save(done: int) -> int:
            if out is not None:
                world.on_rank_zero(
                    lambda: write_checkpoint(out, Checkpoint(done, learner.state_dict(), history, best, config))
                )
            return done

        bar = tqdm(
            total=iterations,
            initial=run.iteration,
            disable=not progress or world.rank > 0,
            unit="step",
            desc="meta-training",
        )
        try:
            for iteration in range(run.iteration, iterations):
                for group, rate in zip(groups, initial_rates, strict=True):
                    group["lr"] = rate * schedule(iteration / iterations)
                tasks = sampler.sample(meta_batch, iteration_generator(seed, iteration, sampler.device))
                try:
                    metrics = world.meta_update(learner, tasks)
                except (FloatingPointError, distributed.Terminated) as error:
                    save(iteration)  # the failed update changed nothing
                    kept = f"; {Path(out) / CHECKPOINT} holds the state before it" if out is not None else ""
                    raise type(error)(f"iteration {iteration}: {error}{kept}") from error
                done = iteration + 1
                if validate is not None and (done % validate_every == 0 or done == iterations):
                    metrics["validation"] = score = world.on_rank_zero(lambda: validate(learner))
                    if best is None or score > best["score"]:
                        weights = {key: value for key, value in learner.state_dict().items() if key != "_extra_state"}
                        weights = {key: value.clone() for key, value in weights.items()}
                        best = {"score": score, "iteration": done, "state": weights}
                history.append(metrics)
                if done % checkpoint_every == 0 or done == iterations:
                    saved = save(done)
                bar.set_postfix(metrics, refresh=False)
                bar.update()
        except distributed.GroupError as error:
            raise distributed.GroupError(f"iteration {iteration}: {error}; {how_to_resume(out, saved)}") from error
        finally:
            bar.close()
    if best is not None:
        learner.load_state_dict(learner.state_dict() | best["state"])
    return history


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
