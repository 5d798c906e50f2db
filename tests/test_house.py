"""The package's own rules: what stands at its top, and how long a module and a function may be.

Which module may import which is checked by ``lint-imports``, from the floors listed in pyproject.toml.
"""

import ast
import sys
from pathlib import Path

import pytest

import metasgd

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib  # which pytest needs there

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(metasgd.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))
LONGEST_MODULE, LONGEST_FUNCTION = 400, 60  # lines, with comments, docstrings and blank lines
REASON = "in one piece because"  # a docstring with these words says why a longer one stays whole

Function = ast.FunctionDef | ast.AsyncFunctionDef
of_every_module = pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))


def has_reason(node: ast.Module | Function) -> bool:
    return REASON in " ".join((ast.get_docstring(node) or "").split())


def too_long(source: str) -> list[str]:
    """Name a module and the functions in it that are longer than allowed and give no reason."""
    tree = ast.parse(source)
    lines = len(source.splitlines())
    found = [f"the module: {lines} lines"] if lines > LONGEST_MODULE and not has_reason(tree) else []
    for node in ast.walk(tree):
        if isinstance(node, Function):
            lines = node.end_lineno - node.lineno + 1
            if lines > LONGEST_FUNCTION and not has_reason(node):
                found.append(f"{node.name}: {lines} lines")
    return found


@of_every_module
def test_no_module_and_no_function_is_long_without_a_reason(path: Path) -> None:
    assert too_long(path.read_text(encoding="utf-8")) == []


def test_long_code_is_found_unless_its_docstring_has_the_reason() -> None:
    """A reason may be wrapped over two lines."""
    body = "    x = 1\n" * LONGEST_FUNCTION
    assert too_long(f"class C:\n  def f(self):\n{body}") == ["f: 61 lines"]
    assert too_long(f'def f():\n    """Do it.\n\n    It is in one\n    piece because so.\n    """\n{body}') == []
    assert too_long("x = 1\n" * LONGEST_MODULE) == []
    assert too_long("x = 1\n" * (LONGEST_MODULE + 1)) == ["the module: 401 lines"]
    assert too_long('"""It is in one piece because it is a table."""\n' + "x = 1\n" * LONGEST_MODULE) == []


def prints_of(source: str) -> list[str]:
    """Name the functions that print to standard output without saying so in their name, as ``print_table`` does."""
    tree, found = ast.parse(source), []
    allowed = {
        call
        for node in ast.walk(tree)
        if isinstance(node, Function) and node.name.startswith("print_")
        for call in ast.walk(node)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and node not in allowed:
            is_print = isinstance(node.func, ast.Name) and node.func.id == "print"
            if is_print and not any(keyword.arg == "file" for keyword in node.keywords):
                found.append(f"line {node.lineno}")
            if ast.unparse(node.func) == "sys.stdout.write":
                found.append(f"line {node.lineno}")
    return found


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if path.relative_to(PACKAGE).parts[0] not in ("cli", "tools", "gpu")],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_a_library_does_not_print(path: Path) -> None:
    """Its messages go to the logger ``metasgd``, whose handler alone prints, when somebody has asked for it.

    Commands print, and so does the program of chapter 10, which is one.
    """
    found = prints_of(path.read_text(encoding="utf-8"))
    assert len(found) == (1 if path.name == "messages.py" else 0), found


def test_a_print_is_found() -> None:
    assert prints_of("def f():\n    print(1)\n") == ["line 2"]
    assert prints_of("import sys\nsys.stdout.write('1')\nprint(1, file=sys.stderr)\n") == ["line 2"]
    assert prints_of("def print_table():\n    print(1)\n") == []


def test_every_module_and_folder_at_the_top_has_its_floor() -> None:
    """Each is named once in the contract on imports, and is a Python package or module that can be imported."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (floors,) = (c for c in project["tool"]["importlinter"]["contracts"] if c["type"] == "layers")
    listed = [name.strip() for floor in floors["layers"] for name in floor.split("|")]
    here = {path.stem for path in PACKAGE.glob("*.py")} | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    assert sorted(listed) == sorted(here - {"__init__", PACKAGE.name})


def test_what_is_no_module_at_the_top_is_known() -> None:
    other = {path.name for path in PACKAGE.iterdir() if path.suffix != ".py" and not (path / "__init__.py").is_file()}
    assert other - {"__pycache__"} == {"assets", "py.typed"}


@pytest.mark.parametrize(
    "folder", sorted({path.parent for path in (ROOT / "tests").rglob("*.py")}), ids=lambda path: path.name
)
def test_every_folder_of_tests_is_a_package(folder: Path) -> None:
    """So that two folders may each have a test file of the same name."""
    assert (folder / "__init__.py").is_file()


PRIVATE = PACKAGE / "_core" / "private_torch.py"
OF_ADAM = {"_init_group"}  # methods of PyTorch's classes, which no import shows


def private_names(source: str) -> set[str]:
    """Return the names of PyTorch in a file that begin with an underscore, or lie in a module that does."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "torch":
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names if alias.name.partition(".")[0] == "torch"]
        elif isinstance(node, ast.Attribute):
            names = [written] if (written := ast.unparse(node)).startswith("torch.") or node.attr in OF_ADAM else []
        else:
            continue
        found |= {name for name in names if any(part.startswith("_") and part[:2] != "__" for part in name.split("."))}
    return {name for name in found if not name.startswith("torch.ops.")}  # operators are public by their schema


@pytest.mark.parametrize(
    "source",
    [
        "from torch.utils._pytree import tree_map",
        "from torch import _weight_norm",
        "import torch._inductor",
        "torch._foreach_add(a, b)",
        "torch._C._nn.hardsigmoid",
        "self._init_group(group)",
    ],
)
def test_private_names_are_found(source: str) -> None:
    assert private_names(source)


def test_public_names_are_not_taken_for_private() -> None:
    assert not private_names("import torch\nfrom torch.nn import Module\ntorch.__version__\nself._plan(torch.ones(2))")


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_names_that_pytorch_may_change_stand_in_one_file(path: Path) -> None:
    """Tools that try PyTorch itself apart: nothing else of the package needs them."""
    if path != PRIVATE and path.parent.name != "tools":
        assert not private_names(path.read_text(encoding="utf-8"))
