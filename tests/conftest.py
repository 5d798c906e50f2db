"""What the tests share: the device they run on, float64, browsers, and the full MNIST where there is one."""

import logging
import os
import signal
import threading
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import matplotlib as mpl
import pytest
import torch
from PIL import Image, ImageDraw

from metasgd.data import omniglot
from metasgd.recipes import glyphs
from metasgd.strategies import pooling
from metasgd.tools.measure_browser_page import BROWSER, first_installed
from tests.data.colour_folders import announce, make_cifar_100, make_miniimagenet

if "PYTEST_XDIST_WORKER" in os.environ:  # processes side by side share the cores
    share = (os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    torch.set_num_threads(max(1, share))
    # So do the programs and notebooks that they start, whose waiting threads must not keep the cores busy, either: two
    # notebooks side by side would take many times as long.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, share)))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

mpl.use("Agg")  # figures are drawn into memory, as a machine that only tests has no screen

BESIDE_THE_CHECKOUT = Path(__file__).resolve().parents[2] / "shared" / "data" / "torchvision"
FIREFOX = first_installed("firefox-esr", "firefox")
MNIST_FOLDER = Path(os.environ.get("METASGD_DATA") or BESIDE_THE_CHECKOUT).expanduser()


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The device of the tests: ``METASGD_TEST_DEVICE=cuda pytest`` runs them on a GPU (default: cpu)."""
    return torch.device(os.environ.get("METASGD_TEST_DEVICE", "cpu"))


class Quiet(SimpleHTTPRequestHandler):
    """Serve files without a line on each."""

    def log_message(self, *args: object) -> None:
        """Print nothing."""


@pytest.fixture(scope="module")
def address(request: pytest.FixtureRequest) -> Iterator[str]:
    """Where the folder that a test module names as ``SERVED`` is served."""
    folder = str(request.module.SERVED)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the tests of a module in each browser that it names as ``BROWSERS``, save those marked ``chromium_only``."""
    names = getattr(metafunc.module, "BROWSERS", None)
    if names and "browser" in metafunc.fixturenames:
        only = metafunc.definition.get_closest_marker("chromium_only")
        metafunc.parametrize("browser", ["chromium"] if only else names, indirect=True, scope="module")


@pytest.fixture(scope="module")
def browser(request: pytest.FixtureRequest) -> Iterator[object]:
    """A headless browser, Chromium if none is asked for; what needs it is skipped where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    name = getattr(request, "param", "chromium")
    program = {"chromium": BROWSER, "firefox": FIREFOX}[name]
    if program is None:
        pytest.skip(f"no {name.capitalize()} is installed")
    with playwright.sync_playwright() as driver:
        if name == "firefox":
            started = driver.firefox.launch(executable_path=program, channel="moz-firefox")
        else:
            arguments = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking"]
            started = driver.chromium.launch(executable_path=program, args=arguments)
        yield started
        started.close()


@pytest.fixture
def float64() -> Iterator[None]:
    """Make float64 the default of a test: its rounding, 1e-16, is far below the tolerances."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def heeds_ctrl_c() -> Iterator[None]:
    """Take SIGINT as a terminal's program does; one that a shell runs in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def no_channel_is_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``threads`` compute the small pictures of a test in its own way, and not leave them to PyTorch."""
    monkeypatch.setattr(pooling, "SMALL_CHANNEL", 0)


@pytest.fixture
def few_classes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Glyphs of 40 classes in place of 2,000, and of 20 in place of 1,623 characters; no other test meets them."""
    monkeypatch.setattr(glyphs, "CLASSES", 40)
    monkeypatch.setattr(glyphs, "CHARACTERS", 20)
    glyphs.written.cache_clear()
    glyphs.alike.cache_clear()
    yield
    glyphs.written.cache_clear()
    glyphs.alike.cache_clear()


@pytest.fixture(autouse=True)
def _no_messages_shown() -> None:
    """Begin each test with the package's messages as they are in a new program, which has not asked for them."""
    logger = logging.getLogger("metasgd")
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    logger.propagate = True


@pytest.fixture(autouse=True)
def _embedded_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tests see the embedded sample, whatever folder the environment names."""
    monkeypatch.delenv("METASGD_DATA", raising=False)


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """The full MNIST in torchvision's layout: ``METASGD_DATA``, or ``../shared/data/torchvision``; else skip."""
    if not (MNIST_FOLDER / "MNIST" / "raw").is_dir():
        pytest.skip(f"needs the full MNIST, and {MNIST_FOLDER} has none; set METASGD_DATA to a folder that has")
    return MNIST_FOLDER


@pytest.fixture
def omniglot_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Omniglot with 40 + 20 characters of small drawings, one part as a folder, the other as a zip file.

    Character c is a line from one border to another that no other character has, shifted a little in each drawing.
    """
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    parts = {"images_background": 40, "images_evaluation": 20}
    monkeypatch.setattr(omniglot, "OMNIGLOT_PARTS", parts)
    root, character = tmp_path / "omniglot-py", 0
    for part, count in parts.items():
        for index in range(count):
            folder = root / part / f"Alphabet_of_{index % 3}" / f"character{index // 3 + 1:02}"
            folder.mkdir(parents=True)
            for drawing in range(20):
                picture = Image.new("1", (35, 35), 1)
                ends = (character % 8 * 4 + drawing % 4, 2, character // 8 * 4 + drawing // 5, 32)
                ImageDraw.Draw(picture).line(ends, fill=0, width=2)
                picture.save(folder / f"{index:04}_{drawing + 1:02}.png")
            character += 1
    with zipfile.ZipFile(root / "images_evaluation.zip", "w") as archive:
        for path in sorted((root / "images_evaluation").rglob("*"), reverse=True):
            archive.write(path, path.relative_to(root))
    (root / "images_evaluation").rename(tmp_path / "moved away")
    return tmp_path


@pytest.fixture(scope="session")
def small_miniimagenet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``mini-imagenet/``: all 100 classes, of 18 small pictures each. Not to be changed by a test."""
    root = tmp_path_factory.mktemp("pictures")
    make_miniimagenet(root / "mini-imagenet")
    return root


@pytest.fixture(scope="session")
def _small_cifar_100(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("cifar")
    make_cifar_100(root)
    return root


@pytest.fixture
def small_cifar_100(_small_cifar_100: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with ``cifar-100-python/``: all 100 classes, of 18 pictures each. Not to be changed by a test."""
    announce(_small_cifar_100, monkeypatch)
    return _small_cifar_100


@pytest.fixture(scope="session")
def full_omniglot_folder() -> Path:
    """The full Omniglot: ``METASGD_DATA``, or ``../shared/data``; else skip."""
    folder = Path(os.environ.get("METASGD_DATA") or BESIDE_THE_CHECKOUT.parent).expanduser()
    places = [folder / name for name in ("omniglot-py", "omniglot")]
    if not any((place / f"images_background{end}").exists() for place in places for end in ("", ".zip")):
        pytest.skip(f"needs the full Omniglot, and {folder} has none; set METASGD_DATA to a folder that has")
    return folder
