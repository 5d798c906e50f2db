"""The command adapt, on imitated scans and photographs of drawn digits: answers as JSON, as CSV and as a picture."""

import csv
import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from metasgd import MetaSGD
from metasgd.cli import main
from metasgd.data import load_folder, load_mnist_sample
from metasgd.models import convnet
from metasgd.recipes import Contestant, meta_train
from metasgd.recipes.mnist import MnistRecipe
from metasgd.recipes.picture_learners import learner_in_file, learner_of_run, shipped_learner
from metasgd.recipes.sine import SineRecipe
from tests.data.sheets import drawn_on_sheet

NAME = "omniglot-mnist-5way"
TINY = MnistRecipe(width=4, iterations=1, meta_batch=2, num_composites=2)


@pytest.fixture(scope="module")
def sheets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs of three drawn digits on unevenly lit paper, and in "many" six to read, half of them on a board."""
    root, generator = tmp_path_factory.mktemp("sheets"), torch.Generator().manual_seed(0)
    digits = load_mnist_sample()
    (root / "many").mkdir()
    for digit in (0, 1, 4):
        folder = root / "few" / f"digit {digit}"
        folder.mkdir(parents=True)
        for place in range(2):
            Image.fromarray(drawn_on_sheet(digits[digit][place], generator).numpy()).save(folder / f"{place}.png")
            sheet = drawn_on_sheet(digits[digit][10 + place], generator, bright=place == 1)
            Image.fromarray(sheet.numpy()).save(root / "many" / f"{digit}-{place}.jpg")
    return root


@pytest.fixture
def adapt(capsys, sheets, tmp_path, monkeypatch):
    """Run the command in an empty folder, on the photographs unless others are named."""
    monkeypatch.chdir(tmp_path)

    def run(*words, support=sheets / "few", query=sheets / "many"):
        words = ("adapt", *words, "--support", support, "--query", query, "--device", "cpu")
        status = main([str(word) for word in words])
        streams = capsys.readouterr()
        return status, streams.out, streams.err

    return run


def test_photographs_of_drawn_digits_are_read_rightly(adapt):
    """A learner of five ways reads three classes, ink on paper as well as chalk on a board."""
    status, out, err = adapt("--weights", NAME, "--ink")
    assert status == 0, err
    result = json.loads(out)
    assert out.count("\n") == 1
    assert result["classes"] == {"digit 0": 2, "digit 1": 2, "digit 4": 2}
    for row in result["queries"]:
        assert row["label"] == f"digit {row['file'][0]}"
        assert list(row["probabilities"]) == ["digit 0", "digit 1", "digit 4"]
        assert sum(row["probabilities"].values()) == pytest.approx(1, abs=2e-4)  # each is rounded to 4 digits
        assert row["probability"] == max(row["probabilities"].values())
    assert result["query_statistics"] == "support+query"
    assert {"metasgd", "torch", "device"} <= result.keys()


def test_answers_are_a_table_if_it_is_asked_for(adapt):
    status, out, err = adapt("--weights", NAME, "--ink", "--format", "csv", "--none-below", "1")
    assert status == 0, err
    rows = list(csv.reader(io.StringIO(out)))
    assert rows[0] == ["file", "label", "probability", "p(digit 0)", "p(digit 1)", "p(digit 4)"]
    assert [row[0] for row in rows[1:]] == ["0-0.jpg", "0-1.jpg", "1-0.jpg", "1-1.jpg", "4-0.jpg", "4-1.jpg"]
    assert {row[1] for row in rows[1:] if float(row[2]) < 1} == {""}


def test_answers_and_a_contact_sheet_are_written(adapt):
    status, out, err = adapt("--weights", NAME, "--ink", "--out", "answers.csv", "--picture", "sheet.png")
    assert status == 0, err
    assert json.loads(out) == {"answers": "answers.csv", "queries": 6, "picture": "sheet.png"}
    assert Path("answers.csv").read_text("utf-8").count("\n") == 7
    with Image.open("sheet.png") as picture:
        assert picture.width > 400
    status, out, err = adapt("--weights", NAME, "--ink", "--out", "answers.json")
    assert status == 0, err
    assert len(json.loads(Path("answers.json").read_text("utf-8"))["queries"]) == 6


def test_an_answer_does_not_depend_on_the_other_pictures(adapt, sheets, tmp_path):
    alone = tmp_path / "one"
    alone.mkdir()
    (alone / "4-1.jpg").write_bytes((sheets / "many" / "4-1.jpg").read_bytes())
    _, together, _ = adapt("--weights", NAME, "--ink")
    _, out, _ = adapt("--weights", NAME, "--ink", query=alone)
    assert json.loads(out)["queries"] == json.loads(together)["queries"][-1:]


def test_paper_without_ink_is_warned_of(adapt):
    status, _, err = adapt("--weights", NAME)
    assert status == 0
    assert "pictures are bright, and the learner has seen bright ink on black" in err
    assert "pass --ink" in err
    assert "pass --ink" not in adapt("--weights", NAME, "--ink")[2]


def test_a_run_takes_the_place_of_a_shipped_learner(adapt):
    meta_train(TINY, out="run", progress=False)
    status, out, err = adapt("--run", "run", "--ink", "--query-statistics", "queries")
    assert status == 0, err
    assert len(json.loads(out)["queries"]) == 6
    meta_train(Contestant("layer-rates", TINY), out="rates", progress=False)
    assert adapt("--run", "rates", "--ink")[0] == 0


def test_a_saved_learner_takes_the_place_of_a_shipped_learner(adapt):
    shipped_learner(NAME).learner.save("own.pt")
    status, out, err = adapt("--learner", "own.pt", "--ink")
    assert status == 0, err
    assert json.loads(out)["queries"] == json.loads(adapt("--weights", NAME, "--ink")[1])["queries"]


@pytest.mark.parametrize("options", [{"channels": 3, "size": 84}, {"size": 64}, {"blocks": 2, "size": 12}, {}])
def test_the_network_of_a_saved_learner_is_found(options, tmp_path):
    learner = MetaSGD(convnet(4, width=3, **options))
    learner.save(tmp_path / "own.pt")
    found = learner_in_file(tmp_path / "own.pt")
    expected = (options.get("size", 28), options.get("channels", 1) == 3)
    assert (found.size, found.colour) == expected
    assert all(torch.equal(value, found.learner.theta[name]) for name, value in learner.theta.items())
    assert all(torch.equal(value, found.learner.alpha[name]) for name, value in learner.alpha.items())


def test_a_size_that_the_file_leaves_open_is_asked_for(tmp_path):
    MetaSGD(convnet(4, width=3, size=20)).save(tmp_path / "own.pt")
    assert learner_in_file(tmp_path / "own.pt", 20).size == 20
    with pytest.raises(
        ValueError, match="has 3 features, and for pictures of 40 x 40 it would have 12; name the size"
    ):
        learner_in_file(tmp_path / "own.pt", 40)


def test_learners_of_no_pictures_are_refused(adapt):
    meta_train(SineRecipe(iterations=1, meta_batch=2), out="sine", progress=False)
    assert "of the recipe sine, which reads no pictures; name another run" in adapt("--run", "sine")[2]
    MetaSGD(torch.nn.Linear(3, 2)).save("linear.pt")
    assert "another model than metasgd.models.convnet; load it by MetaSGD.load" in adapt("--learner", "linear.pt")[2]
    meta_train(Contestant("protonet", TINY), out="prototypes", progress=False)
    assert "is a PrototypicalNetwork, which takes no step" in adapt("--run", "prototypes")[2]
    with pytest.raises(FileNotFoundError, match="there is no checkpoint"):
        learner_of_run("nowhere")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--out", "answers.txt"], "--out is answers.txt; end its name with .csv or .json, or say --format"),
        (["--out", "nowhere/answers.csv"], "--out is nowhere/answers.csv, whose folder does not exist; make it first"),
        (["--picture", "nowhere/a.png"], "--picture is nowhere/a.png, whose folder does not exist"),
        (["--picture", "sheet.jpg"], "--picture is sheet.jpg; it writes PNG, so end the name with .png"),
        (["--none-below", "90"], "--none-below is 90.0; it is a probability, from 0 to 1"),
        (["--size", "28"], "--size is for --learner alone"),
    ],
)
def test_options_that_cannot_be_served_are_one_line(adapt, words, message):
    status, out, err = adapt("--weights", NAME, *words)
    assert (status, out) == (2, "")
    assert err.splitlines()[-1].startswith("metasgd: error: ")
    assert message in err.splitlines()[-1]


def test_more_classes_than_ways_are_one_line(adapt, tmp_path):
    for place in range(6):
        (tmp_path / "six" / str(place)).mkdir(parents=True)
        Image.new("L", (28, 28), 40 * place).save(tmp_path / "six" / str(place) / "0.png")
    status, _, err = adapt("--weights", NAME, support=tmp_path / "six")
    assert status == 2
    assert "there are 6 classes, and the learner tells 5 apart; leave 1 of them out" in err.splitlines()[-1]


def test_folders_that_cannot_be_read_are_one_line(adapt, sheets, tmp_path):
    assert "does not exist" in adapt("--weights", NAME, support="nowhere")[2]
    assert "has only the class" in adapt("--weights", NAME, support=only_one(tmp_path, sheets))[2]
    assert "holds no picture" in adapt("--weights", NAME, query=tmp_path / "empty")[2]
    Image.new("L", (50, 50), 200).save(tmp_path / "empty" / "blank.png")
    assert "blank.png: no ink is found" in adapt("--weights", NAME, "--ink", query=tmp_path / "empty")[2]


def only_one(tmp_path: Path, sheets: Path) -> Path:
    (tmp_path / "empty").mkdir()
    (tmp_path / "one class").mkdir()
    (tmp_path / "one class" / "digit").mkdir()
    (tmp_path / "one class" / "digit" / "0.png").write_bytes((sheets / "few" / "digit 0" / "0.png").read_bytes())
    assert len(load_folder(tmp_path / "one class", least_classes=1).names) == 1
    return tmp_path / "one class"


def test_one_learner_must_be_named(adapt):
    with pytest.raises(SystemExit):
        adapt()
    with pytest.raises(SystemExit):
        adapt("--weights", NAME, "--run", "run")
