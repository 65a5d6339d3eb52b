"""Folders of models: held by a lock while they are written, sealed by a signed record, verified."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from filelock import FileLock

from medunlearn.sources import canonical_hash, file_hash

RECORD, LOCK = "record.json", ".lock"


@contextmanager
def hold(parent: Path, key: str, naming: FileLock) -> Iterator[Path]:
    """A new folder, gone at the end unless it got another name; until then its lock is held.

    Args:
        parent: Where it lies, as ``.partial-<key>-...``.
        key: Of the model.
        naming: Held while the folder is made, so that nobody sees one that is not held yet.
    """
    folder = parent / f".partial-{key}-{uuid4().hex}"
    lock = FileLock(folder / LOCK)
    try:
        with naming:
            folder.mkdir()
            lock.acquire()
        yield folder
    finally:
        lock.release()  # first: a network's file system keeps what is open
        shutil.rmtree(folder, ignore_errors=True)


def is_held(folder: Path) -> bool:
    """Whether a folder is being written; false if its writer was killed."""
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except OSError:  # held, or another user's, or it has just got its name
        return True
    lock.release()
    return False


def partials(parent: Path) -> dict[Path, str]:
    """Folders that have no name yet, and the keys of their models."""
    return {path: path.name.split("-")[1] for path in parent.glob(".partial-*-*")}


def give_name(folder: Path, path: Path) -> None:
    """Let a held folder appear under its own name, by one rename; it fails if one is there."""
    folder.rename(path)
    (path / LOCK).unlink()


def sweep(parent: Path) -> None:
    """Remove what killed processes have left: what nobody holds, and what was on its way out."""
    for path in [*(p for p in partials(parent) if not is_held(p)), *parent.glob(".old-*")]:
        shutil.rmtree(path, ignore_errors=True)


def remove(folder: Path) -> None:
    """Take a folder away at once, whatever the removal then takes; it may be gone already."""
    trash = folder.with_name(f".old-{folder.name}-{uuid4().hex}")
    try:
        folder.rename(trash)
    except FileNotFoundError:
        return
    shutil.rmtree(trash, ignore_errors=True)


def seal(folder: Path, content: Mapping[str, Any]) -> None:
    """Write the record of a folder: its content, and hash and stamp of every file; signed."""
    files = sorted(path for path in folder.iterdir() if path.name != LOCK)
    record = {
        **content,
        "files": {path.name: file_hash(path) for path in files},
        "stamps": {path.name: _settle(path) for path in files},
    }
    signed = {**record, "sha256": canonical_hash(record)}
    (folder / RECORD).write_text(json.dumps(signed, indent=1) + "\n")


def read_sealed(folder: Path) -> dict[str, Any] | None:
    """The record of a folder whose files are all as they were written, by stamp or hash.

    A copy has other times, so its files are hashed. Bytes that rot keep the time: who reads a file
    has to hash it.
    """
    try:
        record: dict[str, Any] = json.loads((folder / RECORD).read_text())
        signed = record.pop("sha256") == canonical_hash(record) and record["key"] == folder.name
        sound = signed and all(
            _stamp(folder / name) == record["stamps"][name] or file_hash(folder / name) == sha
            for name, sha in record["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return record if sound else None


def _settle(path: Path) -> list[int]:
    """Set a file's time to a whole second, and stamp it: a later writer leaves a fraction."""
    second = int(path.stat().st_mtime)
    os.utime(path, (second, second))
    return _stamp(path)


def _stamp(path: Path) -> list[int]:
    """Size and time of the last change."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]
