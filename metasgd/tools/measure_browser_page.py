"""Measure chapter 14's page in a browser: the time of a step, the time until the page is ready, and its bytes."""

import argparse
import json
import os
import shutil
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from metasgd._core.files import FOLDERS, write_json
from metasgd._core.provenance import provenance

COMMAND = "python -m metasgd.tools.measure_browser_page"
STATIC = FOLDERS["adapt"][0].parent  # where the page's files lie, and those that it shares with others
STYLES = "".join(f'<link rel="stylesheet" href="{file}.css">' for file in ("shared/parts", "adapt/adapt"))
PAGE = f'<!doctype html><title>adapt</title>{STYLES}<div id="adapt"></div>'
SCRIPTS = '<script src="shared/parts.js"></script><script src="adapt/adapt.js"></script>'
BACKENDS = {"wasm": "WebAssembly, one thread", "cpu": "plain JavaScript"}
VISITS = 5  # of the page
ROUNDS = 20  # steps that are timed for each backend and number of shots
WARM_UP_ROUNDS = 5  # steps before them, in which the backend compiles
WAYS = 5


def first_installed(*programs: str) -> str | None:
    """Return the path of the first of some programs that is installed, or None."""
    return next(filter(None, map(shutil.which, programs)), None)


BROWSER = first_installed("chromium", "google-chrome", "chromium-browser")
# A JavaScript function that times steps. A round takes one Meta-SGD step on `ways` x `shots` pictures and classifies
# one more picture, which is what a reader waits for after drawing a stroke. Its time ends when the result can be read.
TIME_STEPS_JS = """async ([backend, ways, shots, rounds]) => {
    tf.wasm.setWasmPaths("./adapt/");
    await tf.setBackend(backend);
    await tf.ready();
    const { theta, alpha } = metaSgd.readWeights(Uint8Array.from(atob(metaSgdWeights), (c) => c.charCodeAt(0)).buffer);
    const labels = Array.from({ length: ways * shots }, (_, i) => i % ways);
    const pictures = (count) => Float32Array.from({ length: 784 * count }, () => Math.max(0, Math.random() - 0.5));
    const times = [];
    for (let round = 0; round < rounds; round++) {
        const [support, query] = [pictures(labels.length), pictures(1)];
        const started = performance.now();
        const logits = tf.tidy(() => {
            const images = (numbers) => tf.tensor4d(numbers, [numbers.length / 784, 28, 28, 1]);
            const { gradient } = metaSgd.supportGradient(theta, images(support), tf.tensor1d(labels, "int32"), ways);
            return metaSgd.logitsOf(metaSgd.step(theta, alpha, gradient), images(query), ways);
        });
        await logits.data();
        times.push(performance.now() - started);
        logits.dispose();
    }
    return { backend: tf.getBackend(), version: tf.version_core ?? tf.version["tfjs-core"], times };
}"""
# A JavaScript function that waits until the page shows the result for the digits with which it starts, and returns the
# milliseconds since the page was asked for.
WAIT_UNTIL_READY_JS = """() => new Promise((resolve) => {
    const shown = () => document.getElementById("adapt").dataset.shown;
    const look = () => (shown() ? resolve(performance.now()) : setTimeout(look, 5));
    look();
})"""


class CountingHandler(SimpleHTTPRequestHandler):
    """Serve a page and the files that it asks for, and note the bytes of each file in ``transferred``."""

    transferred: dict[str, int]

    def log_message(self, *args: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        """Answer with a file or a page: chapter 14's if no name is given, an empty one for the name of a page."""
        name = self.path.lstrip("/").split("?")[0]
        if name and not name.endswith(".html"):
            file = STATIC / name
            if file.is_file():
                self.transferred[name] = file.stat().st_size
            return super().do_GET()
        body = (PAGE + ("" if name else SCRIPTS)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return None


@contextmanager
def serve_page() -> Iterator[tuple[str, dict[str, int]]]:
    """Serve the page on this machine; yield its address, and a dict that collects the bytes of each file asked for."""
    transferred: dict[str, int] = {}
    handler = type("Handler", (CountingHandler,), {"transferred": transferred})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(STATIC))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", transferred
        server.shutdown()


def seconds_until_ready(browser: Any, address: str) -> float:
    """Return the seconds from asking for the page until it shows a result, with an empty cache."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    milliseconds: float = page.evaluate(WAIT_UNTIL_READY_JS)
    context.close()
    return milliseconds / 1000


def time_steps(browser: Any, address: str, backend: str, shots: int, rounds: int) -> dict[str, Any]:
    """Time steps in an empty page with the same scripts, after some rounds of warm-up.

    Args:
        browser: of Playwright.
        address: where the scripts are served.
        backend: of TensorFlow.js, ``"wasm"`` or ``"cpu"``.
        shots: the number of pictures of each class in a step.
        rounds: the number of steps.

    Returns:
        ``times`` (milliseconds of each step), ``computing`` (milliseconds a step in which the page's thread computes,
        which is how long a step takes on a core of its own), ``backend``, and ``version`` (of TensorFlow.js).

    Raises:
        ValueError: the browser uses another backend.
    """
    page = browser.new_page()
    page.goto(address + "empty.html")
    for script in ("tf.min.js", "tf-backend-wasm.min.js", "weights.js", "meta-sgd.js"):
        page.add_script_tag(url=f"adapt/{script}")
    devtools = page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def computing_seconds() -> float:
        metrics = devtools.send("Performance.getMetrics")["metrics"]
        return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))

    page.evaluate(TIME_STEPS_JS, [backend, WAYS, shots, WARM_UP_ROUNDS])
    before = computing_seconds()
    found: dict[str, Any] = page.evaluate(TIME_STEPS_JS, [backend, WAYS, shots, rounds])
    found["computing"] = 1000 * (computing_seconds() - before) / rounds
    page.close()
    if found["backend"] != backend:
        raise ValueError(f"the browser computes by {found['backend']} where {backend} was asked for")
    return found


def page_cell(seconds: list[float], transferred: dict[str, int]) -> dict[str, Any]:
    """Return what a results file holds of the page.

    Args:
        seconds: until the page was ready, one number a visit.
        transferred: the bytes of each file that the page asks for.
    """
    return {
        "part": "page",
        "seconds_until_ready": round(statistics.median(seconds), 3),
        "slowest": round(max(seconds), 3),
        "visits": len(seconds),
        "bytes": dict(transferred),
        "bytes_in_all": sum(transferred.values()),
    }


def step_cell(backend: str, shots: int, found: dict[str, Any]) -> dict[str, Any]:
    """Return what a results file holds of a backend and a number of shots, from what ``time_steps`` found."""
    quartiles = statistics.quantiles(found["times"], n=4)
    return {
        "part": "step",
        "backend": backend,
        "shots": shots,
        "milliseconds": round(statistics.median(found["times"]), 1),
        "quartiles": [round(quartiles[0], 1), round(quartiles[2], 1)],
        "slowest": round(max(found["times"]), 1),
        "milliseconds_of_computing": round(found["computing"], 1),
        "rounds": len(found["times"]),
    }


def measure(rounds: int = ROUNDS, visits: int = VISITS) -> dict[str, Any]:
    """Measure everything, and return the content of a results file (chapter 14).

    Its cells are ``page`` (the seconds until the page is ready, and the bytes of its files), and one for each backend
    and number of shots (milliseconds of a step).

    Args:
        rounds: the number of steps that are timed for each backend and number of shots.
        visits: how many times the page is visited.
    """
    from playwright.sync_api import sync_playwright  # an optional dependency

    started = time.perf_counter()
    cells: dict[str, Any] = {}
    with sync_playwright() as driver, serve_page() as (address, transferred):
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        seconds = [seconds_until_ready(browser, address) for _ in range(visits)]
        cells["page"] = page_cell(seconds, transferred)
        for backend in BACKENDS:
            for shots in (1, 5):
                found = time_steps(browser, address, backend, shots, rounds)
                cells[f"{backend}, {shots}-shot"] = step_cell(backend, shots, found)
        name = f"Chromium {browser.version}, headless"
        browser.close()
    made = {
        "seconds": round(time.perf_counter() - started, 1),
        **provenance("cpu"),
        "tensorflow.js": found["version"],
        "browser": name,
        "threads": 1,
        "cores": os.cpu_count(),
        "other_processes": f"{os.getloadavg()[0]:.1f} busy on average in the last minute, this one included",
    }
    return {"format": 2, "experiment": "browser-speed", "command": COMMAND, "provenance": made, "cells": cells}


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, and print the result as JSON."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument(
        "--rounds", type=int, default=ROUNDS, help="steps timed for each backend and number of shots (default: 20)"
    )
    parser.add_argument("--visits", type=int, default=VISITS, help="visits of the page (default: 5)")
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help="also write the result here, e.g. book/results/browser-speed.json"
    )
    arguments = parser.parse_args(argv)
    result = measure(arguments.rounds, arguments.visits)
    if arguments.out:
        write_json(arguments.out, result)
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
