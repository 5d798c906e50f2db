"""What `import metasgd` loads: the algorithm, and no more."""

import subprocess
import sys

NOT_NEEDED = [
    "metasgd.tasks",
    "metasgd.plotting",
    "metasgd.experiments",
    "metasgd.recipes",
    "metasgd.benchmark",
    "matplotlib",
    "torchvision",
    "torch._inductor",
]
SCRIPT = "import sys, torch; before = set(sys.modules); import metasgd; print(*(set(sys.modules) - before))"


def test_importing_the_package_loads_the_algorithm_alone() -> None:
    """In a fresh interpreter. PyTorch comes first: what it loads itself does not count."""
    output = subprocess.run([sys.executable, "-c", SCRIPT], check=True, capture_output=True, text=True).stdout
    loaded = set(output.split())
    assert "metasgd.meta_sgd" in loaded
    assert not loaded.intersection(NOT_NEEDED)
