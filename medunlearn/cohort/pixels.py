"""One uint8 array per cohort on disk: named by its content, written whole or not at all."""

import hashlib
import io
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray

from medunlearn.disk import FULL, written_whole
from medunlearn.errors import InputError
from medunlearn.sources import file_hash

Pixels = NDArray[np.uint8]
Produce = Callable[[int], Iterator[Pixels]]

SAVED_EVERY = 4096  # images, after which a stopped run need not be repeated


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
    return store(key, pixels.shape, lambda done: iter([pixels[done:]]), folder)


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


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Holds a folder for one run: two would write into one partial file.

    Raises:
        InputError: No disk space, or the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            yield
    except OSError as error:
        full = error.errno in FULL
        remedy = "free some space" if full else "check the folder and its permissions"
        fault = f"pixels cannot be written: {error.strerror}; {remedy}, or pass another RUNS"
        raise InputError(str(folder), [fault]) from None


def store(key: str, shape: tuple[int, ...], produce: Produce, folder: Path) -> PixelCache:
    """Keeps what `produce` yields, unless an array of this key and shape is there already.

    A run that is stopped leaves what it has written; the same call goes on from there.

    Args:
        key: Decides the content.
        shape: (images, channels, size, size).
        produce: Yields whole images in order, beginning with the image of this number.
        folder: Where the array is kept.
    """
    path = folder / f"{key}.npy"
    if not (is_whole(path, shape) and is_sound(path)):
        with locked(folder):
            if not (is_whole(path, shape) and is_sound(path)):
                for killed in [*folder.glob("*.partial"), *folder.glob("*.saved")]:
                    if killed.stem != key:
                        killed.unlink()
                _write(path, shape, produce)
    return PixelCache(path, key)


def is_whole(path: Path, shape: tuple[int, ...]) -> bool:
    """Whether a complete array of this shape is there."""
    try:
        pixels = open_pixels(path)
    except InputError:
        return False
    return pixels.shape == shape and path.stat().st_size == pixels.offset + pixels.nbytes


def is_sound(path: Path) -> bool:
    """Whether pixels are still the ones that were written: disks rot, and copies break off."""
    try:
        return checksum_file(path).read_text() == file_hash(path)
    except (OSError, ValueError):
        return False


def checksum_file(path: Path) -> Path:
    """Where the checksum of pixels lies: beside them, for studies share them."""
    return path.with_suffix(".sha256")


def _write(path: Path, shape: tuple[int, ...], produce: Produce) -> None:
    """Write the images that are still missing, then give the file its name."""
    unfinished, saved = path.with_suffix(".partial"), path.with_suffix(".saved")
    done = _count_saved(unfinished, saved, shape)
    image = math.prod(shape[1:])
    needed, free = (shape[0] - done) * image, shutil.disk_usage(path.parent).free
    if needed > free:
        fault = f"pixels need {needed / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free"
        remedy = "free some space, pass another RUNS, or choose a smaller image size"
        raise InputError(str(path.parent), [f"{fault}; {remedy}"])
    try:
        # Written as a stream: a full disk under a writable memory map would kill the process.
        with unfinished.open("r+b" if done else "wb") as file:
            if done:
                file.truncate(_offset(shape) + done * image)
                file.seek(0, os.SEEK_END)
            else:
                file.write(_header(shape))
            since = 0
            for pixels in produce(done):
                file.write(np.ascontiguousarray(pixels).data)
                done, since = done + pixels.size // image, since + pixels.size // image
                if since >= SAVED_EVERY:
                    _save(file, saved, done)
                    since = 0
            file.flush()
            os.fsync(file.fileno())
        with written_whole(checksum_file(path)) as partial:
            partial.write_text(file_hash(unfinished))
        unfinished.replace(path)
        saved.unlink(missing_ok=True)
    except (InputError, OSError):
        unfinished.unlink(missing_ok=True)
        saved.unlink(missing_ok=True)
        raise


def _save(file: IO[bytes], saved: Path, done: int) -> None:
    """Note how many images are surely on disk: after a power cut a file may be longer than that."""
    file.flush()
    os.fsync(file.fileno())
    saved.write_text(str(done))


def _count_saved(unfinished: Path, saved: Path, shape: tuple[int, ...]) -> int:
    """Images that an earlier run has surely written."""
    try:
        done, size = int(saved.read_text()), unfinished.stat().st_size
        whole = size >= _offset(shape) + done * math.prod(shape[1:])
        with unfinished.open("rb") as file:
            same = file.read(_offset(shape)) == _header(shape)
    except (OSError, ValueError):
        return 0
    return done if whole and same and 0 < done <= shape[0] else 0


def _header(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


def _offset(shape: tuple[int, ...]) -> int:
    return len(_header(shape))
