"""What is recorded of how a result was made."""

import platform
from pathlib import Path

import pytest

from metasgd import __file__ as package
from metasgd._core import provenance as module
from metasgd._core.provenance import processor, provenance


def test_the_processor_is_named_as_linux_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nprocessor\t: 1\nmodel name\t: Other\n")
    monkeypatch.setattr(module, "CPU_INFO", info)
    assert processor() == "Some CPU @ 2 GHz"


@pytest.mark.parametrize(("said", "expected"), [("arm", "arm"), ("", None)])
def test_elsewhere_the_processor_is_what_python_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, expected: str | None
) -> None:
    monkeypatch.setattr(module, "CPU_INFO", tmp_path / "none")
    monkeypatch.setattr(platform, "processor", lambda: said)
    assert processor() == expected
    (tmp_path / "none").write_text("Hardware\t: a board\n")  # a file without the model's name
    assert processor() == expected


def test_a_result_records_code_versions_and_machine() -> None:
    made = provenance("cpu")
    assert list(made) == ["metasgd", "commit", "torch", "device", "processor", "threads"]
    assert made["device"].startswith("cpu (")
    if (Path(package).resolve().parents[1] / ".git").exists():
        assert made["commit"]
