"""Small records beside results: written whole, and read with care, for disks fill and files rot."""

import json
import socket
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from medunlearn.disk import written_whole

_FAILED = ".failed-{}.json"


def read_record(path: Path) -> dict[str, Any] | None:
    """A record; none if it is not there, or is no whole record."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write_record(path: Path, content: Mapping[str, Any]) -> None:
    """Write a record whole, by one rename.

    Raises:
        DiskFullError: What was there before stays.
    """
    with written_whole(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")


def now() -> str:
    """For people: nothing is decided by it, for wall clocks jump."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


def note_failure(folder: Path, key: str, title: str, fault: Exception, seconds: float) -> None:
    """Note beside the models why one could not be made; a full disk may keep it from being noted.

    Args:
        folder: Of the models.
        key: Of the model.
        title: Of the model; failures of its older forms are forgotten.
        fault: What was raised.
        seconds: Until then.
    """
    forget_failures(folder, key, title)
    note = {
        "key": key,
        "title": title,
        "error": f"{type(fault).__name__}: {fault}",
        "host": socket.gethostname(),
        "seconds": round(seconds, 3),
        "when": now(),
    }
    with suppress(OSError):
        write_record(folder / _FAILED.format(key), note)


def forget_failures(folder: Path, key: str, title: str) -> None:
    """Take away the notes on a model, also in its older forms."""
    for noted, note in read_failures(folder).items():
        if noted == key or note["title"] == title:
            (folder / _FAILED.format(noted)).unlink(missing_ok=True)


def read_failures(folder: Path) -> dict[str, dict[str, Any]]:
    """The notes on models that could not be made, by key; one that cannot be read is none."""
    needed = {"key", "title", "error", "host", "seconds", "when"}
    notes = [read_record(path) for path in folder.glob(_FAILED.format("*"))]
    return {note["key"]: note for note in notes if note and needed <= set(note)}
