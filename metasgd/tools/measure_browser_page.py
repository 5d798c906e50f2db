"""Measure the page that adapts in a browser: how long a step takes, and the page itself, and its bytes (chapter 14).

python -m metasgd.tools.measure_browser_page --out book/results/browser-speed.json
"""

import argparse
import json
import os
import shutil
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from metasgd._core.files import FOLDERS, write_json
from metasgd._core.provenance import provenance

COMMAND = "python -m metasgd.tools.measure_browser_page"
FILES = FOLDERS["adapt"][0]
PAGE = '<!doctype html><title>adapt</title><link rel="stylesheet" href="adapt.css"><div id="adapt"></div>'
BACKENDS = {"wasm": "WebAssembly, one thread", "cpu": "plain JavaScript"}
VISITS = 5
WAYS = 5
WARM_UP = 5
BROWSER = next(filter(None, map(shutil.which, ("chromium", "google-chrome", "chromium-browser"))), None)
# Take the step for 5 x `shots` pictures and classify one more: what a reader waits for after a stroke. The clock stops
# when the numbers are there.
STEPS = """async ([backend, ways, shots, rounds]) => {
    tf.wasm.setWasmPaths("./");
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
# A page is ready when it shows the result for the digits that it starts with.
READY = """() => new Promise((resolve) => {
    const shown = () => document.getElementById("adapt").dataset.shown;
    const look = () => (shown() ? resolve(performance.now()) : setTimeout(look, 5));
    look();
})"""


class Counting(SimpleHTTPRequestHandler):
    """Serve the page's files, and the page itself, and add up the bytes."""

    transferred: dict[str, int]

    def log_message(self, *args: object) -> None:
        """Print nothing."""

    def do_GET(self) -> None:
        """Answer with a file, or with the page for an address that names none."""
        name = self.path.lstrip("/").split("?")[0]
        if name and not name.endswith(".html"):
            file = FILES / name
            if file.is_file():
                self.transferred[name] = file.stat().st_size
            return super().do_GET()
        body = (PAGE + ('<script src="adapt.js"></script>' if not name else "")).encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        return None


@contextmanager
def served() -> Iterator[tuple[str, dict[str, int]]]:
    """Serve the page, and tell its address and, file by file, the bytes that were asked for."""
    transferred: dict[str, int] = {}
    handler = type("Handler", (Counting,), {"transferred": transferred})
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(FILES))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/", transferred
        server.shutdown()


def visit(browser: Any, address: str) -> float:
    """Return the seconds from the click on a link to the page until it shows a result, nothing being cached."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(address)
    milliseconds: float = page.evaluate(READY)
    context.close()
    return milliseconds / 1000


def time_steps(browser: Any, address: str, backend: str, shots: int, rounds: int) -> dict[str, Any]:
    """Return what ``STEPS`` measures, in an empty page that has the same files, after runs that compile.

    Added is the time that the page's thread was computing, in milliseconds a step: the time on a core of its own.
    """
    page = browser.new_page()
    page.goto(address + "empty.html")
    for script in ("tf.min.js", "tf-backend-wasm.min.js", "weights.js", "meta-sgd.js"):
        page.add_script_tag(url=script)
    tools = page.context.new_cdp_session(page)
    tools.send("Performance.enable", {"timeDomain": "threadTicks"})

    def computing() -> float:
        metrics = tools.send("Performance.getMetrics")["metrics"]
        return float(next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration"))

    page.evaluate(STEPS, [backend, WAYS, shots, WARM_UP])
    before = computing()
    found: dict[str, Any] = page.evaluate(STEPS, [backend, WAYS, shots, rounds])
    found["computing"] = 1000 * (computing() - before) / rounds
    page.close()
    if found["backend"] != backend:
        raise ValueError(f"the browser computes by {found['backend']} where {backend} was asked for")
    return found


def measure(rounds: int, visits: int = VISITS) -> dict[str, Any]:
    """Return everything: the times of a step by backend and shots, in milliseconds, the page's, and the bytes."""
    from playwright.sync_api import sync_playwright  # which only who measures, or tests the site, has installed

    started = time.perf_counter()
    cells: dict[str, Any] = {}
    with sync_playwright() as driver, served() as (address, transferred):
        browser = driver.chromium.launch(executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu"])
        seconds = [visit(browser, address) for _ in range(visits)]
        cells["page"] = {
            "part": "page",
            "seconds_until_ready": round(statistics.median(seconds), 3),
            "slowest": round(max(seconds), 3),
            "visits": visits,
            "bytes": dict(transferred),
            "bytes_in_all": sum(transferred.values()),
        }
        for backend in BACKENDS:
            for shots in (1, 5):
                found = time_steps(browser, address, backend, shots, rounds)
                quartiles = statistics.quantiles(found["times"], n=4)
                cells[f"{backend}, {shots}-shot"] = {
                    "part": "step",
                    "backend": backend,
                    "shots": shots,
                    "milliseconds": round(statistics.median(found["times"]), 1),
                    "quartiles": [round(quartiles[0], 1), round(quartiles[2], 1)],
                    "slowest": round(max(found["times"]), 1),
                    "milliseconds_of_computing": round(found["computing"], 1),
                    "rounds": rounds,
                }
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="steps measured for each backend and number of shots")
    parser.add_argument("--out", type=Path, metavar="FILE", help="where the result goes, beside standard output")
    arguments = parser.parse_args()
    result = measure(arguments.rounds)
    if arguments.out:
        write_json(arguments.out, result)
    print(json.dumps(result, indent=1))
