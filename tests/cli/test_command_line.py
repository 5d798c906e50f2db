"""The command line: train, then evaluate, from any folder; errors are one line that names the value and the remedy."""

import json
import shutil
import signal
from dataclasses import fields
from pathlib import Path

import pytest
from PIL import Image

from metasgd import MetaSGD
from metasgd.cli import main, make_parser
from metasgd.cli.options import recipe_from, typed_command
from metasgd.recipes import RECIPES, meta_train, omniglot
from metasgd.recipes.browser import BrowserRecipe
from metasgd.recipes.cifar_fs import CifarFsRecipe
from metasgd.recipes.colour import ColourRecipe
from metasgd.recipes.folder_images import FolderRecipe
from metasgd.recipes.glyphs import GlyphsRecipe
from metasgd.recipes.images import SCRATCH
from metasgd.recipes.miniimagenet import MiniImageNetRecipe
from metasgd.recipes.mnist import MnistRecipe
from metasgd.recipes.navigation import NavigationRecipe
from metasgd.recipes.omniglot import OmniglotRecipe
from metasgd.recipes.recipe import in_words
from metasgd.recipes.shipped import weights_names
from metasgd.recipes.sine import SineRecipe

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
        (["--meta-batch", -2], "meta_batch is -2; it must be at least 1"),
        (["--alpha-lr", "nan"], "alpha_lr is nan; it must be finite"),
        (["--seed", -1], "seed is -1; it must be at least 0"),
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
    identity = ("metric", "method", "data", "ways", "shots")
    if name.startswith("mnist-fold"):  # whose file has the pixels' class means in the cell of the glyphs alone
        result["scores"] = [score for score in result["scores"] if score["method"] != "nearest class mean"]
    here, there = (
        [[score[key] for key in identity] for score in result[key]] for key in ("scores", "in_the_results_file")
    )
    assert here == there
    five = [score["mean"] for score in result["scores"] if (score["method"], score["shots"]) == ("meta-sgd", 5)]
    assert len(five) == (5 if name == "mnist-glyphs" else 1)  # tested in every fold
    assert min(five) > 0.5


@pytest.mark.parametrize("statistics", ["support", "support+query"])
def test_queries_are_read_as_the_command_line_says(capsys, trained, statistics):
    command = ("evaluate", "--tasks", 3, "--device", "cpu", "--baselines", "--query-statistics", statistics)
    status, out, err = run(capsys, *command, "--checkpoint", "runs/first")
    assert status == 0, err
    here, together = json.loads(out), json.loads(run(capsys, *command[:-2], "--checkpoint", "runs/first")[1])
    assert (here["query_statistics"], together["query_statistics"]) == (statistics, "queries")
    assert here["methods"]["nearest class mean"] == together["methods"]["nearest class mean"]
    assert here["methods"] != together["methods"]
    status, out, err = run(capsys, *command, "--weights", "omniglot-mnist-5way")
    assert status == 0, err
    result = json.loads(out)
    assert result["query_statistics"] == statistics
    assert result["in_the_results_file"] == []  # there, queries were read together


def test_a_run_reads_queries_as_it_was_trained(capsys):
    train = ("train", "mnist", *SMALL, "--query-statistics", "support", "--out", "runs/support")
    assert run(capsys, *train)[0] == 0
    status, out, err = run(capsys, "evaluate", "--checkpoint", "runs/support", "--tasks", 3, "--device", "cpu")
    assert status == 0, err
    result = json.loads(out)
    assert (result["query_statistics"], result["config"]["query_statistics"]) == ("support", "support")
    status, _, err = run(capsys, "train", "mnist", *SMALL, "--out", "runs/support", "--resume")
    assert status == 2
    assert "made with other settings of ['query_statistics']" in err


def test_a_run_and_shipped_weights_cannot_both_be_evaluated(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "--weights", weights_names()[0], "--checkpoint", "runs/first"])
    assert stop.value.code == 2
    assert "not allowed with argument --weights" in capsys.readouterr().err


def test_omniglot_that_is_not_there_is_one_line(capsys):
    status, _, err = run(capsys, "experiment", "omniglot", "--out", "results", "--work", "work", "--device", "cpu")
    assert status == 2
    assert "Omniglot is not part of the package, and no folder was named" in err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["miniimagenet"], "miniImageNet is not part of the package, and no folder was named; pass root='data'"),
        (["miniimagenet", "--download"], "miniImageNet cannot be downloaded by this program"),
        (
            ["miniimagenet", "--data-root", "."],
            "miniImageNet is not in .; the folder must hold train/, val/ and test/",
        ),
        (["miniimagenet", "--ways", "20"], "ways is 20, and miniimagenet has 16 classes for validation; turn use_val"),
        (["cifar-fs"], "CIFAR-100, of which CIFAR-FS consists, is not part of the package, and no folder was named"),
        (["cifar-fs", "--data-root", "."], "cifar-100-python/train is missing; pass download=True (--download)"),
        (["cifar-fs", "--ways", "21"], "ways is 21; cifar-fs has 20 classes in the test"),
    ],
)
def test_colour_pictures_that_are_not_there_are_one_line(capsys, arguments, message):
    status, out, err = run(capsys, "train", *arguments, "--out", "run", "--device", "cpu")
    last = err.splitlines()[-1]
    assert (status, out) == (2, "")
    assert last.startswith(f"metasgd: error: {message}")


def test_only_what_torchvision_can_download_has_the_option_in_its_help(capsys):
    assert "--download" in help_of(capsys, "train", "cifar-fs")
    assert "--download" not in help_of(capsys, "train", "miniimagenet")


def test_a_run_in_colour_reads_pictures_of_ones_own(capsys, small_cifar_100, small_miniimagenet):
    """In colour, and as large as the run's, whatever size they have."""
    small = ["--width", 4, "--ways", 3, "--train-queries", 2, "--iterations", 1, "--no-use-validation"]
    train = ["train", "cifar-fs", *small, "--data-root", small_cifar_100, "--out", "run", "--device", "cpu"]
    assert run(capsys, *train)[0] == 0
    classes = sorted((small_miniimagenet / "mini-imagenet" / "test").iterdir())
    for place in (3, 8, 15):
        shutil.copytree(classes[place], Path("few") / f"class {place}")
    adapt = ["adapt", "--run", "run", "--support", "few", "--query", classes[8], "--device", "cpu"]
    status, out, err = run(capsys, *adapt)
    assert status == 0, err
    assert list(json.loads(out)["classes"]) == ["class 15", "class 3", "class 8"]
    assert len(json.loads(out)["queries"]) == 18
    status, out, err = run(
        capsys, "evaluate", "--checkpoint", "run", "--data-root", small_cifar_100, "--tasks", 2, "--baselines",
        "--device", "cpu",
    )  # fmt: skip
    assert status == 0, err
    assert list(json.loads(out)["methods"]) == ["meta-sgd", "nearest class mean", *SCRATCH[1]]


TRAIN = [["train", name] for name in RECIPES]
COMMANDS = [[], ["train"], *TRAIN, ["evaluate"], ["adapt"], ["experiment"], ["export"], ["benchmark"], ["gpu-report"]]


def help_of(capsys, *command):
    with pytest.raises(SystemExit) as stop:
        main([*command, "--help"])
    assert stop.value.code == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_a_help_with_an_example(capsys, command):
    text = help_of(capsys, *command)
    assert "python -m metasgd" in text.partition("example")[2]
    assert "(default: None)" not in text
    assert "(default: True)" not in text
    assert "(default: False)" not in text
    assert "==SUPPRESS==" not in text


@pytest.mark.parametrize("command", [*TRAIN, ["evaluate"], ["experiment"]], ids=" ".join)
def test_help_names_every_default(capsys, command):
    assert "(default:" in help_of(capsys, *command)


@pytest.mark.parametrize("name", RECIPES)
def test_every_setting_of_a_recipe_is_an_option_with_its_help_and_its_default(capsys, monkeypatch, name):
    monkeypatch.setenv("COLUMNS", "400")
    text = help_of(capsys, "train", name)
    for one in fields(RECIPES[name]):
        assert f"--{one.name.replace('_', '-')}" in text
        assert f"{one.metadata['help']} (default: {in_words(one.default)})" in text


# For each recipe: options, and the settings that they say.
GIVEN = {
    "mnist": (
        ["--fold", "2", "--no-augment", "--validation-digits", "1", "9", "--method", "maml", "--task-lr", "0.3"],
        MnistRecipe(fold=2, augment=False, validation_digits=(1, 9), method="maml", task_lr=0.3),
    ),
    "glyphs": (
        ["--fold", "3", "--no-deslant", "--glyphs", "plain", "--start", "mnist-glyphs"],
        GlyphsRecipe(fold=3, deslant=False, glyphs="plain", start="mnist-glyphs"),
    ),
    "omniglot": (
        ["--mirrored", "--no-quarter-turns", "--head-lr", "1.5", "--start", "none", "--look", "mixed"],
        OmniglotRecipe(mirrored=True, quarter_turns=False, head_lr=1.5, look="mixed"),
    ),
    "miniimagenet": (
        ["--ways", "20", "--no-use-validation", "--shots", "5"],
        MiniImageNetRecipe(ways=20, use_validation=False, shots=5),
    ),
    "cifar-fs": (["--method", "first-order", "--width", "64"], CifarFsRecipe(method="first-order", width=64)),
    "sine": (
        ["--task-lr", "0.005", "0.1", "--clip", "none", "--warmup", "0"],
        SineRecipe(task_lr=(0.005, 0.1), clip=None, warmup=0.0),
    ),
    "navigation": (["--random-start", "--clip", "0.5"], NavigationRecipe(random_start=True, clip=0.5)),
    "images": (
        ["--data", "own", "--colour", "--size", "84", "--test-classes", "none", "--validation-classes", "5"],
        FolderRecipe(colour=True, size=84, validation_classes=5),
    ),
    "browser": (["--groups", "2", "--head-lr", "3"], BrowserRecipe(groups=2, head_lr=3.0)),
}


def data_of(name):
    """The words that name the data of a recipe, where they must be named."""
    return ["--data", "own"] if RECIPES[name].own_data else []


@pytest.mark.parametrize("name", RECIPES)
def test_options_reach_the_recipe(name):
    options, recipe = GIVEN[name]
    parse = make_parser().parse_args
    assert recipe_from(parse(["train", name, *options, "--out", "run"]), RECIPES[name]) == recipe
    assert recipe_from(parse(["train", name, *data_of(name), "--out", "run"]), RECIPES[name]) == RECIPES[name]()


# Values of settings whose default is no number from which another can be made.
OTHER = {"validation_digits": "5", "head_lr": "2.5", "clip": "2.5", "start": "some-name", "fold": "2"}
OTHER |= {"test_classes": "7", "validation_classes": "7"}


def words_for(one):
    """The words on the command line that give a setting another value than its default."""
    option, default, choices = "--" + one.name.replace("_", "-"), one.default, one.metadata["choices"]
    if isinstance(default, bool):
        return ["--no-" + option[2:] if default else option]
    if choices:
        return [option, next(choice for choice in choices if choice != default)]
    if one.name in OTHER:
        return [option, OTHER[one.name]]
    return [option, str(default + 1 if isinstance(default, int) else (default + 1) / 2)]


@pytest.mark.parametrize("name", RECIPES)
def test_every_setting_reaches_the_recipe(name):
    """Each on its own, with a value that is not its default."""
    for one in fields(RECIPES[name]):
        arguments = make_parser().parse_args(["train", name, *words_for(one), *data_of(name), "--out", "run"])
        parsed = recipe_from(arguments, RECIPES[name])
        assert [other.name for other in fields(parsed) if getattr(parsed, other.name) != other.default] == [one.name]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sine", "--task-lr", "1", "2", "3"], "argument --task-lr: give one number, or the two ends of a range"),
        (["sine", "--clip", "never"], "argument --clip: invalid float or none value: 'never'"),
        (["mnist", "--method", "sgd"], "argument --method: invalid choice: 'sgd'"),
        (["mnist", "--data", "mnist"], "unrecognized arguments: --data mnist"),
        (["navigation", "--data-root", "data"], "unrecognized arguments: --data-root data"),
        (["images"], "the following arguments are required: --data"),
        (["images", "--data", "own", "--download"], "unrecognized arguments: --download"),
        (["letters"], "invalid choice: 'letters'"),
        (["mnist", "--checkpoint-every", "0"], "argument --checkpoint-every: 0 is not allowed; it must be at least 1"),
        (["mnist", "--validate-every", "x"], "argument --validate-every: invalid int value: 'x'"),
        ([], "the following arguments are required: recipe"),
    ],
)
def test_options_that_cannot_be_read_are_refused(capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        main(["train", *arguments, *(["--out", "run"] if arguments else [])])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


TINY = {
    "mnist": ["--width", "4", "--num-composites", "2"],
    "glyphs": ["--width", "4", "--glyphs", "none", "--fold", "1"],
    "omniglot": ["--width", "4", "--look", "glyphs", "--characters", "1623"],
    "miniimagenet": ["--width", "4", "--ways", "3", "--train-queries", "2", "--no-use-validation"],
    "cifar-fs": ["--width", "4", "--ways", "3", "--train-queries", "2"],
    "sine": [],
    "navigation": ["--trajectories", "4", "--horizon", "5", "--hidden", "6"],
    "browser": ["--width", "8", "--groups", "2"],
    "images": ["--width", "4", "--ways", "2", "--queries", "3", "--data", "own"],
}
SCORES = {
    "mnist": ["meta-sgd"],
    "glyphs": ["meta-sgd, 1-shot", "meta-sgd, 5-shot"],
    "omniglot": ["meta-sgd, 1-shot", "meta-sgd, 5-shot"],
    "images": ["meta-sgd"],
    "miniimagenet": ["meta-sgd"],
    "cifar-fs": ["meta-sgd"],
    "sine": ["meta-sgd, 5 points", "meta-sgd, 10 points", "meta-sgd, 20 points"],
    "navigation": ["before", "after", "oracle", "solved"],
    "browser": ["characters, 1-shot", "digits, 1-shot", "characters, 5-shot", "digits, 5-shot"],
}


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_is_trained_resumed_and_tested(capsys, monkeypatch, name, small_miniimagenet, small_cifar_100):
    """Others take the place of pictures that are not in the package: glyphs that of Omniglot, small imitations that of
    miniImageNet and CIFAR-100, and pictures of one colour that of one's own."""
    for place in range(4 * 8) if RECIPES[name].own_data else ():
        folder = Path("own") / f"class {place % 4}"
        folder.mkdir(parents=True, exist_ok=True)
        Image.new("L", (30, 40), 60 * (place % 4) + place).save(folder / f"{place}.png")
    if issubclass(RECIPES[name], ColourRecipe):
        monkeypatch.setenv("METASGD_DATA", str({"cifar-fs": small_cifar_100}.get(name, small_miniimagenet)))
    monkeypatch.setattr(BrowserRecipe, "load_data", lambda *_, **__: omniglot.load_drawings("glyphs"))
    command = ["train", name, *TINY[name], "--iterations", 2, "--meta-batch", 2, "--device", "cpu", "--out", "run"]
    status, out, err = run(capsys, *command)
    assert status == 0, err
    assert (json.loads(out)["recipe"], json.loads(out)["iterations"]) == (name, 2)
    assert run(capsys, *command, "--resume")[0] == 0
    status, out, err = run(capsys, "evaluate", "--checkpoint", "run", "--tasks", 2, "--device", "cpu", *data_of(name))
    result = json.loads(out)
    assert status == 0, err
    assert (result["recipe"], result["metric"], result["tasks"]) == (name, RECIPES[name].metric, 2)
    assert list(result["methods"]) == SCORES[name]
    assert result["config"]["recipe"] == name
    assert {"metasgd", "torch", "device"} <= result.keys()


def test_a_recipe_without_baselines_says_so(capsys):
    meta_train(SineRecipe(iterations=1, meta_batch=2), out="run", progress=False)
    status, _, err = run(capsys, "evaluate", "--checkpoint", "run", "--baselines", "--device", "cpu")
    assert status == 2
    assert "the recipe sine has no baselines; leave --baselines out" in err


def test_a_test_of_no_tasks_is_refused(capsys):
    meta_train(SineRecipe(iterations=1, meta_batch=2), out="run", progress=False)
    with pytest.raises(SystemExit) as stop:
        main(["evaluate", "--checkpoint", "run", "--tasks", "0", "--device", "cpu"])
    assert stop.value.code == 2
    assert "argument --tasks: 0 is not allowed; it must be at least 1" in capsys.readouterr().err


def test_metasgd_is_a_console_script():
    """Its exit status is what ``main`` returns."""
    declared = (Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
    assert '[project.scripts]\nmetasgd = "metasgd.cli:main"\n' in declared
    assert main(["evaluate", "--checkpoint", "nowhere"]) == 2


@pytest.mark.parametrize(
    ("program", "name"), [("/usr/bin/metasgd", "metasgd"), ("metasgd/__main__.py", "python -m metasgd")]
)
def test_the_help_names_the_program_as_it_was_called(monkeypatch, program, name):
    monkeypatch.setattr("sys.argv", [program, "--help"])
    assert make_parser().format_usage().startswith(f"usage: {name} [-h]")


def test_compile_reaches_the_learner(capsys, monkeypatch):
    """All but the compiler itself, which would take a minute: what it is given runs as it is."""
    given = []
    monkeypatch.setattr("torch._inductor.compile", lambda graph, inputs, options: given.append(graph) or graph)
    status, out, err = run(capsys, "train", "mnist", *SMALL, "--compile", "--out", "runs/compiled")
    assert status == 0, err
    assert json.loads(out)["iterations"] == 4
    assert given


def test_an_experiment_that_is_not_compiled_says_so(capsys):
    status, _, err = run(capsys, "experiment", "navigation", "--compile", "--device", "cpu", "--out", "results")
    assert status == 2
    assert "navigation can neither be compiled nor change its precision; leave --compile out" in err
    status, _, err = run(capsys, "experiment", "navigation", "--precision", "bfloat16", "--iterations", "1")
    assert status == 2
    assert "navigation can neither be compiled nor change its precision; leave --precision out" in err


@pytest.mark.parametrize("shard", [[], ["--shard", "1", "2"]])
def test_the_recorded_command_makes_the_whole_file_whichever_part_came_last(monkeypatch, shard):
    monkeypatch.setattr("sys.argv", ["metasgd", "experiment", "sine", *shard, "--threads", "1"])
    assert typed_command() == "python -m metasgd experiment sine --threads 1"


@pytest.mark.usefixtures("heeds_ctrl_c")
def test_ctrl_c_is_one_line_and_status_130_and_the_run_goes_on(capsys, monkeypatch):
    update, calls = MetaSGD.meta_update, []

    def interrupted(self, tasks):
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(signal.SIGINT)
        return update(self, tasks)

    monkeypatch.setattr(MetaSGD, "meta_update", interrupted)
    status, out, err = run(capsys, "train", "mnist", *SMALL, "--out", "runs/stopped")
    assert (status, out) == (130, "")
    assert "metasgd: stopped after iteration 3; runs/stopped/checkpoint.pt holds iteration 3" in err.splitlines()[-1]
    assert "Traceback" not in err
    status, out, err = run(capsys, "train", "mnist", *SMALL, "--out", "runs/stopped", "--resume")
    assert status == 0, err
    assert json.loads(out)["iterations"] == 4


def test_a_negative_rate_is_refused_before_training(capsys):
    status, _, err = run(capsys, "train", "mnist", *SMALL, "--meta-lr", -1, "--out", "runs/negative")
    assert status == 2
    assert "meta_lr is -1.0; it must be at least 0" in err
    assert not Path("runs/negative").exists()
