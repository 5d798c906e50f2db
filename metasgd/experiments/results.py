"""Reading results files: their scores are records, chosen by what their fields say (chapters 1, 6, 8, 11 to 14).

A results file of format 2 is one JSON object: its name (``experiment``), the ``command`` that makes it, how many test
``tasks`` each score has and their ``task_seed``, and its ``cells``. A cell is one run. It says what it is (``part`` of
the experiment and the like), which ``recipe`` it follows and with which ``config``, its ``scores``, further
measurements such as ``loss_curve``, and its ``provenance``: code, versions, machine and seconds.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from metasgd._core.files import FOLDERS, find_file
from metasgd.evaluation import Evaluation, interval
from metasgd.strategies.query_statistics import QUERIES, SUPPORT, SUPPORT_AND_QUERY

FORMAT = 2
ACCURACY, SQUARED_ERROR, MEAN_RETURN = "accuracy", "mean squared error", "mean return"
NLL, CALIBRATION_ERROR = "negative log-likelihood", "expected calibration error"
SMALLER_ERROR, LARGER_ERROR = "smaller error", "larger error"  # the fractions of tasks on which it is
READINGS = {
    QUERIES: "together",
    SUPPORT: "by the support set",
    SUPPORT_AND_QUERY: "one by one, with the support set",
}
# The fields of a score by which it can be chosen.
SCORE_FIELDS = ("metric", "method", "data", "ways", "shots", "variant", "settings")


@dataclass(frozen=True)
class Score:
    """One number of a results file, and what it measures.

    Attributes:
        metric: what was measured, e.g. ``"accuracy"`` or ``"mean squared error"``.
        method: what was tested, e.g. ``"meta-sgd"``.
        data: what the test tasks are drawn from, e.g. ``"held-out digits"``.
        ways: classes of a test task (None: they have none).
        shots: support examples of a test task, of each class where there are classes (None: does not apply).
        variant: in which way the method was changed or used, e.g. ``"clipped"`` rates (None: as it is).
        settings: the settings of this test alone, by name, where several were tried on one learner.
        mean: over the test tasks.
        half_width: of the mean's 95% interval over the test tasks.
        tasks: how many test tasks there were.
        right_answers: how many answers were right in each task, where that is stored.
        answers: how many answers each task has, where that is stored.
        cell: the run that it belongs to.
    """

    metric: str
    method: str
    data: str
    ways: int | None
    shots: int | None
    variant: str | None
    settings: Mapping[str, Any]
    mean: float
    half_width: float
    tasks: int
    right_answers: tuple[int, ...] | None
    answers: int | None
    cell: "StoredCell" = field(repr=False)

    @property
    def per_task(self) -> Tensor:
        """The accuracy in each task, float32 of shape (tasks,); empty where it is not stored."""
        if self.right_answers is None:
            return torch.empty(0)
        assert self.answers is not None  # both or neither
        return torch.tensor([float(count) for count in self.right_answers]) / self.answers

    @property
    def evaluation(self) -> Evaluation:
        """The score as ``metasgd.evaluate`` returns one."""
        return Evaluation(self.mean, self.half_width, self.per_task)

    @property
    def read_by(self) -> str:
        """By what batch norm normalised the queries, as in ``MetaSGD``; where nothing says so, it was all of them."""
        found: str = self.settings.get("query_statistics") or self.cell.get("query_statistics") or QUERIES
        return found

    def matches(self, wanted: Mapping[str, Any]) -> bool:
        """Say whether all fields of ``SCORE_FIELDS`` that are wanted have these values."""
        return all(getattr(self, name) == value for name, value in wanted.items())


class StoredCell:
    """One finished run of a results file: what it is, its settings, its scores, and how it was made.

    ``cell["part"]`` reads one field. ``cell.scores(...)`` and ``cell.score(...)`` choose among its scores.
    """

    def __init__(self, name: str, content: Mapping[str, Any]) -> None:
        self.name = name
        self.content = {key: value for key, value in content.items() if key != "scores"}
        self._scores = [read_score(record, self) for record in content.get("scores", ())]

    def __repr__(self) -> str:
        return f"StoredCell({self.name!r})"

    def __contains__(self, key: str) -> bool:
        return key in self.content

    def __getitem__(self, key: str) -> Any:
        if key not in self.content:
            raise KeyError(f"{key}: the cell {self.name!r} has the fields {', '.join(self.content)}")
        return self.content[key]

    @property
    def config(self) -> dict[str, Any]:
        """The fields of its recipe, by name; empty where none are stored."""
        config: dict[str, Any] = self.content.get("config", {})
        return config

    @property
    def provenance(self) -> dict[str, Any]:
        """Code, versions, machine and seconds; empty where the file says them once for all cells."""
        found: dict[str, Any] = self.content.get("provenance", {})
        return found

    def get(self, key: str) -> Any:
        """Return the value of a field, or else of a setting in the config (None: the cell has neither)."""
        return self.content.get(key, self.config.get(key))

    def scores(self, **wanted: Any) -> list[Score]:
        """Return the scores whose fields have these values, in the order of the file."""
        return Results(self.name, {}, [self]).scores(**wanted)

    def score(self, **wanted: Any) -> Score:
        """Return the one score whose fields have these values; see ``Results.score``."""
        return Results(self.name, {}, [self]).score(**wanted)


class Results:
    """A results file, or some of its cells.

    Args:
        name: of the experiment.
        header: what the file says of all cells.
        cells: the finished runs, in the order of the file.

    >>> record = {"metric": "accuracy", "method": "maml", "data": "digits", "ways": 5, "shots": 1,
    ...           "mean": 0.75, "half_width_95": 0.01, "tasks": 600}
    >>> cell = StoredCell("first", {"part": "folds", "config": {"fold": 2}, "scores": [record]})
    >>> Results("example", {}, [cell]).score(method="maml", fold=2).mean
    0.75
    """

    def __init__(self, name: str, header: Mapping[str, Any], cells: Iterable[StoredCell]) -> None:
        self.name, self.header, self.cells = name, dict(header), tuple(cells)

    def __iter__(self) -> Iterator[StoredCell]:
        return iter(self.cells)

    def __len__(self) -> int:
        return len(self.cells)

    @property
    def command(self) -> str:
        """The command that makes the file again."""
        command: str = self.header["command"]
        return command

    def select(self, **wanted: Any) -> "Results":
        """Return the cells that have these values in their fields, or else in their settings.

        Raises:
            LookupError: no cell has a field of that name.
        """
        for key in wanted:
            if not any(key in cell or key in cell.config for cell in self.cells):
                known = dict.fromkeys(name for cell in self.cells for name in (*cell.content, *cell.config))
                raise LookupError(f"no cell of {self.name} has a field {key!r}; there are {', '.join(known)}")
        values = {key: as_stored(value) for key, value in wanted.items()}
        cells = [cell for cell in self.cells if all(cell.get(key) == value for key, value in values.items())]
        return Results(self.name, self.header, cells)

    def cell(self, **wanted: Any) -> StoredCell:
        """Return the one cell that has these values in its fields, or else in its settings.

        Raises:
            LookupError: there is none, or more than one; the error lists those that there are.
        """
        found = self.select(**wanted).cells
        if len(found) != 1:
            there_are = ", ".join(cell.name for cell in found or self.cells)
            raise LookupError(
                f"{len(found)} cells of {self.name} have {described(wanted)}; name the fields of one: {there_are}"
            )
        return found[0]

    def scores(self, **wanted: Any) -> list[Score]:
        """Return the scores that have these values, in the order of the file.

        Args:
            wanted: by name, fields of ``SCORE_FIELDS``, which are those of the score; all others are fields or
                settings of its cell. ``variant=None`` selects methods as they are; without it, all variants are
                returned.

        Raises:
            LookupError: no cell has a field of that name.
        """
        own = {key: as_stored(value) for key, value in wanted.items() if key in SCORE_FIELDS}
        cells = self.select(**{key: value for key, value in wanted.items() if key not in SCORE_FIELDS})
        return [score for cell in cells for score in cell._scores if score.matches(own)]

    def score(self, **wanted: Any) -> Score:
        """Return the one score that has these values, named as for ``scores``.

        Raises:
            LookupError: there is none, or more than one; the error lists those that there are.
        """
        found = self.scores(**wanted)
        if len(found) != 1:
            others = {key: value for key, value in wanted.items() if key not in SCORE_FIELDS}
            there_are = choices(found or self.scores(**others) or self.scores())
            raise LookupError(f"{len(found)} scores of {self.name} have {described(wanted)}; there are {there_are}")
        return found[0]


def how_read(scores: Iterable[Score]) -> str:
    """Return, for the last line of a table, how its scores' queries were read: the choices of chapter 8."""
    return "queries are read " + ", or ".join(dict.fromkeys(READINGS[score.read_by] for score in scores))


def read_score(record: Mapping[str, Any], cell: StoredCell) -> Score:
    """Return a score from its record in a results file."""
    right = record.get("right_answers")
    return Score(
        record["metric"],
        record["method"],
        record["data"],
        record["ways"],
        record["shots"],
        record.get("variant"),
        record.get("settings", {}),
        record["mean"],
        record["half_width_95"],
        record["tasks"],
        None if right is None else tuple(right),
        record.get("answers"),
        cell,
    )


def score_record(
    score: Evaluation,
    metric: str = ACCURACY,
    *,
    method: str,
    data: str,
    ways: int | None = None,
    shots: int | None = None,
    variant: str | None = None,
    settings: Mapping[str, Any] | None = None,
    answers: int | None = None,
) -> dict[str, Any]:
    """Return the record that a results file keeps of an evaluation; see ``Score`` for its fields.

    Args:
        score: the evaluation.
        metric: what was measured.
        method: what was tested.
        data: what the tasks were drawn from.
        ways: classes of a task.
        shots: support examples.
        variant: of the method.
        settings: of this test.
        answers: how many answers each task has; if given, the number of right ones in every task is kept, too.
    """
    record: dict[str, Any] = {"metric": metric, "method": method, "data": data, "ways": ways, "shots": shots}
    if variant is not None:
        record["variant"] = variant
    if settings:
        record["settings"] = dict(settings)
    record |= {
        "mean": round(score.mean, 5),
        "half_width_95": round(score.half_width, 5),
        "tasks": len(score.per_task),
    }
    if answers is not None:
        record["answers"] = answers
        record["right_answers"] = [round(value * answers) for value in score.per_task.tolist()]
    return record


def as_stored(value: Any) -> Any:
    """Return a value as JSON gives it back: a tuple as a list."""
    return [as_stored(entry) for entry in value] if isinstance(value, tuple | list) else value


def described(wanted: Mapping[str, Any]) -> str:
    """Return what was asked for, in words."""
    return ", ".join(f"{key}={value!r}" for key, value in wanted.items()) or "no condition"


def choices(scores: Sequence[Score]) -> str:
    """Return the fields by which some scores can be told apart, with their values, for an error message."""
    fields = {name: [getattr(score, name) for score in scores] for name in SCORE_FIELDS}
    fields["cell"] = [score.cell.name for score in scores]
    values = {name: dict.fromkeys(map(repr, found)) for name, found in fields.items()}
    told = [f"{name}: {', '.join(several)}" for name, several in values.items() if len(several) > 1]
    return "; ".join(told) or f"{len(scores)}"


def result_names() -> list[str]:
    """Return the names of all results files, of the checkout or as shipped in the package."""
    return sorted({path.stem for folder in FOLDERS["results"] for path in folder.glob("*.json")})


def load_results(name: str) -> Results:
    """Return the results of an experiment: from the checkout's ``book/results``, or as shipped in the package.

    Raises:
        FileNotFoundError: there is no such file; it names the command that makes it.
        ValueError: the file has another format.
    """
    file = find_file("results", f"{name}.json")
    if file is None:
        raise FileNotFoundError(
            f"there are no results of {name!r}; make them by python -m metasgd experiment {name}. "
            f"There are {', '.join(result_names())}"
        )
    return read_results(file)


def read_results(path: Path) -> Results:
    """Return the results of a file.

    Raises:
        ValueError: the file has another format.
    """
    content = json.loads(path.read_text(encoding="utf-8"))
    if content.get("format") != FORMAT:
        raise ValueError(
            f"{path} has format {content.get('format')}, not {FORMAT}: a file of a benchmark is read by "
            "load_benchmark, an old one of an experiment is converted by python -m metasgd.tools.convert_results"
        )
    cells = content.pop("cells")
    return Results(content["experiment"], content, [StoredCell(key, cell) for key, cell in cells.items()])


def load_benchmark(name: str) -> dict[str, Any]:
    """Return a file of ``python -m metasgd benchmark``, as it is: from ``book/results``, or as shipped.

    Raises:
        FileNotFoundError: there is no such file; it names the command that makes it.
    """
    if file := find_file("results", f"{name}.json"):
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return content
    raise FileNotFoundError(
        f"there are no results of {name!r}; make them by python -m metasgd benchmark --out book/results/{name}.json. "
        f"There are {', '.join(result_names())}"
    )


def mean_of_seeds(scores: Sequence[Evaluation]) -> Evaluation:
    """Return the score of a method whose every task counts with its mean over the seeds.

    The interval is that over tasks; it does not say how far seeds differ.
    """
    return interval(torch.stack([score.per_task for score in scores]).mean(0))


def method_rows(
    results: Results, methods: Mapping[str, str | tuple[str, str]]
) -> dict[str, tuple[Evaluation, list[Evaluation]]]:
    """Return the rows of a table or a figure that compares methods: the mean over the seeds, and the score of each.

    Args:
        results: those of ``mnist-methods`` or ``mnist-methods-5shot``, which store the right answers of every task.
        methods: by label, a method, or a method and a variant of it.
    """
    rows = {}
    for label, chosen in methods.items():
        method, variant = (chosen, None) if isinstance(chosen, str) else chosen
        scores = [score.evaluation for score in results.scores(method=method, variant=variant)]
        rows[label] = mean_of_seeds(scores), scores
    return rows


def difference_of_rows(
    first: tuple[Evaluation, list[Evaluation]], second: tuple[Evaluation, list[Evaluation]]
) -> tuple[Evaluation, int]:
    """Compare two rows of ``method_rows`` task by task, on the seeds that they share.

    Returns:
        the mean difference with its interval over tasks, and in how many seeds the first is ahead.
    """
    pairs = list(zip(first[1], second[1], strict=False))
    differences = torch.stack([a.per_task - b.per_task for a, b in pairs]).mean(0)
    return interval(differences), sum(a.mean > b.mean for a, b in pairs)
