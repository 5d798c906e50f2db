"""Provenance: which code, versions and machine made a result."""

import platform
import re
import subprocess
from pathlib import Path
from typing import Any

import torch

from metasgd._core.version import __version__

CPU_INFO = Path("/proc/cpuinfo")


def provenance(device: torch.device | str) -> dict[str, Any]:
    """Return which code, versions and machine make the results of this process.

    Args:
        device: where it computes.
    """
    return {
        "metasgd": __version__,
        "commit": current_commit(),
        "torch": torch.__version__,
        "device": torch.cuda.get_device_name()
        if torch.device(device).type == "cuda"
        else f"cpu ({platform.machine()})",
        "processor": processor(),
        "threads": torch.get_num_threads(),
    }


def processor() -> str | None:
    """Return the name of this machine's processor (None: the system does not tell it)."""
    try:
        named = re.search(r"^model name\s*: (.+)$", CPU_INFO.read_text(encoding="utf-8"), re.MULTILINE)
    except OSError:
        named = None
    return named.group(1).strip() if named else platform.processor() or None


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
