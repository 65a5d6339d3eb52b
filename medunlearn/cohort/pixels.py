"""One uint8 array per cohort on disk: named by its content, written whole or not at all."""

import errno
import hashlib
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from medunlearn.errors import InputError

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class PixelCache:
    """Where the pixels lie, and the hash of all that decides them."""

    path: Path
    key: str


def store_pixels(pixels: Pixels, folder: Path) -> PixelCache:
    """Keeps generated images as `build_pixels` keeps decoded ones.

    Args:
        pixels: uint8 of shape (images, channels, size, size).
        folder: Where the array is kept; made if it is not there.

    Raises:
        InputError: No disk space, or the folder cannot be written.
    """
    if pixels.dtype != np.uint8 or pixels.ndim != 4:
        raise ValueError(
            f"given {pixels.dtype} of shape {pixels.shape}; expected uint8 (n, c, h, w)"
        )
    content = hashlib.sha256(np.ascontiguousarray(pixels).data).hexdigest()
    key = hash_parts(["generated", str(pixels.shape), content])
    return store(key, pixels.shape, lambda: iter([pixels]), folder)


def open_pixels(path: Path) -> np.memmap[tuple[int, ...], np.dtype[np.uint8]]:
    """Opens cached pixels read-only without reading them.

    Raises:
        InputError: The file is missing, cut off, or no array of uint8 (a pickle is never loaded).
    """
    try:
        pixels = np.lib.format.open_memmap(path, mode="r")
        if pixels.dtype == np.uint8 and pixels.ndim == 4:
            return pixels
        fault = f"holds {pixels.dtype} of shape {pixels.shape}, expected uint8 (n, c, h, w)"
    except (OSError, ValueError) as error:
        fault = f"cannot be opened as pixels: {error}"
    raise InputError(str(path), [f"{fault}; delete the file and run again to rebuild it"])


def hash_parts(parts: Sequence[str]) -> str:
    """Key of an array made of these parts."""
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]


def store(
    key: str, shape: tuple[int, ...], produce: Callable[[], Iterator[Pixels]], folder: Path
) -> PixelCache:
    """Keeps what `produce` yields, unless an array of this key and shape is there already."""
    path = folder / f"{key}.npy"
    if _is_whole(path, shape):
        return PixelCache(path, key)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):  # two runs would write into one partial file
            if not _is_whole(path, shape):
                for killed in folder.glob("*.partial"):
                    killed.unlink()
                _write(path, shape, produce)
    except OSError as error:
        full = error.errno in {errno.ENOSPC, errno.EDQUOT}
        remedy = "free some space" if full else "check the folder and its permissions"
        fault = f"pixels cannot be written: {error.strerror}; {remedy}, or pass another RUNS"
        raise InputError(str(folder), [fault]) from None
    return PixelCache(path, key)


def _is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    try:
        pixels = open_pixels(path)
    except InputError:
        return False
    return pixels.shape == shape and path.stat().st_size == pixels.offset + pixels.nbytes


def _write(path: Path, shape: tuple[int, ...], produce: Callable[[], Iterator[Pixels]]) -> None:
    needed, free = math.prod(shape), shutil.disk_usage(path.parent).free
    if needed > free:
        fault = f"pixels need {needed / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free"
        remedy = "free some space, pass another RUNS, or choose a smaller image size"
        raise InputError(str(path.parent), [f"{fault}; {remedy}"])
    unfinished = path.with_suffix(".partial")
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    try:
        # Written as a stream: a full disk under a writable memory map would kill the process.
        with unfinished.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, header)
            for pixels in produce():
                file.write(np.ascontiguousarray(pixels).data)
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
