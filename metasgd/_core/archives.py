"""A file of tensors and plain values: replaced in one step, checked by a SHA-256, read without executing any code."""

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

CHECKPOINT = "checkpoint.pt"  # in the folder of a run
DIGEST = re.compile(rb"\nsha256 ([0-9a-f]{64})\n")  # the last bytes of a file
DIGEST_LENGTH = 73

torch.serialization.add_safe_globals([set])  # newer versions than PyTorch 2.4 read sets anyway


class _DigestingFile:
    """A file that is written to, with the SHA-256 of what was written."""

    def __init__(self, file: Any) -> None:
        self.file, self.digest = file, hashlib.sha256()

    def write(self, data: Any) -> int:
        self.digest.update(data)
        written: int = self.file.write(data)
        return written

    def flush(self) -> None:
        self.file.flush()


def write_archive(file: Path, content: Mapping[str, Any], kind: str) -> None:
    """Replace a file in one atomic step: a program that is killed leaves the old or the new one.

    Args:
        file: where to write. Its last bytes are the SHA-256 of all others.
        content: what ``storable`` returns.
        kind: what the file is called in an error.

    Raises:
        OSError: the file cannot be written, e.g. as the disk is full. What was there before is kept.
    """
    partial = file.with_name(file.name + ".partial")
    try:
        with open(partial, "wb") as raw:
            digesting: Any = _DigestingFile(raw)  # PyTorch writes to anything that has such methods
            torch.save(dict(content), digesting)
            raw.write(f"\nsha256 {digesting.digest.hexdigest()}\n".encode())
            raw.flush()
            os.fsync(raw.fileno())
        os.replace(partial, file)
    except (OSError, RuntimeError) as error:  # PyTorch turns an error of the file into a RuntimeError
        partial.unlink(missing_ok=True)
        cause: BaseException | None = error
        while cause is not None and not isinstance(cause, OSError):
            cause = cause.__cause__ or cause.__context__
        reason = (cause.strerror if isinstance(cause, OSError) else None) or str(error).split("\n")[0]
        kept = f"; the {kind} that was there is kept" if file.exists() else ""
        remedy = "make room there" if file.parent.is_dir() else f"make the folder {file.parent}"
        raise OSError(f"cannot write {file} ({reason}){kept}; {remedy}, or choose another folder") from error


def read_archive(file: Path, kind: str) -> tuple[dict[str, Any], bool]:
    """Read a file of ``write_archive``, or one of ``torch.save`` without a digest; no code in it is executed.

    Args:
        file: an existing file.
        kind: what it is called in an error.

    Returns:
        what is in it, with tensors on the CPU, and whether the file has a digest.

    Raises:
        ValueError: it is damaged, truncated, of another kind, or would execute code.
    """
    data = file.read_bytes()
    digest = DIGEST.fullmatch(data[-DIGEST_LENGTH:])
    body = data[:-DIGEST_LENGTH] if digest else data
    if digest and hashlib.sha256(body).hexdigest() != digest[1].decode():
        raise ValueError(f"{file} is damaged: its bytes are not those of its SHA-256; train again, or use a copy")
    if not digest and not is_whole_archive(body):
        raise ValueError(f"{file} is damaged, truncated or not a {kind}; train again, or use a copy")
    try:
        content = torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
        return {str(name): value for name, value in content.items()}, digest is not None
    except Exception as error:  # of any kind, as the bytes may be anything
        raise ValueError(
            f"{file} is whole, but not a {kind} that can be read without executing code "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__}); train again, or use another file"
        ) from error


def is_whole_archive(data: bytes) -> bool:
    """Tell whether the bytes are a zip archive whose entries have the checksums that it states."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return archive.testzip() is None
    except Exception:  # of any kind, as the bytes may be anything
        return False


def storable(value: Any, name: str, _inside: tuple[int, ...] = ()) -> Any:
    """Return a value as a checkpoint can store it: a tensor, number, text or None, or a list, tuple or dict of these.

    A number of NumPy becomes one of Python, and a path a text.

    Args:
        value: what is to be stored.
        name: what to call it in an error.

    Raises:
        ValueError: a value of another kind, which could not be read back without executing code; a list or dict that
            contains itself; a key that is a tensor or NaN, which would not be found again.
    """
    if value is None or isinstance(value, bool | torch.Size | torch.dtype | torch.device):
        return value
    if isinstance(value, torch.Tensor):
        return value.detach()
    if isinstance(value, np.generic):
        return storable(value.item(), name)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    kinds: tuple[Any, ...] = (int, float, complex, bytes)
    for kind in kinds:
        if isinstance(value, kind):
            return kind(value)
    if isinstance(value, str):
        return str.__str__(value)
    if id(value) in _inside:
        raise ValueError(f"{name} contains itself, which a checkpoint cannot store; give a copy of what is meant")
    inside = (*_inside, id(value))
    if isinstance(value, Mapping):
        for key in value:
            if isinstance(key, torch.Tensor) or key != key:
                raise ValueError(
                    f"{name} has the key {key!r}, which would not be found again; give a text or a number"
                )
        return {
            storable(key, name, inside): storable(entry, f"{name}[{key!r}]", inside) for key, entry in value.items()
        }
    if isinstance(value, set | frozenset):
        return {storable(entry, name, inside) for entry in value}
    if isinstance(value, list | tuple):
        items = [storable(entry, f"{name}[{number}]", inside) for number, entry in enumerate(value)]
        return tuple(items) if isinstance(value, tuple) else items
    raise ValueError(
        f"{name} is of type {type(value).__module__}.{type(value).__qualname__}, which a checkpoint cannot store; "
        "give numbers, texts, None, tensors, or lists and dicts of them"
    )
