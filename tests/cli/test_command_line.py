"""The command line: train, then evaluate, from any folder; errors are one line that names the value and the remedy."""

import json

import pytest

from metasgd.cli import main
from metasgd.cli.options import typed_command
from metasgd.recipes import RECIPES
from metasgd.recipes.shipped import weights_names

SMALL = ["--width", "4", "--num-composites", "2", "--iterations", "4", "--meta-batch", "2", "--device", "cpu"]


@pytest.fixture(autouse=True)
def anywhere(tmp_path, monkeypatch):
    """Run in an empty folder, on the embedded sample."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("METASGD_DATA", raising=False)


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    streams = capsys.readouterr()
    return status, streams.out, streams.err


@pytest.fixture
def trained(capsys):
    status, out, err = run(capsys, "train", "mnist", *SMALL, "--out", "runs/first")
    assert status == 0, err
    return json.loads(out)


def test_train_prints_one_json_object_and_the_progress_elsewhere(capsys):
    status, out, err = run(capsys, "train", "mnist", *SMALL, "--out", "runs/first")
    assert status == 0
    assert json.loads(out)["iterations"] == 4
    assert out.count("\n") == 1
    assert "meta-training: 100%" in err
    assert "embedded sample" in err


def test_evaluate_scores_all_methods_on_the_same_number_of_tasks(capsys, trained):
    status, out, err = run(
        capsys, "evaluate", "--checkpoint", "runs/first", "--tasks", 5, "--baselines", "--device", "cpu"
    )
    result = json.loads(out)
    assert status == 0, err
    assert list(result["methods"]) == ["meta-sgd", "nearest class mean", "from scratch, SGD", "from scratch, Adam"]
    assert result["config"]["iterations"] == 4
    assert 0 <= result["accuracy"] <= 1


def test_evaluating_twice_gives_the_same_number(capsys, trained):
    command = ("evaluate", "--checkpoint", "runs/first", "--tasks", 5, "--device", "cpu")
    assert run(capsys, *command)[1] == run(capsys, *command)[1]


def test_the_best_validated_iterate_is_evaluated(capsys):
    run(capsys, "train", "mnist", *SMALL, "--validation-digits", 7, 9, "--out", "runs/validated")
    _, out, _ = run(capsys, "evaluate", "--checkpoint", "runs/validated", "--tasks", 5)
    result = json.loads(out)
    assert result["config"]["validation_digits"] == [7, 9]
    assert result["iteration"] == 4


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fold", 7], "fold 7 does not exist; folds are 0 to 4"),
        (["--ways", 6], "6 ways need 6 classes, but there are 5; lower ways"),
        (["--shots", 990], "need 1005 examples of a class, but the smallest class has 1000; lower shots or queries"),
        (["--shots", 0], "shots is 0; it must be at least 1"),
        (["--num-composites", 5000], "5000 composites need 5000 pairs"),
        (["--validation-digits", 0], "validation digits [0] are not meta-training digits of fold 0"),
        (["--device", "nonsense"], "device 'nonsense' cannot be used here; try --device auto or cpu"),
        (["--data-root", "nowhere"], "is missing; pass download=True"),
        (["--download"], "download=True needs a folder"),
        (["--iterations", 0], "iterations is 0; it must be at least 1"),
        (["--width", 0], "width is 0; it must be at least 1"),
    ],
)
def test_bad_settings_are_one_line(capsys, arguments, message):
    status, out, err = run(capsys, "train", "mnist", *SMALL, "--out", "runs/bad", *arguments)
    last = err.splitlines()[-1]
    assert status == 2
    assert out == ""
    assert last.startswith("metasgd: error: ")
    assert message in last


def test_training_over_a_run_is_refused_and_resuming_is_not(capsys, trained):
    status, _, err = run(capsys, "train", "mnist", *SMALL, "--out", "runs/first")
    assert status == 2
    assert "holds a run, at iteration 4" in err
    assert run(capsys, "train", "mnist", *SMALL, "--out", "runs/first", "--resume")[0] == 0


def test_missing_checkpoint_is_one_line(capsys):
    status, _, err = run(capsys, "evaluate", "--checkpoint", "runs/none")
    assert status == 2
    assert "there is no checkpoint at runs/none" in err


@pytest.mark.parametrize("name", weights_names())
def test_shipped_weights_are_evaluated_without_training(capsys, name, request):
    command = ["evaluate", "--weights", name, "--tasks", 3, "--baselines", "--device", "cpu"]
    if "mnist" not in name:  # tested on the characters that it has left out
        command += ["--data-root", request.getfixturevalue("full_omniglot_folder")]
    status, out, err = run(capsys, *command)
    result = json.loads(out)
    assert status == 0, err
    assert list(result["methods"]) == list(result["in_the_results_file"])
    assert result["methods"]["meta-sgd, 5-shot"]["mean"] > 0.5


def test_a_run_and_shipped_weights_cannot_both_be_evaluated(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "--weights", weights_names()[0], "--checkpoint", "runs/first"])
    assert stop.value.code == 2
    assert "not allowed with argument --weights" in capsys.readouterr().err


def test_omniglot_that_is_not_there_is_one_line(capsys):
    status, _, err = run(capsys, "experiment", "omniglot", "--out", "results", "--work", "work", "--device", "cpu")
    assert status == 2
    assert "Omniglot is not part of the package, and no folder was named" in err.splitlines()[-1]


@pytest.mark.parametrize("command", [*(["train", name] for name in RECIPES), ["evaluate"], ["experiment"]])
def test_help_names_every_default(capsys, command):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    assert "(default:" in capsys.readouterr().out


def test_compile_reaches_the_learner(capsys, monkeypatch):
    """All but the compiler itself, which would take a minute: what it is given runs as it is."""
    given = []
    monkeypatch.setattr("torch._inductor.compile", lambda graph, inputs, options: given.append(graph) or graph)
    status, out, err = run(capsys, "train", "mnist", *SMALL, "--compile", "--out", "runs/compiled")
    assert status == 0, err
    assert json.loads(out)["iterations"] == 4
    assert given


def test_an_experiment_that_is_not_compiled_says_so(capsys):
    status, _, err = run(capsys, "experiment", "sine", "--compile", "--device", "cpu", "--out", "results")
    assert status == 2
    assert "sine is not compiled, only mnist-classes, mnist-folds, omniglot, omniglot-mnist; leave --compile" in err
    status, _, err = run(capsys, "experiment", "sine", "--precision", "bfloat16", "--iterations", "1")
    assert status == 2
    assert "sine knows float32 alone, only mnist-classes, mnist-folds, omniglot, omniglot-mnist other" in err


@pytest.mark.parametrize("shard", [[], ["--shard", "1", "2"]])
def test_the_recorded_command_makes_the_whole_file_whichever_part_came_last(monkeypatch, shard):
    monkeypatch.setattr("sys.argv", ["metasgd", "experiment", "sine", *shard, "--threads", "1"])
    assert typed_command() == "python -m metasgd experiment sine --threads 1"
