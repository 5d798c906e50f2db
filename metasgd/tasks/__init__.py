"""Task distributions, from which support and query sets are drawn (chapters 1 to 7, 12 and 13)."""

from metasgd._core.slant import deslant
from metasgd.tasks.augment import Augment, Deslanted
from metasgd.tasks.episodes import EpisodeSampler
from metasgd.tasks.folds import composites, fold_digits, orientations
from metasgd.tasks.glyphs import glyph_classes
from metasgd.tasks.linear_regression import LinearRegressionSampler
from metasgd.tasks.mixture import Mixture
from metasgd.tasks.sine_waves import SineWaves, SineWaveSampler
from metasgd.tasks.strokes import Ink, distance_fields
from metasgd.tasks.valley import Valley

__all__ = [
    "Augment",
    "Deslanted",
    "EpisodeSampler",
    "Ink",
    "LinearRegressionSampler",
    "Mixture",
    "SineWaveSampler",
    "SineWaves",
    "Valley",
    "composites",
    "deslant",
    "distance_fields",
    "fold_digits",
    "glyph_classes",
    "orientations",
]
