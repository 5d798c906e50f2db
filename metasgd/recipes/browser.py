"""The learner of the page that adapts in a browser (chapter 14)."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from metasgd.baselines import nearest_class_mean
from metasgd.data import load_mnist_sample
from metasgd.evaluation import Evaluation, Method, Sampler, evaluate
from metasgd.meta_sgd import MetaSGD
from metasgd.rates import with_rates
from metasgd.recipes.omniglot import TEST_SHOTS, OmniglotRecipe, digit_sampler, starting_rates
from metasgd.recipes.recipe import Recipe, device_of, setting
from metasgd.tasks import EpisodeSampler
from metasgd.tasks.glyphs import glyph_classes

WAYS = 5
SCALAR_RATES = (0.03, 0.1, 0.3, 1.0, 3.0)  # of which the best is the page's single rate


@dataclass(frozen=True)
class BrowserRecipe(Recipe):
    """A run of the page's learner (chapter 14).

    Half of the tasks are of Omniglot's 1,200 training characters, each picture redrawn with a hand and a pen of its
    own, and half of random glyphs. The last layer starts at zero. The data are Omniglot's drawings as distance fields,
    as ``metasgd.data.load_omniglot_strokes`` returns them.
    """

    name = "browser"
    about = "the learner of the page that adapts in a browser (chapter 14)"
    example = "--data-root data"
    data_folder = OmniglotRecipe.data_folder
    num_test_tasks = 1000
    method = "meta-sgd"

    width: int = setting(32, "filters of each convolution", least=1)
    groups: int = setting(4, "groups of filters that are normalised together", least=1)
    iterations: int = setting(10_000, "meta-updates in all", least=1)
    meta_batch: int = setting(4, "tasks in a meta-update", least=1)
    train_queries: int = setting(5, "query examples of a class in meta-training", least=1)
    meta_lr: float = setting(3e-3, "beta, Adam's rate for theta", least=0)
    alpha_lr: float = setting(3e-3, "gamma, Adam's rate for alpha", least=0)
    task_lr: float = setting(0.1, "alpha at the start, but for the last layer", least=0)
    head_lr: float = setting(1.0, "alpha of the last layer at the start", least=0)
    seed: int = setting(0, "of the network's start and of the training tasks", least=0)

    def build_network(self) -> nn.Sequential:
        """Return the page's network, drawing its start from the global random state."""
        return sketch_net(self.width, self.groups)

    def learner_options(self, network: nn.Module, device: torch.device) -> dict[str, Any]:
        """Return the arguments of ``MetaSGD``; the network's last layer is set to zero."""
        rates = starting_rates(network, self.task_lr, self.head_lr)
        return {"meta_lr": self.meta_lr, "alpha_lr": self.alpha_lr, "task_lr": rates}

    def load_data(self, root: str | Path | None = None, *, download: bool = False) -> Tensor:
        """Return Omniglot's drawings as distance fields."""
        return OmniglotRecipe(look="mixed").load_data(root, download=download)

    def training_tasks(
        self, data: Tensor, device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> Sampler:
        """Return the tasks of meta-training."""
        tasks = OmniglotRecipe(look="mixed", train_queries=self.train_queries, seed=self.seed)
        return tasks.training_tasks(data, device)

    def test_tasks(
        self, data: Tensor, device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> EpisodeSampler:
        """Return 1-shot tasks of the 423 characters that were left out, drawn as the page draws."""
        return OmniglotRecipe(look="redrawn").test_tasks(data, device)

    def test_samplers(self, data: Tensor, device: torch.device | str = "cpu") -> dict[tuple[str, int], EpisodeSampler]:
        """Return all tasks of the test by ("characters" or "digits", shots); digits are all ten of MNIST."""
        samplers = {}
        for shots in TEST_SHOTS:
            samplers["characters", shots] = OmniglotRecipe(look="redrawn", shots=shots).test_tasks(data, device)
            samplers["digits", shots] = digit_sampler(load_mnist_sample(), WAYS, shots, device)
        return samplers

    def test(
        self, learner: MetaSGD, data: Tensor, num_tasks: int | None = None, *, seed: int = 0, progress: bool = False
    ) -> dict[str, Evaluation]:
        """Return the accuracy on new characters and on MNIST's digits, at one and five shots; see ``Recipe.test``."""
        count = self.num_test_tasks if num_tasks is None else num_tasks
        return {
            f"{kind}, {shots}-shot": evaluate(learner, tasks, count, seed=seed, progress=progress)
            for (kind, shots), tasks in self.test_samplers(data, device_of(learner)).items()
        }


def sketch_net(width: int = 32, groups: int = 4) -> nn.Sequential:
    """Return the page's network for pictures (examples, 1, 28, 28): logits (examples, 5).

    Each of four blocks is a 3 x 3 convolution with stride 2, group normalisation and ReLU. With batch
    normalisation, the answer to a drawing would depend on the other drawings of a batch; on a page there are none.

    >>> sketch_net(8)(torch.zeros(3, 1, 28, 28)).shape
    torch.Size([3, 5])
    """
    layers: list[nn.Module] = []
    for channels in (1, width, width, width):
        layers += [nn.Conv2d(channels, width, 3, stride=2, padding=1), nn.GroupNorm(groups, width), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(4 * width, WAYS))


def with_one_rate(learner: MetaSGD, rate: float) -> Method:
    """Return the method that takes the step from the same theta with one rate for all parameters."""
    return with_rates(learner, lambda name, learned: torch.full_like(learned, rate))


@torch.no_grad()
def cosines_with_means(learner: MetaSGD, support_x: Tensor, support_y: Tensor, query_x: Tensor) -> Tensor:
    """Return the cosine of each query with the mean of each class, in the features of theta, before any step.

    Features are what the last layer of ``sketch_net`` reads. The page compares these cosines with the answers after a
    step, and where the largest is small it says "none of these".

    Args:
        learner: of the page.
        support_x: pictures of shape (examples, 1, 28, 28).
        support_y: int64 labels 0 to ways - 1, of shape (examples,), each label at least once.
        query_x: pictures of shape (queries, 1, 28, 28).

    Returns:
        float32 of shape (queries, ways).
    """
    body = learner.model[:-1]  # type: ignore[index]  # it is an nn.Sequential
    theta = {name: value for name, value in learner.theta.items() if name.split(".")[0] != str(len(body))}
    features, of_queries = (functional_call(body, theta, (x,)) for x in (support_x, query_x))
    return nearest_class_mean(features, support_y, of_queries)


def best_single_rate(learner: MetaSGD, rates: Sequence[float] = SCALAR_RATES, num_tasks: int = 200) -> float:
    """Return the rate with which theta does best if all parameters share one, on glyphs of a seed of their own."""
    sampler: Sampler = EpisodeSampler(glyph_classes(300, 20, seed=99), WAYS, 1, 15)
    means = {rate: evaluate(with_one_rate(learner, rate), sampler, num_tasks, seed=99).mean for rate in rates}
    return max(means, key=means.__getitem__)
