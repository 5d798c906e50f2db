"""What a result needs beside its settings to be understood later: versions, commit and machine."""

import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

from metasgd._core.version import __version__


def circumstances(device: torch.device | str) -> dict[str, Any]:
    """Return what a result needs beside its settings to be understood later."""
    return {
        "metasgd": __version__,
        "commit": current_commit(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name()
        if torch.device(device).type == "cuda"
        else f"cpu ({platform.machine()})",
        "threads": torch.get_num_threads(),
    }


def current_commit() -> str | None:
    """Return the commit of the checkout that the package is imported from (None: it is installed)."""
    try:
        output = subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return output.stdout.strip()
