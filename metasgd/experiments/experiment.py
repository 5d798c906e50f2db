"""What an experiment is: a record that says what it runs, on which data, and how its table is printed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from metasgd.experiments.results import Results
from metasgd.recipes import Recipe

TEST_SEED = 2024  # of the test tasks, on which no setting was chosen
VALIDATION_SEED = 2023  # of the tasks on which settings are chosen
CURVE_POINTS = 50  # of a loss curve, unless an experiment asks for another number


@dataclass(frozen=True)
class Setup:
    """What all cells of an experiment are run with.

    Attributes:
        tasks: how many test tasks each score has.
        device: where to compute.
        root: folder of Omniglot (None: the environment variable ``METASGD_DATA``).
        images: MNIST by class, for the experiments that need it.
        compile: compile the learners, as ``MetaSGD`` does, for the experiments that can be compiled.
        precision: of these learners, as in ``MetaSGD``.
    """

    tasks: int
    device: torch.device | str = "cpu"
    root: str | Path | None = None
    images: list[Tensor] | None = None
    compile: bool = False
    precision: str = "float32"

    @property
    def mnist(self) -> list[Tensor]:
        """MNIST by class.

        Raises:
            ValueError: it was not given.
        """
        if self.images is None:
            raise ValueError(
                "this cell needs MNIST; give the setup its images as metasgd.data.load_mnist returns them"
            )
        return self.images


@dataclass(frozen=True)
class Cell:
    """One run of an experiment, before it is made.

    Attributes:
        part: which part of the experiment it is, e.g. ``"table"`` or ``"tuning"``.
        recipe: the settings that it follows (None: it follows no recipe).
        run: makes the run, given the setup and a folder for its checkpoint; returns what else a results file keeps of
            it, above all its ``scores``.
        fields: what sets the cell apart and is no setting of its recipe, e.g. ``{"rung": "digits"}``.
    """

    part: str
    recipe: Recipe | None
    run: Callable[[Setup, Path], dict[str, Any]]
    fields: Mapping[str, Any] = field(default_factory=dict)

    def describe(self) -> dict[str, Any]:
        """Return what a results file says of the cell before it is run; a field takes the place of a setting."""
        said: dict[str, Any] = {"part": self.part, **self.fields}
        if self.recipe is None:
            return said
        config = {key: value for key, value in self.recipe.settings().items() if key not in self.fields}
        return said | {"recipe": self.recipe.name, "config": config}


Cells = Mapping[str, Cell]  # by a name, which is also that of its folder


@dataclass(frozen=True)
class Experiment:
    """An experiment whose results the book shows.

    Attributes:
        name: of the experiment and of its results file.
        description: what it finds out, in one line.
        cells: returns its cells, given settings that differ from the book's in all of them.
        recipe: the class of its settings (None: it follows none, and has no settings).
        data: the data it needs, MNIST or Omniglot (None: none, only random numbers).
        tasks: test tasks of each score, unless another number is asked for (0: nothing is tested).
        compiled: whether its learners can be compiled, and compute in another precision.
        print_table: prints its table for people, and returns it (None: it has none).
    """

    name: str
    description: str
    cells: Callable[..., Cells]
    recipe: type[Recipe] | None
    data: Literal["mnist", "omniglot"] | None = None
    tasks: int = 600
    compiled: bool = False
    print_table: Callable[[Results], dict[str, Any]] | None = None

    def make_cells(self, changes: Mapping[str, Any]) -> Cells:
        """Return the cells, with some settings other than in the book.

        Args:
            changes: fields of the recipe, by name.

        Raises:
            ValueError: a change that the experiment cannot make.
        """
        if self.recipe is None:
            if named := [key for key, value in changes.items() if (key, value) != ("seed", 0)]:
                raise ValueError(f"{self.name} follows no recipe; leave {', '.join(sorted(named))} out")
            return self.cells()
        known = {one.name for one in fields(self.recipe)}
        if unknown := changes.keys() - known:
            raise ValueError(f"{self.name} has no setting {', '.join(sorted(unknown))}; leave it out")
        return self.cells(**changes)


def loss_curve(history: list[dict[str, float]], every: int | None = None) -> dict[str, Any]:
    """Return the meta-loss of a run, averaged over every so many meta-updates.

    Args:
        history: of the run, as ``metasgd.recipes.meta_train`` returns it.
        every: meta-updates of one mean (None: so many that ``CURVE_POINTS`` are left).
    """
    every = every or max(1, len(history) // CURVE_POINTS)
    losses = torch.tensor([entry["loss"] for entry in history])
    whole = len(losses) // every * every
    return {"every": every, "mean_loss": losses[:whole].reshape(-1, every).mean(1).tolist()}
