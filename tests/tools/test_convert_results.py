"""Results files of format 1, kept in an archive, are the stored ones in other words: no number was lost or changed."""

import io
import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from metasgd._core.files import PACKAGE
from metasgd.tools.convert_results import NAMES, convert, convert_weights, main

ARCHIVE = Path(__file__).with_name("results-format-1.tar.xz")
STORED = {"results": PACKAGE.parent / "book" / "results", "weights": PACKAGE / "assets" / "weights"}
# What format 2 adds: which format it is, and the names by which a score or a cell is chosen.
ADDED = {"format", "metric", "data", "variant", "settings", "ways", "part", "recipe", "rung", "change", "backend"}


LATER = {  # files that were made in format 2
    "browser-page",
    "linear",
    "mnist",
    "mnist-comparison",
    "navigation-rewards",
    "navigation-variants",
    "omniglot-comparison",
    "omniglot-mnist-methods",
    "sine-rates",
}
CHANGED = {"sine", "omniglot-methods", "omniglot-mnist"}  # whose old file has other runs, or more


def read_archive() -> dict[tuple[str, str], dict[str, Any]]:
    with tarfile.open(ARCHIVE) as archive:
        files = [member for member in archive.getmembers() if member.isfile()]
        texts = {member.name: io.TextIOWrapper(archive.extractfile(member), "utf-8").read() for member in files}
    return {tuple(name.removesuffix(".json").split("/")): json.loads(text) for name, text in texts.items()}


OLD = read_archive()
KEPT = [(folder, name) for folder, name in OLD if name not in CHANGED]


def stored(folder: str, name: str) -> dict[str, Any]:
    return json.loads((STORED[folder] / f"{NAMES.get(name, name)}.json").read_text(encoding="utf-8"))


def test_every_old_file_has_a_stored_one():
    """What was made later, in the new form, has no old file."""
    results = {path.stem for path in STORED["results"].glob("*.json") if not path.stem.startswith("benchmark-")}
    assert {NAMES.get(name, name) for folder, name in OLD if folder == "results"} == results - LATER
    weights = {path.stem for path in STORED["weights"].glob("*.json")}
    later = {"mnist-glyphs", *(f"mnist-fold{fold}" for fold in range(5))}
    assert {name for folder, name in OLD if folder == "weights"} == weights - later


@pytest.mark.parametrize(("folder", "name"), KEPT)
def test_the_stored_file_is_the_old_one_converted(folder, name):
    new = (convert_weights if folder == "weights" else convert)(OLD[folder, name])
    assert json.loads(json.dumps(new)) == stored(folder, name)


def test_the_script_writes_what_is_stored(tmp_path):
    """From a folder with an old file, a benchmark, which is left alone, and the record of a learner."""
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    for key in (("results", "web"), ("weights", "omniglot-5way")):
        (old / f"{key[1]}.json").write_text(json.dumps(OLD[key]))
    (old / "benchmark-cpu.json").write_text('{"results": []}')
    main([str(old), str(new)])
    assert {path.name: path.read_text() for path in new.iterdir()} == {
        "browser.json": (STORED["results"] / "browser.json").read_text(),
        "omniglot-5way.json": (STORED["weights"] / "omniglot-5way.json").read_text(),
    }


def values(content: Any) -> Iterator[Any]:
    """Every plain value of a JSON file, where it stands left out; texts of numbers give their numbers."""
    if isinstance(content, dict):
        for value in content.values():
            yield from values(value)
    elif isinstance(content, list):
        for value in content:
            yield from values(value)
    elif isinstance(content, str) and re.fullmatch(r"\d+( \d+)+", content):
        yield from map(int, content.split())
    else:
        yield content


def without_additions(content: Any) -> Any:
    """What is left of a new file without what names its scores and cells: the conversion is not asked what that is.

    A score's method and shots are additions; the method and shots of a cell that has no config are not. Wrong answers
    were stored for the cells with ``worst_pairs``.
    """
    if not isinstance(content, dict):
        return [without_additions(entry) for entry in content] if isinstance(content, list) else content
    if "config" not in content and "backend" in content:
        content = {key: value for key, value in content.items() if key != "shots"}
    if "quantiles" in content or "half_width_95" not in content:
        kept = {
            key: value if key == "config" else without_additions(value)
            for key, value in content.items()
            if key not in ADDED
        }
        if "worst_pairs" in content:
            (score,) = content["scores"]
            kept["scores"][0]["answers"] = score["answers"]
            kept["scores"][0]["right_answers"] = [score["answers"] - right for right in score["right_answers"]]
        return kept
    named = ADDED | {"method", "shots", "answers"}
    return {key: value for key, value in content.items() if key not in named}


@pytest.mark.parametrize(("folder", "name"), KEPT)
def test_old_and_new_file_have_the_same_values_each_as_often(folder, name):
    """Means, half-widths, tasks, right answers, loss curves, settings, seconds, versions, commits and pictures.

    This shares nothing with the conversion, and does not look where a value stands. Names of experiments and commands
    have changed, and are compared apart.
    """
    old, new = OLD[folder, name], without_additions(stored(folder, name))
    found, expected = (
        Counter(map(repr, (value for value in values(content) if not is_command(value)))) for content in (new, old)
    )
    renamed = {repr(before): repr(now) for before, now in NAMES.items()}
    assert found == Counter({renamed.get(value, value): number for value, number in expected.items()})


def is_command(value: Any) -> bool:
    return isinstance(value, str) and value.startswith("python -m")


@pytest.mark.parametrize("name", [name for folder, name in KEPT if folder == "results"])
def test_recorded_commands_name_what_is_there_today(name):
    old, new = OLD["results", name], stored("results", name)
    before, now = ([value for value in values(content) if is_command(value)] for content in (old, new))
    expected = {
        "pictures": ["python -m metasgd experiment pictures"],
        "web": ["python -m metasgd experiment browser --threads 1 --device cpu"],
        "web-speed": ["python -m metasgd.tools.measure_browser_page"],
    }
    assert now == expected.get(name, before)


@pytest.mark.parametrize(
    ("name", "cell", "place", "key", "fields"),
    [
        ("mnist-folds", "fold3-5shot-meta-sgd", 4, "own digits", ("meta-sgd", "own digits", 5, 5, None)),
        ("mnist-folds", "fold3-1shot-maml", 0, "maml", ("maml", "held-out digits", 5, 1, None)),
        ("mnist-classes", "validation-augmented", 0, "validation", ("meta-sgd", "validation digits", 5, 1, None)),
        ("mnist-methods", "meta-sgd-seed2", 8, "body", ("meta-sgd", "held-out digits", 5, 1, "body")),
        (
            "mnist-methods-5shot",
            "fine-tuning-seed1",
            1,
            "class means of features",
            ("class means of features", "held-out digits", 5, 5, None),
        ),
        (
            "omniglot-methods",
            "protonet-60way-seed0",
            3,
            "20-way, protonet, 5-shot",
            ("protonet", "characters", 20, 5, None),
        ),
        ("omniglot-mnist", "10way", 4, "meta-sgd with copies, 5-shot", ("meta-sgd", "digits", 10, 5, "copies")),
        (
            "copies",
            "omniglot-mnist-10way",
            1,
            "of support pictures, 1-shot",
            ("meta-sgd", "digits", 10, 1, "of support pictures"),
        ),
        ("web", "learner", 10, "digits, one rate, 5-shot", ("meta-sgd", "digits", 5, 5, "one rate")),
    ],
)
def test_names_were_read_as_a_person_reads_them(name, cell, place, key, fields):
    """One score of each kind of name: its fields, and its mean, which stands under that name in the old file."""
    old = OLD["results", name]["cells"][cell]["accuracy"]
    score = stored("results", name)["cells"][cell]["scores"][place]
    assert list(old)[place] == key
    assert score["mean"] == old[key]["mean"]
    assert tuple(score.get(field) for field in ("method", "data", "ways", "shots", "variant")) == fields


def test_settings_of_a_test_are_fields():
    scores = stored("results", "mnist-tuning")["cells"]["fine-tuning"]["scores"]
    old = OLD["results", "mnist-tuning"]["cells"]["fine-tuning"]["accuracy"]
    for score, (key, values_) in zip(scores, old.items(), strict=True):
        assert score["mean"] == values_["mean"]
        settings = json.loads(key) if key.startswith("{") else None
        assert score.get("settings") == settings
    steps = stored("results", "mnist-scratch")["cells"]["5shot-from scratch, Adam-0.01"]["scores"]
    assert [score["settings"] for score in steps] == [{"steps": 5}, {"steps": 10}]
