"""What a newcomer's first commands rely on, and what keeps the repository clean."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from glob import glob
from importlib.metadata import metadata, version
from pathlib import Path
from typing import Any

import nbformat
import pytest
import yaml
from nbformat import NotebookNode
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.version import Version

import metasgd
from tests.book.notebooks import BOOK, CHAPTERS, PAGES, ROOT, in_every_chapter

README = (ROOT / "README.md").read_text(encoding="utf-8")
BUILD = "pip install -r requirements.txt && jupyter-book build book/"
BUILD_CHINESE = "jupyter-book build book/zh/"
TEST = "pip install -r requirements.txt && pytest"


def notebook(chapter: str) -> NotebookNode:
    return nbformat.read(BOOK / f"{chapter}.ipynb", as_version=4)


def set_up_cell(chapter: str) -> NotebookNode:
    return next(cell for cell in notebook(chapter).cells if cell.cell_type == "code")


def test_table_of_contents_lists_every_page_and_every_page_is_there() -> None:
    pages = [path.stem for pattern in ("*.ipynb", "*.md") for path in BOOK.glob(pattern)]
    assert sorted(pages) == sorted(PAGES)


@pytest.mark.parametrize("name", ["_config.yml", "_toc.yml"])
def test_book_links_to_the_file_at_the_top(name: str) -> None:
    """Where a system has no symbolic links, Git writes the path into a small file."""
    link = BOOK / name
    assert (os.readlink(link) if link.is_symlink() else link.read_text(encoding="utf-8")) == f"../{name}"
    assert (ROOT / name).is_file()
    assert not (ROOT / name).is_symlink()


def test_tests_are_collected_where_a_system_has_no_symbolic_links(tmp_path: Path) -> None:
    """A copy as Git makes it there: each link is a small file that holds a path."""
    for folder in ("tests/book", "book", "metasgd", ".ci", ".github"):
        leave_out = shutil.ignore_patterns("_build", "__pycache__", "*.npz", "*.js", "*.wasm")
        shutil.copytree(ROOT / folder, tmp_path / folder, symlinks=True, ignore=leave_out)
    for path in ROOT.iterdir():
        if path.is_file() and path.name != ".git":
            shutil.copy(path, tmp_path)
    shutil.copy(ROOT / "tests" / "__init__.py", tmp_path / "tests")
    links = [path for path in tmp_path.rglob("*") if path.is_symlink()]
    assert {link.name for link in links} >= {"_config.yml", "_toc.yml"}
    for link in links:
        target = os.readlink(link)
        link.unlink()
        link.write_text(target, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-o", "addopts=", "-p", "no:cacheprovider", "--collect-only", "-q"]
    done = subprocess.run([*command, "tests/book"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "test_book.py::test_every_picture_is_described" in done.stdout


@in_every_chapter
def test_notebook_is_committed_without_outputs(chapter: str) -> None:
    nbformat.validate(notebook(chapter))
    for cell in notebook(chapter).cells:
        if cell.cell_type == "code":
            assert cell.outputs == []
            assert cell.execution_count is None


@in_every_chapter
def test_notebook_names_the_one_kernel_and_no_editor(chapter: str) -> None:
    metadata = notebook(chapter).metadata
    assert metadata["kernelspec"] == {"display_name": "Python 3", "language": "python", "name": "python3"}
    assert metadata.keys() <= {"kernelspec", "language_info"}


@in_every_chapter
def test_first_code_cell_is_the_set_up_cell_of_all_chapters(chapter: str) -> None:
    cell = set_up_cell(chapter)
    assert cell.source == set_up_cell(CHAPTERS[0]).source
    assert cell.metadata.tags == ["hide-input", "set-up"]
    lines = cell.source.splitlines()
    guard, command, *rest = lines[lines.index("import sys") + 2 :]
    assert guard == 'if "google.colab" in sys.modules:'
    assert all(not line or line.startswith("    ") for line in rest)
    assert any("torch.cuda.get_device_name()" in line for line in rest)
    requirement = Requirement(re.fullmatch(r'    %pip install --quiet "(.*)"', command)[1])
    assert requirement.name == "metasgd"
    assert requirement.url.startswith("git+https://github.com/")


def test_requirements_name_what_the_book_and_its_tests_need() -> None:
    lines = [line.split("#")[0].strip() for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines()]
    assert "-e ." in lines
    requirements = {Requirement(line).name: Requirement(line) for line in lines if line and line != "-e ."}
    assert requirements.keys() >= {
        "jupyter-book", "torch", "torchvision", "numpy", "matplotlib", "nbmake", "pytest",
    }  # fmt: skip
    assert "2.0.0" not in requirements["jupyter-book"].specifier  # version 2 is another program
    assert "1.0.4" in requirements["jupyter-book"].specifier


def workflow(name: str) -> dict[str, Any]:
    return yaml.safe_load((ROOT / ".github" / "workflows" / f"{name}.yml").read_text(encoding="utf-8"))


def python_versions_of_the_book() -> set[str]:
    """Those of the jobs that install requirements.txt, by themselves or by .ci/run."""
    found: set[str] = set()
    for name in ("ci", "publish", "weekly"):
        for job in workflow(name)["jobs"].values():
            commands = " ".join(step.get("run", "") for step in job.get("steps", []))
            if "requirements.txt" in commands or ".ci/run" in commands:
                found |= set(job.get("strategy", {}).get("matrix", {}).get("python", []))
                found |= {step.get("with", {}).get("python-version", "$") for step in job["steps"]}
    return {one for one in found if "$" not in one}


def test_one_theme_for_every_python_version_of_the_workflows() -> None:
    """Its versions differ in whether the buttons of the header work; a range is another theme on another Python."""
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    (line,) = (line.split("#")[0] for line in lines if line.startswith("sphinx-book-theme"))
    (specifier,) = Requirement(line).specifier
    assert specifier.operator == "=="
    assert specifier.contains(version("sphinx-book-theme"))
    requires = metadata("sphinx-book-theme")["Requires-Python"]
    versions = python_versions_of_the_book()
    assert len(versions) >= 2
    for one in versions:
        assert SpecifierSet(requires).contains(one), f"the theme does not run on Python {one}"
    lowest = min(versions, key=Version)
    assert f"{lowest} or newer to build the book" in README


def test_a_tag_attaches_the_pdf_and_main_alone_deploys() -> None:
    """GitHub lets no tag deploy to Pages; what the site's Colab buttons open is pushed with the site alone."""
    publish = workflow("publish")
    assert publish[True]["push"] == {"branches": ["main"], "tags": ["v*"]}  # YAML reads "on" as true
    main = "github.ref == 'refs/heads/main'"
    assert publish["jobs"]["deploy"]["if"] == main
    conditions = {}
    for step in publish["jobs"]["build"]["steps"]:
        for part in ("upload-pages-artifact", "refs/heads/published", "pdf.py", "gh release upload", "check_site.py"):
            if part in step.get("uses", "") + step.get("run", ""):
                conditions[part] = step.get("if")
    assert conditions["upload-pages-artifact"] == conditions["refs/heads/published"] == main
    assert conditions["gh release upload"] == "github.ref_type == 'tag'"
    assert conditions["check_site.py"] is None


def test_version_is_written_in_one_place() -> None:
    assert version("metasgd") == metasgd.__version__
    for name in ("pyproject.toml", "_config.yml", "CITATION.cff", "README.md"):
        assert metasgd.__version__ not in (ROOT / name).read_text(encoding="utf-8")


def test_the_lowest_versions_that_are_declared_are_those_that_are_tested_weekly_and_that_the_readme_names() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (torch_version,) = re.findall(r'"torch>=([\d.]+)"', project)
    (python_version,) = re.findall(r'requires-python = ">=([\d.]+)"', project)
    lowest = yaml.safe_load((ROOT / ".github/workflows/weekly.yml").read_text(encoding="utf-8"))["jobs"]["lowest"]
    commands = " ".join(step.get("run", "") for step in lowest["steps"])
    assert f'"torch=={torch_version}.*"' in commands
    assert python_version in [step.get("with", {}).get("python-version") for step in lowest["steps"]]
    assert f"Python {python_version} or newer" in README
    assert f"PyTorch, {torch_version} or newer" in README


def test_wheel_takes_the_whole_package_and_git_ignores_nothing_of_it() -> None:
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert '[tool.hatch.build.targets.wheel]\npackages = ["metasgd"]\n' in project
    assert 'license-files = ["LICENSE", "metasgd/assets/LICENSE-MNIST.txt"]\n' in project
    assert (ROOT / "LICENSE").is_file()
    for name in (
        "py.typed",
        "assets/mnist_sample.npz",
        "assets/LICENSE-MNIST.txt",
    ):  # hatchling leaves out what git ignores
        assert (ROOT / "metasgd" / name).is_file()
        ignored = subprocess.run(["git", "check-ignore", "--quiet", f"metasgd/{name}"], cwd=ROOT, check=False)
        assert ignored.returncode != 0, f"git ignores {name}"


def test_readme_gives_the_two_commands_and_ci_runs_the_second() -> None:
    commands = "\n".join(re.findall(r"^```bash\n(.*?)^```", README, re.MULTILINE | re.DOTALL)).splitlines()
    assert BUILD in commands
    assert TEST in commands
    assert BUILD_CHINESE in commands
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert f"\n    {TEST}\n)\n" in script  # a subshell: set -e would not stop at a failure of pip otherwise
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_both_editions_are_built_after_one_another_wherever_the_book_is() -> None:
    """The Chinese one takes what the English one has run."""
    steps = [step.get("run", "") for step in workflow("publish")["jobs"]["build"]["steps"]]
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    for commands in (steps, script):
        builds = [line.split(" -W")[0] for line in commands if line.startswith("jupyter-book build")]
        assert builds == ["jupyter-book build book/", BUILD_CHINESE]


def checks_of_ci() -> list[str]:
    """The commands of two steps of .ci/run, on style and on types, with patterns replaced by the files they mean."""
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    steps = re.findall(r'^step "(?:Style|Types).*"\n((?:.+\n)*)', script, re.MULTILINE)
    assert len(steps) == 2
    commands = []
    for line in "".join(steps).splitlines():
        words = [name for word in shlex.split(line) for name in sorted(glob(word, root_dir=ROOT)) or [word]]
        commands.append(shlex.join(words))
    return [command for command in commands if not command.startswith("pip install")]


def test_hooks_before_a_commit_are_the_checks_of_ci() -> None:
    """With the same upper limits of versions."""
    (repository,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8"))["repos"]
    assert repository["repo"] == "local"
    assert sorted(shlex.join(shlex.split(hook["entry"])) for hook in repository["hooks"]) == sorted(checks_of_ci())
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for hook in repository["hooks"]:
        for requirement in hook.get("additional_dependencies", []):
            assert re.search(rf'pip install .*(?<=[ "]){re.escape(requirement)}(?=[ "\n])', script), requirement


def test_readme_example_runs_and_one_step_helps(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    exec(example, names)
    assert names["after"] < names["before"] / 2
    assert f"{names['after']:.2f}" in capsys.readouterr().out


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="needs a git clone, and this folder is none")
def test_repository_holds_no_large_file_and_nothing_built() -> None:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    names = [name for name in listing.stdout.split("\0") if name]
    assert "pyproject.toml" in names
    for name in names:
        assert not re.search(r"(^|/)(_build|__pycache__|\.ipynb_checkpoints|dist|runs)/", name), name
        assert not (ROOT / name).is_file() or (ROOT / name).stat().st_size < 5_000_000, name


# The stamp: what the publishing workflow runs, on a copy.


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The files that the stamp may change, and the script."""
    (tmp_path / ".github").mkdir()
    (tmp_path / "book" / "zh").mkdir(parents=True)
    shutil.copy(ROOT / ".github" / "stamp.py", tmp_path / ".github")
    shutil.copy(ROOT / "_config.yml", tmp_path)
    shutil.copy(BOOK / "zh" / "_config.yml", tmp_path / "book" / "zh")
    for folder in ("", "zh"):
        for chapter in CHAPTERS:
            shutil.copy(BOOK / folder / f"{chapter}.ipynb", tmp_path / "book" / folder)
    return tmp_path


def stamp(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ".github/stamp.py", *arguments]
    return subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)


def contents(copy: Path) -> dict[str, str]:
    """The texts of the files by their paths from the folder of the book; "../_config.yml" is that of English."""
    files = [copy / "_config.yml", *sorted(path for path in (copy / "book").rglob("*") if path.is_file())]
    return {os.path.relpath(path, copy / "book"): path.read_text(encoding="utf-8") for path in files}


def test_repository_itself_shows_no_button_without_an_address() -> None:
    for path in (ROOT / "_config.yml", BOOK / "zh" / "_config.yml"):
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert config["repository"]["url"] == ""
        assert config["launch_buttons"] == {"colab_url": ""}
        assert not config["html"]["use_repository_button"]
        assert not config["html"]["use_issues_button"]
        assert not config["html"]["use_edit_page_button"]


def test_stamp_fills_the_buttons_and_every_set_up_cell_and_nothing_else(copy: Path) -> None:
    before = contents(copy)
    done = stamp(copy, "https://github.com/someone/their.book", "v1.2")
    assert done.returncode == 0, done.stderr
    after = contents(copy)
    for name in [f"{folder}{chapter}.ipynb" for folder in ("", "zh/") for chapter in CHAPTERS]:
        old, new = (json.loads(version[name]) for version in (before, after))
        sources = [["".join(cell["source"]) for cell in part["cells"]] for part in (old, new)]
        changed = [pair for pair in zip(*sources, strict=True) if pair[0] != pair[1]]
        assert len(changed) == 1
        assert '"metasgd @ git+https://github.com/someone/their.book@v1.2"' in changed[0][1]
    for name, site in {"../_config.yml": "", "zh/_config.yml": "zh/"}.items():
        config = yaml.safe_load(after[name])
        assert config["repository"]["url"] == "https://github.com/someone/their.book"
        assert config["repository"]["branch"] == "published"
        assert config["launch_buttons"]["colab_url"] == "https://colab.research.google.com"
        assert config["html"]["use_repository_button"]
        assert config["html"]["use_issues_button"]
        assert config["html"]["baseurl"] == f"https://someone.github.io/their.book/{site}"


@pytest.mark.parametrize("folder", ["book", "book/zh"])
def test_a_built_page_has_the_stamped_address_in_every_button(copy: Path, folder: str) -> None:
    """Two pages are built, without running their code; what a button says depends on the page's name alone."""
    address, pages = "https://github.com/someone/their.book", CHAPTERS[:2]
    assert stamp(copy, address, "v1.2").returncode == 0
    for path in (copy / "book").rglob("[0-9][0-9]-*"):
        if path.stem not in pages:
            path.unlink()
    config_path = copy / (folder if folder != "book" else "") / "_config.yml"
    config = config_path.read_text(encoding="utf-8")
    config_path.write_text(config.replace("execute_notebooks: cache", 'execute_notebooks: "off"'), encoding="utf-8")
    toc = {"format": "jb-article", "root": pages[0], "sections": [{"file": pages[1]}]}
    config_path.with_name("_toc.yml").write_text(yaml.safe_dump(toc))
    shutil.copy(BOOK / "references.bib", copy / "book")
    if folder == "book":
        for name in ("_config.yml", "_toc.yml"):
            (copy / "book" / name).symlink_to(f"../{name}")
    command = [Path(sys.executable).with_name("jupyter-book"), "build", folder]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in pages:
        html = (copy / folder / "_build" / "html" / f"{page}.html").read_text(encoding="utf-8")
        links = re.findall(r'href="([^"]*someone[^"]*)"', html)
        assert (
            f"https://colab.research.google.com/github/someone/their.book/blob/published/{folder}/{page}.ipynb"
            in links
        )
        assert f"{address}/edit/main/{folder}/{page}.ipynb" in links
        assert any(link.startswith(f"{address}/issues/new?") for link in links)
        assert address in links
        assert f"metasgd @ git+{address}@v1.2" in re.sub("<[^>]*>", "", html)


def test_stamp_replaces_an_earlier_stamp(copy: Path) -> None:
    assert stamp(copy, "https://github.com/someone/book", "0123abc").returncode == 0
    once = contents(copy)
    assert stamp(copy, "https://github.com/other/name", "release/2").returncode == 0
    assert stamp(copy, "https://github.com/someone/book", "0123abc").returncode == 0
    assert contents(copy) == once


@pytest.mark.parametrize(
    ("address", "version", "message"),
    [
        ("https://github.com/someone", "v1", "no repository address"),
        ("git@github.com:someone/book", "v1", "no repository address"),
        ("https://github.com/someone/book", 'v1" "x', "no version"),
    ],
)
def test_stamp_refuses_what_cannot_be_installed(copy: Path, address: str, version: str, message: str) -> None:
    before = contents(copy)
    done = stamp(copy, address, version)
    assert done.returncode != 0
    assert message in done.stderr
    assert contents(copy) == before


def test_stamp_writes_nothing_if_one_notebook_has_no_set_up_cell(copy: Path) -> None:
    path = copy / "book" / f"{CHAPTERS[-1]}.ipynb"
    path.write_text(path.read_text(encoding="utf-8").replace("metasgd @", "metasgd at"), encoding="utf-8")
    before = contents(copy)
    done = stamp(copy, "https://github.com/someone/book", "v1")
    assert done.returncode != 0
    assert path.name in done.stderr
    assert contents(copy) == before
