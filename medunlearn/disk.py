"""Files that appear whole or not at all, and a full disk told as what it is."""

import errno
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""The system's numbers for a disk, a quota or a file that takes no more."""


class DiskFullError(OSError):
    """Nothing more can be written; the message names the disk and the remedy."""


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Write a file that gets its name by one rename, at the end, or never.

    Args:
        path: Its name; its folder is there. What has this name stays until then.

    Yields:
        Where to write, with the same suffix; another one each time.

    Raises:
        DiskFullError: The disk is full.
    """
    partial = path.with_name(f".{path.stem}-{os.getpid()}-{uuid4().hex[:8]}.partial{path.suffix}")
    try:
        with told_when_full(path.parent):
            yield partial
            partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def told_when_full(folder: Path) -> Iterator[None]:
    """Name the disk and the remedy where writing to a folder fails for want of space.

    Raises:
        DiskFullError: In place of whatever was raised for this reason; other errors pass.
    """
    try:
        yield
    except DiskFullError:
        raise
    except Exception as error:
        # libraries in other languages pass on the words alone
        found = re.search(r"(?:\[errno|\(os error) (\d+)[])]", str(error), re.IGNORECASE)
        number = int(found[1]) if found else 0
        if number not in FULL:
            raise
        told = f"{os.strerror(number)}: the disk of {folder} takes no more; free some space, or "
        told += "give another folder with RUNS=..., and run again: what is finished is kept"
        raise DiskFullError(number, told) from error


def write_record(path: Path, content: object) -> None:
    """Write JSON whole, by one rename.

    Raises:
        DiskFullError: What was there before stays.
    """
    with written_whole(path) as partial:
        partial.write_text(json.dumps(content, indent=1) + "\n")


def read_record(path: Path) -> dict[str, Any] | None:
    """A record; none if it is not there, or is no whole record: disks fill and files rot."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def now() -> str:
    """The time for people: nothing is decided by it, for wall clocks jump."""
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
