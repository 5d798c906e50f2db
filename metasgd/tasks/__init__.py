"""Task distributions: where support and query sets come from."""

from metasgd.tasks.augment import Augment
from metasgd.tasks.episodes import EpisodeSampler
from metasgd.tasks.folds import composites, fold_digits, orientations
from metasgd.tasks.linear_regression import LinearRegressionSampler

__all__ = [
    "Augment",
    "EpisodeSampler",
    "LinearRegressionSampler",
    "composites",
    "fold_digits",
    "orientations",
]
