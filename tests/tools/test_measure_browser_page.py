"""What chapter 14 says of the page's speed and size is what was measured, and can be measured again."""

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
    assert page["bytes"].keys() >= {"adapt.js", "worker.js", "meta-sgd.js", "weights.js", "tf.min.js"}
    assert page["bytes_in_all"] == sum(page["bytes"].values())
    assert page["bytes_in_all"] < MEGABYTES_AT_MOST * 1e6


def test_stored_results_hold_what_the_chapter_promises() -> None:
    """A step and an answer in 0.3 seconds of a core, also without WebAssembly; the page in 2 seconds."""
    results = load_results("browser-speed")
    for backend in BACKENDS:
        assert results.cell(backend=backend, shots=5)["milliseconds_of_computing"] < 300
    assert results.cell(part="page")["seconds_until_ready"] < 2
