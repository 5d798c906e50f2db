"""What the benchmark prints: its progress, and one table a workload (chapter 9)."""

import sys
from typing import Any


def print_progress(message: str) -> None:
    """Print a line on standard error."""
    print(message, file=sys.stderr, flush=True)


def describe_error(error: Exception) -> str:
    """Return the type of an error and the first line of its message.

    >>> describe_error(RuntimeError("out of memory; all of it is in use"))
    'RuntimeError: out of memory; all of it is in use'
    """
    return f"{type(error).__name__}: {(str(error).strip() or '?').splitlines()[0]}"


def format_table(result: dict[str, Any], checks: dict[str, Any]) -> str:
    """Return the numbers of one workload as a table.

    Args:
        result: of ``measure``.
        checks: of ``check_meta_gradients``, for the kind of the workload.
    """
    ceiling = result["ceiling_gflops"]["median"]
    lines = [
        f"\n{result['name']}: {result['unit']} per second; {result['gflop_per_task']:.3g} GFLOP a task, "
        f"matrix product {ceiling:.0f} GFLOP/s",
        f"{'':32}{'median':>9}  {'[min - max]':20}{'x learn2learn':>13}{'peak MB':>9}{'ceiling':>9}{'sampling':>10}",
    ]
    for name, row in result["contenders"].items():
        speed, ratio, memory = row["per_second"], row["times_reference"], row["peak_memory_mb"]
        bounds = f"[{speed['min']:.4g} - {speed['max']:.4g}]"
        lines.append(
            f"{name:32}{speed['median']:9.4g}  {bounds:20}"
            + (f"{ratio['median']:13.2f}" if ratio else f"{'':13}")
            + (f"{memory:9.0f}" if memory is not None else f"{'':9}")
            + f"{row['of_ceiling']:9.1%}"
            + (f"{row['sampling_share']:10.1%}" if "sampling_share" in row else "")
            + (f"  compiler: {row['compiler_mb']:.0f} MB" if row.get("compiler_mb") else "")
            + ("  WRONG meta-gradient" if checks[name]["wrong"] else "")
        )
    errors = {name: check["error"] for name, check in checks.items() if "error" in check} | result["failed"]
    lines += [f"not measured: {name}, as it failed: {error}" for name, error in errors.items()]
    return "\n".join([*lines, ""])
