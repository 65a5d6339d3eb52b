"""A full disk, told as what it is, whichever library met it."""

import errno
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def told_when_full(folder: Path) -> Iterator[None]:
    """Name the disk and the remedy where writing to a folder fails for want of space.

    Raises:
        OSError: In place of whatever was raised because the disk is full; other errors pass.
    """
    try:
        yield
    except Exception as error:
        number = _full(error)
        if number is None:
            raise
        raise OSError(number, describe_full_disk(number, folder)) from error


def describe_full_disk(number: int, folder: Path) -> str:
    """One line: what is full, how much is free, what to do.

    Args:
        number: One of ``FULL``.
        folder: Where something was to be written.
    """
    try:
        free = f" ({shutil.disk_usage(folder).free / 1e6:,.0f} MB free)"
    except OSError:
        free = ""
    return (
        f"{os.strerror(number)}: the disk of {folder}{free} takes no more; free some space, or "
        "give another folder with RUNS=..., and run again: what is finished is kept"
    )


def _full(error: BaseException | None) -> int | None:
    """The number of the system's error, if it is one of a full disk."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in FULL:
            return error.errno
        # libraries that are not written in Python give the system's words alone
        for number in FULL:
            if f"os error {number})" in str(error) or f"errno {number}]" in str(error).lower():
                return number
        error = error.__cause__ or error.__context__
    return None
