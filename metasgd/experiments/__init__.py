"""Experiments whose results the book shows: one file an experiment, and here all of them by name.

``python -m metasgd experiment NAME`` runs one, and ``load_results`` reads what it wrote.
"""

from metasgd.experiments.browser import BROWSER
from metasgd.experiments.browser_page import BROWSER_PAGE
from metasgd.experiments.copies import COPIES
from metasgd.experiments.experiment import TEST_SEED, VALIDATION_SEED, Experiment
from metasgd.experiments.linear import LINEAR
from metasgd.experiments.mnist import MNIST
from metasgd.experiments.mnist_classes import MNIST_CLASSES
from metasgd.experiments.mnist_comparison import MNIST_COMPARISON
from metasgd.experiments.mnist_folds import MNIST_FOLDS
from metasgd.experiments.mnist_methods import MNIST_METHODS
from metasgd.experiments.mnist_methods_5shot import MNIST_METHODS_5SHOT
from metasgd.experiments.mnist_scratch import MNIST_SCRATCH
from metasgd.experiments.mnist_tuning import MNIST_TUNING
from metasgd.experiments.navigation import NAVIGATION
from metasgd.experiments.navigation_rewards import NAVIGATION_REWARDS
from metasgd.experiments.navigation_variants import NAVIGATION_VARIANTS
from metasgd.experiments.omniglot import OMNIGLOT
from metasgd.experiments.omniglot_comparison import OMNIGLOT_COMPARISON
from metasgd.experiments.omniglot_errors import OMNIGLOT_ERRORS
from metasgd.experiments.omniglot_methods import OMNIGLOT_METHODS
from metasgd.experiments.omniglot_mnist import OMNIGLOT_MNIST
from metasgd.experiments.omniglot_mnist_methods import OMNIGLOT_MNIST_METHODS
from metasgd.experiments.pictures import PICTURES
from metasgd.experiments.results import load_benchmark, load_results
from metasgd.experiments.runner import run_experiment
from metasgd.experiments.sine import SINE
from metasgd.experiments.sine_rates import SINE_RATES

__all__ = [
    "EXPERIMENTS",
    "TEST_SEED",
    "VALIDATION_SEED",
    "Experiment",
    "load_benchmark",
    "load_results",
    "run_experiment",
]

# A new experiment is one file, and its record here.
EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        SINE,
        SINE_RATES,
        LINEAR,
        NAVIGATION,
        NAVIGATION_REWARDS,
        NAVIGATION_VARIANTS,
        MNIST,
        MNIST_COMPARISON,
        MNIST_FOLDS,
        MNIST_SCRATCH,
        MNIST_CLASSES,
        MNIST_TUNING,
        MNIST_METHODS,
        MNIST_METHODS_5SHOT,
        OMNIGLOT,
        OMNIGLOT_COMPARISON,
        OMNIGLOT_METHODS,
        OMNIGLOT_MNIST,
        OMNIGLOT_MNIST_METHODS,
        COPIES,
        OMNIGLOT_ERRORS,
        PICTURES,
        BROWSER,
        BROWSER_PAGE,
    )
}
