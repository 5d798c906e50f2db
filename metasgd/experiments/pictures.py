"""The experiment ``pictures``: how pictures of MNIST, Omniglot and glyphs differ (chapter 12)."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metasgd.data import load_mnist_sample, load_omniglot, load_omniglot_strokes
from metasgd.experiments.experiment import Cell, Cells, Experiment, Setup
from metasgd.recipes.omniglot import PENS_BY_EYE, PENS_MEASURED
from metasgd.tasks import Ink, glyph_classes

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
NUM_GLYPHS = 2000


def make_cells() -> Cells:
    """Return a cell for each set of pictures: MNIST, Omniglot as it is and as chapter 12 redraws it, and glyphs."""
    sets: dict[str, Callable[[str | Path | None], Tensor]] = {
        "MNIST": lambda root: torch.cat([digit[:200] for digit in load_mnist_sample()]),
        "Omniglot": lambda root: load_omniglot(root)[:, 0],
        "Omniglot, redrawn": partial(redrawn, PENS_BY_EYE),
        "redrawn, pens measured": partial(redrawn, PENS_MEASURED),
        "glyphs": lambda root: glyph_classes(NUM_GLYPHS, 1)[:, 0],
    }
    return {name: Cell("pictures", None, partial(measure, load), {"data": name}) for name, load in sets.items()}


def redrawn(ink: Ink, root: str | Path | None) -> Tensor:
    """Return one drawing of each of Omniglot's characters, redrawn with some pens, (characters, 28, 28) in 0..1."""
    fields = load_omniglot_strokes(root)[:, :1] / 255
    return ink(fields, torch.Generator().manual_seed(0))[:, 0]


def measure(load: Callable[[str | Path | None], Tensor], setup: Setup, folder: Path) -> dict[str, Any]:
    """Return how many pictures a set has, and the quantiles of their measures, to three decimals."""
    pictures = load(setup.root)
    return {
        "pictures": len(pictures),
        "quantiles": {
            name: [round(value, 3) for value in quantiles(values).tolist()]
            for name, values in measures(pictures).items()
        },
    }


def measures(pictures: Tensor) -> dict[str, Tensor]:
    """Measure each picture: how wide its strokes are, how much ink it has, how large it is and where (chapter 12).

    Args:
        pictures: bright ink, uint8 or 0..1, of shape (pictures, height, width).

    Returns:
        by the measure's name with its unit, one number for each picture.

    >>> bar = torch.zeros(1, 28, 28)
    >>> bar[:, 4:24, 12:15] = 1
    >>> {name: round(value.item(), 2) for name, value in measures(bar).items()}
    {'stroke width [pixels]': 2.64, 'ink [% of the picture]': 7.65, 'longer side [pixels]': 20.0, \
'off centre [pixels]': 0.5}
    """
    ink = pictures / 255 if pictures.dtype == torch.uint8 else pictures
    marked = ink >= ink.amax((1, 2), keepdim=True) / 2  # Omniglot's lines, averaged to 28 pixels, are grey
    sides = torch.stack([marked.any(1).sum(1), marked.any(2).sum(1)])
    middle = (torch.tensor(ink.shape[1:], device=ink.device) - 1) / 2
    rows, columns = (torch.arange(length, device=ink.device) for length in ink.shape[1:])
    mass = ink.sum((1, 2))
    centre = torch.stack([(ink.sum(2) * rows).sum(1), (ink.sum(1) * columns).sum(1)], 1) / mass[:, None]
    return {
        "stroke width [pixels]": stroke_width(ink),
        "ink [% of the picture]": 100 * ink.mean((1, 2)),
        "longer side [pixels]": sides.amax(0).float(),
        "off centre [pixels]": (centre - middle).norm(dim=1),
    }


def stroke_width(ink: Tensor) -> Tensor:
    """Return twice the ink, divided by the length of its edge.

    The area of a stroke is its length times its width, and its edge, but for the ends, is twice its length. The edge's
    length is the total variation, the sum of the lengths of the brightness's gradients; it needs no threshold. A line
    thinner than a pixel measures one pixel.

    Args:
        ink: (pictures, height, width), in 0..1.
    """
    padded = torch.nn.functional.pad(ink, (1, 1, 1, 1))
    down, across = padded[:, 1:, :-1] - padded[:, :-1, :-1], padded[:, :-1, 1:] - padded[:, :-1, :-1]
    return 2 * ink.sum((1, 2)) / (down.square() + across.square()).sqrt().sum((1, 2))


def quantiles(values: Tensor) -> Tensor:
    """Return the quantiles of some values at 5%, 25%, 50%, 75% and 95%."""
    return values.quantile(torch.tensor(QUANTILES, device=values.device))


PICTURES = Experiment(
    name="pictures",
    description="How wide, dark, large and centred the pictures of several data sets are",
    cells=make_cells,
    recipe=None,
    data="omniglot",
    tasks=0,
)
