"""Reading pictures of one's own: one step on a few of each class, then an answer for every other one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor

from metasgd._core.modes import evaluation_mode, no_inference_mode
from metasgd.evaluation import queries_read_by
from metasgd.meta_sgd import MetaSGD
from metasgd.strategies.query_statistics import SUPPORT_AND_QUERY, check_query_statistics
from metasgd.tasks.episodes import check_pictures

__all__ = ["Answers", "classify"]


class Answers(NamedTuple):
    """What a learner takes some pictures for.

    Attributes:
        labels: for each picture the name of the most probable class, or None for "none of these".
        probabilities: float32 of shape (pictures, classes), on the CPU.
        names: of the classes, in the order of the columns of ``probabilities``.
    """

    labels: list[str | None]
    probabilities: Tensor
    names: list[str]


def classify(
    learner: MetaSGD,
    classes: Sequence[Tensor],
    queries: Tensor,
    *,
    names: Sequence[str] | None = None,
    none_below: float | None = None,
    query_statistics: str = SUPPORT_AND_QUERY,
) -> Answers:
    """Adapt to a few pictures of each class, then say for every other picture which class it is.

    A learner of more ways than there are classes uses as many of its outputs, the first ones, in its step as well as
    in its answers. Its labels were dealt anew in every task of its training, so none of them means anything.

    A probability is that of the softmax over the classes. It compares the classes with one another, and a picture of
    something else may well be given a large one: ``none_below`` turns such pictures away in part only, and a few of
    the others with them.

    Args:
        learner: a trained learner of pictures, whose model takes the shape (examples, channels, height, width) and
            returns one score for each of its ways.
        classes: for each class its pictures, uint8 of shape (examples, height, width), or (examples, channels, height,
            width), as ``metasgd.data.load_folder`` returns them. uint8 is scaled to 0..1; floats stay as they are.
            Classes may differ in their number of pictures.
        queries: the pictures that are read, of the same dtype and form, as by ``metasgd.data.load_pictures``.
        names: of the classes (None: "0", "1", ...).
        none_below: answer "none of these" where the largest probability is smaller than this number (None: never).
        query_statistics: what batch normalisation takes its statistics from when a query is read:
            ``"support+query"``, the support set and this one query; ``"support"``, the support set alone; or
            ``"queries"``, all queries together, by which each answer depends on the other queries (chapter 7).

    Raises:
        ValueError: no ``MetaSGD`` learner; fewer than two classes, or more than the learner has ways; no picture to
            read, or of another form than those of the classes; a number of names that is not that of the classes;
            ``none_below`` beyond 0..1; a ``query_statistics`` that does not exist.
        FloatingPointError: the learner's output is not finite.

    >>> from metasgd.models import convnet
    >>> learner = MetaSGD(convnet(ways=5, width=8))
    >>> pictures = torch.randint(256, (2, 4, 28, 28), dtype=torch.uint8)  # four of each of two classes
    >>> answers = classify(learner, pictures[:, :1], pictures[:, 1:].flatten(0, 1), names=["circle", "star"])
    >>> len(answers.labels), answers.probabilities.shape
    (6, torch.Size([6, 2]))
    """
    classes = list(classes)
    names = check_request(learner, classes, queries, names, none_below, query_statistics)
    scores = scores_of_queries(learner, classes, queries, query_statistics)
    probabilities = scores.float().softmax(1).cpu()
    if not probabilities.isfinite().all():
        raise FloatingPointError("the learner's output is not finite after its step; take another learner")
    largest, best = probabilities.max(1)
    known = [none_below is None or value >= none_below for value in largest.tolist()]
    answers = [names[index] if is_known else None for index, is_known in zip(best.tolist(), known, strict=True)]
    return Answers(answers, probabilities, names)


@torch.no_grad()
def scores_of_queries(learner: MetaSGD, classes: Sequence[Tensor], queries: Tensor, query_statistics: str) -> Tensor:
    """Return the learner's scores of each query after its step, of shape (queries, classes).

    Args:
        learner: as in ``classify``.
        classes: see there.
        queries: see there.
        query_statistics: see there.

    Raises:
        ValueError: more classes than ways.
    """
    like = next(iter(learner.theta.values()))
    with no_inference_mode(), evaluation_mode(learner.model), queries_read_by(query_statistics, learner):
        support_x = torch.cat([as_input(pictures, like) for pictures in classes])
        labels = torch.arange(len(classes), device=like.device)
        support_y = labels.repeat_interleave(torch.tensor([len(pictures) for pictures in classes], device=like.device))
        query_x = as_input(queries, like)
        ways = learner.predict(support_x[:1]).shape[-1]
        if len(classes) > ways:
            raise ValueError(
                f"there are {len(classes)} classes, and the learner tells {ways} apart; leave {len(classes) - ways} "
                "of them out, or take a learner of more ways"
            )
        with first_outputs(learner, len(classes) if len(classes) < ways else None):
            adapted = learner.inner_update(support_x, support_y)
        scores: Tensor = learner.predict(query_x, adapted, support_x)
    return scores[:, : len(classes)]


def check_request(
    learner: MetaSGD,
    classes: Sequence[Tensor],
    queries: Tensor,
    names: Sequence[str] | None,
    none_below: float | None,
    query_statistics: str,
) -> list[str]:
    """Refuse what ``classify`` cannot serve, and return the names of the classes."""
    if not isinstance(learner, MetaSGD):
        raise ValueError(f"the learner is a {type(learner).__name__}, and must be a MetaSGD, which takes a step")
    if len(classes) < 2:
        raise ValueError(f"there are {len(classes)} classes; give two or more")
    for place, pictures in enumerate(classes):
        if not len(pictures):
            raise ValueError(f"class {place} has no picture; give one or more of each class")
    check_pictures(classes)
    if not len(queries):
        raise ValueError("there is no picture to read; give one or more")
    for what, here, there in (
        ("shape", tuple(queries.shape[1:]), tuple(classes[0].shape[1:])),
        ("dtype", queries.dtype, classes[0].dtype),
    ):
        if here != there:
            raise ValueError(f"the pictures to read have {what} {here}, those of the classes {there}; make them alike")
    if queries.is_floating_point() and not queries.isfinite().all():
        raise ValueError("the pictures to read have NaN or infinite pixels; clean the data")
    if names is not None and len(names) != len(classes):
        raise ValueError(f"there are {len(names)} names of {len(classes)} classes; give one for each")
    if none_below is not None and not 0 <= none_below <= 1:
        raise ValueError(f"none_below is {none_below}; it is a probability, from 0 to 1, or None")
    check_query_statistics(query_statistics)
    return [str(place) for place in range(len(classes))] if names is None else list(names)


def as_input(pictures: Tensor, like: Tensor) -> Tensor:
    """Return pictures as a network takes them, with a dimension of channels, as dtype and device of a tensor say.

    uint8 is scaled to 0..1.
    """
    channels = pictures if pictures.ndim == 4 else pictures.unsqueeze(1)
    scaled = channels / 255 if channels.dtype == torch.uint8 else channels
    return scaled.to(like)


@contextmanager
def first_outputs(learner: MetaSGD, count: int | None) -> Iterator[None]:
    """Let a learner's loss see the first outputs alone for the body of a ``with`` (None: all of them)."""
    if count is None:
        yield
        return
    loss_fn: Callable[..., Tensor] = learner.loss_fn
    del learner.loss_fn  # it may be a module, in whose place PyTorch takes no function
    learner.loss_fn = lambda prediction, target: loss_fn(prediction[..., :count], target)
    try:
        yield
    finally:
        del learner.loss_fn
        learner.loss_fn = loss_fn
