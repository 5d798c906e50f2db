"""What every recipe is: settings that make a learner, its tasks and its test.

A recipe is a frozen dataclass. Its fields decide a run completely, apart from where the data lie and which device
computes. ``metasgd.recipes.meta_train`` trains any of them, and ``metasgd.recipes.load_run`` reads what it saved.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import Field, asdict, field, fields
from inspect import cleandoc
from numbers import Integral, Real
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_args

import torch
from torch import nn

from metasgd.evaluation import Evaluation, Method, Sampler, evaluate
from metasgd.meta_sgd import MetaSGD
from metasgd.training import cosine_decay

UNCLIPPED: dict[str, Any] = {"inner_max_norm": None, "max_norm": None}  # arguments of ``MetaSGD`` for all recipes
METHODS = ("meta-sgd", "maml")  # MAML is Meta-SGD whose alpha is held at its start
VALIDATION_TASKS = 200
VALIDATION_SEED = 1

T = TypeVar("T")
M = TypeVar("M", bound=nn.Module)
R = TypeVar("R", bound="Recipe")


def setting(
    default: T,
    help: str,
    *,
    choices: tuple[str, ...] = (),
    least: float | None = None,
    above: float | None = None,
) -> T:
    """Return a field of a recipe.

    Args:
        default: its value where none is given.
        help: what it decides, for the documentation of the class and for the command line.
        choices: the texts that are allowed (none given: any).
        least: the smallest number that is allowed (None: any that is finite).
        above: a number that is too small, while all larger ones are allowed (None: there is none).
    """
    made: Any = field(default=default, metadata={"help": help, "choices": choices, "least": least, "above": above})
    return made  # type: ignore[no-any-return]  # dataclasses themselves declare a field as its value


def in_words(value: object) -> str:
    """Return the value of a setting as documentation and command line show it.

    >>> [in_words(value) for value in (0.1, True, None, (), (7, 9))]
    ['0.1', 'on', 'none', 'none', '7 9']
    """
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, tuple):
        return " ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def check_numbers(one: Field[Any], value: Any) -> None:
    """Refuse a setting that is not a number where it must be one, or with a number that is not allowed.

    Raises:
        ValueError: a number that is not finite, too small, or not whole where a whole one is due.
    """
    least, above = one.metadata.get("least"), one.metadata.get("above")
    if one.type in (int, "int") and (isinstance(value, bool) or not isinstance(value, Integral)):
        raise ValueError(f"{one.name} is {value!r}; it must be a whole number")
    numbers = value if isinstance(value, tuple | list) else (value,)
    or_none = ", or None" if type(None) in get_args(one.type) else ""
    for number in numbers:
        if not isinstance(number, Real):
            if number is None or (least is None and above is None):
                continue
            raise ValueError(f"{one.name} is {value!r}; it must be a number")
        if not math.isfinite(number):
            raise ValueError(f"{one.name} is {value}; it must be finite")
        if least is not None and number < least:
            raise ValueError(f"{one.name} is {value}; it must be at least {least}{or_none}")
        if above is not None and number <= above:
            raise ValueError(f"{one.name} is {value}; it must be above {above}{or_none}")


def seeded(seed: int, build: Callable[[], M]) -> M:
    """Build a network from a seed: the same seed gives the same network on every device.

    The global random state is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build()


class Recipe:
    """Settings of a run, with everything that follows from them.

    A subclass is a frozen dataclass whose fields are made by ``setting``. It must have the settings that are declared
    here, and define ``build_network``, ``learner_options``, ``training_tasks`` and ``test_tasks``.

    Attributes:
        name: the name of the recipe, in checkpoints and on the command line.
        about: what is learned, in a few words; the command line shows it.
        example: the options in the example that the command line shows.
        data_folder: what the folder of its data contains (empty: it needs no data).
        own_data: whether the data are a folder of the user's own, which must be named.
        can_download: whether torchvision can download the data.
        metric: what ``test`` measures.
        num_test_tasks: tasks of a test, unless another number is asked for.
        checkpoint_every: meta-updates between two checkpoints, unless another number is asked for.
        validate_every: meta-updates between two validations, unless another number is asked for.
    """

    name: ClassVar[str]
    about: ClassVar[str] = ""
    example: ClassVar[str] = ""
    data_folder: ClassVar[str] = ""
    own_data: ClassVar[bool] = False
    can_download: ClassVar[bool] = True
    metric: ClassVar[str] = "accuracy"
    num_test_tasks: ClassVar[int] = 600
    checkpoint_every: ClassVar[int] = 100
    validate_every: ClassVar[int] = 100
    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    method: str
    iterations: int
    meta_batch: int
    seed: int

    def __init_subclass__(cls, **options: Any) -> None:
        """Add every setting, inherited ones too, with its default, to the documentation of the class."""
        super().__init_subclass__(**options)
        found = getattr(cls, "__dataclass_fields__", {}) | vars(cls)
        settings = {n: value for n, value in found.items() if isinstance(value, Field) and "help" in value.metadata}
        if settings:
            lines = [f"    {n}: {f.metadata['help']} (default: {in_words(f.default)})." for n, f in settings.items()]
            cls.__doc__ = "\n".join([cleandoc(cls.__doc__ or ""), "", "Args:", *lines])

    def __post_init__(self) -> None:
        for one in fields(self):
            value, choices = getattr(self, one.name), one.metadata.get("choices")
            if choices and value not in choices:
                raise ValueError(f"{one.name} {value!r} does not exist; choose one of {', '.join(choices)}")
            check_numbers(one, value)

    # The learner

    def build_network(self) -> nn.Module:
        """Return the network, drawing its start from the global random state."""
        raise NotImplementedError

    def make_network(self) -> nn.Module:
        """Return the network at its random start: the same seed gives the same start, on every device."""
        return seeded(self.seed, self.build_network)

    def learner_options(self, network: nn.Module, device: torch.device) -> dict[str, Any]:
        """Return the arguments with which ``MetaSGD`` is made of a network; it may change the network's start."""
        raise NotImplementedError

    def make_learner(
        self, device: torch.device | str = "cpu", *, compile: bool = False, precision: str = "float32"
    ) -> MetaSGD:
        """Return the untrained learner, with its network at the random start.

        Args:
            device: where it lives.
            compile: as in ``MetaSGD``.
            precision: as in ``MetaSGD``.
        """
        network = self.make_network()
        options = self.learner_options(network, torch.device(device))
        return MetaSGD(network, **UNCLIPPED, **options, compile=compile, precision=precision).to(device)

    def warm_start(self, learner: MetaSGD) -> None:
        """Before meta-training, give a learner the theta and alpha of another one, where the settings name one."""

    # The tasks

    def load_data(self, root: str | Path | None = None, *, download: bool = False) -> Any:
        """Return what tasks are drawn from, or None where they are drawn from nothing but random numbers.

        Args:
            root: the folder of the data (None: the environment variable ``METASGD_DATA``).
            download: let torchvision download the data into the folder first, if they are not there.

        Raises:
            FileNotFoundError: the folder lacks the data.
            ValueError: ``download`` where there is nothing to download.
        """
        if download:
            raise ValueError(f"the recipe {self.name} uses no data that could be downloaded; leave download out")
        return None

    def load_test_data(self, root: str | Path | None = None) -> Any:
        """Return what ``test_tasks`` needs: the data of ``load_data``, or less."""
        return self.load_data(root)

    def check_data(self, data: Any, device: torch.device | str = "cpu") -> None:
        """Raise ``ValueError`` before meta-training if the data cannot serve the test that comes after it."""

    def training_tasks(
        self, data: Any, device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> Sampler:
        """Return where the tasks of meta-training come from.

        Args:
            data: what ``load_data`` returns.
            device: where tasks are drawn.
            learner: the learner that is trained, for tasks that depend on what it does (navigation alone).
        """
        raise NotImplementedError

    def validation_tasks(
        self, data: Any, device: torch.device | str = "cpu", *, learner: MetaSGD | None = None
    ) -> Sampler | None:
        """Return where the tasks come from that choose the best iterate (None: the last iterate is kept)."""
        return None

    def test_tasks(self, data: Any, device: torch.device | str = "cpu", *, learner: MetaSGD | None = None) -> Sampler:
        """Return where the tasks of the test come from."""
        raise NotImplementedError

    # Meta-training and test

    def schedule(self, fraction: float) -> float:
        """Return the factor of both outer learning rates after a fraction of the run: from 1 to 0 along a cosine."""
        return cosine_decay(fraction)

    def validation(self, data: Any, device: torch.device | str = "cpu") -> Callable[[MetaSGD], float] | None:
        """Return the score that chooses the best iterate, larger being better (None: the last iterate is kept)."""
        tasks = self.validation_tasks(data, device)
        if tasks is None:
            return None
        return lambda learner: evaluate(learner, tasks, VALIDATION_TASKS, seed=VALIDATION_SEED).mean

    def test(
        self,
        learner: MetaSGD,
        data: Any,
        num_tasks: int | None = None,
        *,
        seed: int = 0,
        progress: bool = False,
    ) -> dict[str, Evaluation]:
        """Return how well a learner does on tasks that it has never seen.

        Args:
            learner: a trained learner of this recipe.
            data: what ``load_test_data`` returns.
            num_tasks: how many tasks (None: ``num_test_tasks``).
            seed: of the tasks; the same seed gives every learner the same tasks.
            progress: show a bar on standard error.

        Returns:
            the ``metric``, by what was measured.
        """
        tasks = self.test_tasks(data, device_of(learner), learner=learner)
        count = self.num_test_tasks if num_tasks is None else num_tasks
        return {self.method: evaluate(learner, tasks, count, seed=seed, progress=progress)}

    # What a checkpoint stores

    def config(self, data: Any = None) -> dict[str, Any]:
        """Return what a checkpoint stores of a run: the recipe's name, its settings, and what the data were."""
        return {"recipe": self.name, **self.describe_data(data), **self.settings()}

    def settings(self) -> dict[str, Any]:
        """Return the settings by name, as checkpoints and results files store them."""
        return asdict(self)

    def describe_data(self, data: Any) -> dict[str, Any]:
        """Return what a run must have in common with its resumption, besides the settings."""
        return {}

    def check_same_data(self, data: Any, config: Mapping[str, Any]) -> None:
        """Raise ``ValueError`` if the data of a test are such that a run may have been trained on what it would test.

        Args:
            data: what ``load_test_data`` returns.
            config: what the run's checkpoint stores.
        """

    @classmethod
    def choices(cls, name: str) -> tuple[str, ...]:
        """Return the texts that a setting may have."""
        allowed: tuple[str, ...] = cls.__dataclass_fields__[name].metadata["choices"]
        return allowed

    @classmethod
    def from_config(cls: type[R], config: Mapping[str, Any]) -> R:
        """Return the recipe whose settings a checkpoint or a results file holds; other entries play no part."""
        settings = {one.name: config[one.name] for one in fields(cls) if one.name in config}
        return cls(**{name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()})


def device_of(learner: nn.Module) -> torch.device:
    """Return where a learner's parameters are."""
    return next(learner.parameters()).device


def without_step(learner: MetaSGD) -> Method:
    """Return the method that does not adapt: it predicts with theta, whatever the support set is."""
    return lambda support_x, support_y, query_x: learner.predict(query_x)
