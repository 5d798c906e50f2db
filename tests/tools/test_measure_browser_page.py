"""What chapter 14 says of the page's speed and size is what was measured, and can be measured again."""

import json

import pytest

from metasgd.experiments import load_results
from metasgd.tools import measure_browser_page
from metasgd.tools.measure_browser_page import BACKENDS

MEGABYTES_AT_MOST = 3  # of the page's own files, in all


@pytest.fixture(scope="module")
def measured() -> dict:
    pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if measure_browser_page.BROWSER is None:
        pytest.skip("no Chromium is installed")
    return measure_browser_page.measure(rounds=2, visits=1)


def test_every_backend_is_measured(measured) -> None:
    """By values that the browser gave; how large they are depends on the machine."""
    for backend in measure_browser_page.BACKENDS:
        for shots in (1, 5):
            cell = measured["cells"][f"{backend}, {shots}-shot"]
            assert cell["milliseconds_of_computing"] > 0
            assert 0 < cell["milliseconds"] <= cell["slowest"]
    assert measured["cells"]["page"]["seconds_until_ready"] > 0
    assert "command" in measured
    assert measured["provenance"].keys() >= {"browser", "tensorflow.js", "cores", "other_processes", "processor"}


def test_page_asks_for_three_megabytes_at_most(measured) -> None:
    page = measured["cells"]["page"]
    assert {file.split("/")[-1] for file in page["bytes"]} >= {"adapt.js", "parts.js", "weights.js", "tf.min.js"}
    assert page["bytes_in_all"] == sum(page["bytes"].values())
    assert page["bytes_in_all"] < MEGABYTES_AT_MOST * 1e6


def test_stored_results_hold_what_the_chapter_promises() -> None:
    """A step and an answer in 0.3 seconds of a core, also without WebAssembly; the page in 2 seconds."""
    results = load_results("browser-speed")
    for backend in BACKENDS:
        assert results.cell(backend=backend, shots=5)["milliseconds_of_computing"] < 300
    assert results.cell(part="page")["seconds_until_ready"] < 2


def test_cells_by_hand() -> None:
    """The median of 1, 2, 3 and 10 is 2.5; with n = 4 the quartiles lie at a quarter of n + 1: 1.25 and 8.25."""
    found = {"times": [10.0, 1.0, 3.0, 2.0], "computing": 1.26}
    assert measure_browser_page.step_cell("cpu", 5, found) == {
        "part": "step",
        "backend": "cpu",
        "shots": 5,
        "milliseconds": 2.5,
        "quartiles": [1.2, 8.2],  # half a tenth is rounded to the even digit
        "slowest": 10.0,
        "milliseconds_of_computing": 1.3,
        "rounds": 4,
    }
    page = measure_browser_page.page_cell([0.5, 0.3, 0.4], {"a.js": 10, "b.js": 5})
    assert (page["seconds_until_ready"], page["slowest"], page["visits"], page["bytes_in_all"]) == (0.4, 0.5, 3, 15)


def test_the_tool_writes_and_prints_what_was_measured(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(measure_browser_page, "measure", lambda *counts: {"counts": counts})
    file = tmp_path / "speed.json"
    measure_browser_page.main(["--rounds", "3", "--visits", "2", "--out", str(file)])
    assert json.loads(file.read_text()) == json.loads(capsys.readouterr().out) == {"counts": [3, 2]}
