"""Learners that read pictures, wherever they are stored: in the package, in a run, or in a file of ``save``."""

from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from metasgd._core.saved_learner import read_state
from metasgd.meta_sgd import MetaSGD
from metasgd.models import convnet
from metasgd.recipes.browser import BrowserRecipe
from metasgd.recipes.contestants import Contestant
from metasgd.recipes.images import ImageRecipe
from metasgd.recipes.runs import load_run
from metasgd.recipes.shipped import load_weights

__all__ = ["PictureLearner", "learner_in_file", "learner_of_run", "shipped_learner"]

USUAL_SIZES = (28, 32, 64, 84)  # of which one is taken where a file of ``save`` allows several


class PictureLearner(NamedTuple):
    """A trained learner, and the pictures that it takes.

    Attributes:
        learner: its theta and alpha.
        size: the height and width of the pictures in pixels.
        colour: whether they have three channels.
        ink: whether it was trained on drawings that ``metasgd.data.ink_like_mnist`` had made like MNIST's digits.
        like_mnist: whether it has seen bright ink on black.
    """

    learner: MetaSGD
    size: int
    colour: bool
    ink: bool
    like_mnist: bool


def shipped_learner(name: str, device: torch.device | str = "cpu") -> PictureLearner:
    """Return a learner that ships with the package.

    Args:
        name: one of ``metasgd.recipes.shipped.weights_names()``.
        device: where it lives.

    Raises:
        ValueError: there is none of this name, or its file is damaged.
    """
    return PictureLearner(load_weights(name, device)[0], 28, False, False, True)


def learner_of_run(path: str | Path, device: torch.device | str = "cpu") -> PictureLearner:
    """Return the learner of a run of ``metasgd.recipes.meta_train``, finished or not, of any recipe of pictures.

    Args:
        path: the run's folder.
        device: where the learner lives.

    Raises:
        FileNotFoundError: no checkpoint there.
        ValueError: it is damaged, or of a recipe without pictures, or its learner takes no step.
    """
    run = load_run(path, device)
    recipe = run.recipe.problem if isinstance(run.recipe, Contestant) else run.recipe
    if not isinstance(recipe, ImageRecipe | BrowserRecipe):
        raise ValueError(
            f"the run in {path} is of the recipe {recipe.name}, which reads no pictures; name another run"
        )
    if not isinstance(run.learner, MetaSGD):
        raise ValueError(f"the learner in {path} is a {type(run.learner).__name__}, which takes no step; name another")
    if isinstance(recipe, BrowserRecipe):
        return PictureLearner(run.learner, 28, False, False, True)
    learner = recipe.for_pictures(run.learner)
    return PictureLearner(learner, recipe.size, recipe.colour, recipe.ink, recipe.like_mnist)


def learner_in_file(path: str | Path, size: int | None = None, device: torch.device | str = "cpu") -> PictureLearner:
    """Return the learner in a file of ``learner.save``, if its model is a ``metasgd.models.convnet``.

    Args:
        path: the file.
        size: the height and width of the pictures that it has seen (None: 28, 32, 64 or 84 if one of these fits the
            network, else the smallest that does).
        device: where the learner lives.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, holds a learner of another model, or one for pictures of another size.
    """
    state = read_state(path, None)
    try:
        options = convnet_options(state, size)
    except (KeyError, IndexError, ValueError) as error:
        raise ValueError(
            f"the learner in {path} has another model than metasgd.models.convnet; load it by MetaSGD.load, and call "
            "metasgd.classification.classify"
        ) from error
    taken = options["size"]
    model = convnet(**options)
    if (found := state["model." + list(model.state_dict())[-2]].shape[1]) != (own := model[-1].in_features):
        raise ValueError(
            f"the network in {path} has {found} features, and for pictures of {taken} x {taken} it would have {own}; "
            "name the size that it was made for"
        )
    learner = MetaSGD.load(path, model, with_optimizer=False).to(device)
    return PictureLearner(learner, taken, options["channels"] == 3, False, False)


def convnet_options(state: Mapping[str, Any], size: int | None) -> dict[str, int]:
    """Return the arguments with which ``convnet`` makes the model whose state this is.

    Raises:
        KeyError, IndexError, ValueError: no ``convnet`` has such a state, or such a picture.
    """
    weights = {
        key: value for key, value in state.items()
        if isinstance(value, Tensor) and key.startswith("model.") and key.endswith(".weight")
    }  # fmt: skip
    filters = [weight for weight in weights.values() if weight.ndim == 4]
    (last,) = [weight for weight in weights.values() if weight.ndim == 2]
    width, channels, blocks = len(filters[0]), filters[0].shape[1], len(filters)
    if f"model.{4 * blocks + 1}.weight" not in weights or channels not in (1, 3):
        raise ValueError("it is no convnet")
    left = isqrt(last.shape[1] // width)
    fitting = range(left << blocks, left + 1 << blocks)
    if size is None:
        size = next((usual for usual in USUAL_SIZES if usual in fitting), fitting[0])
    return {"ways": len(last), "width": width, "channels": channels, "blocks": blocks, "size": size}
