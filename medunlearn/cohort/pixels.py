"""One uint8 array per cohort on disk: written whole or not at all, and goes on when stopped."""

import hashlib
import io
import math
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from filelock import FileLock

from medunlearn.cohort.decode import Pixels
from medunlearn.disk import FULL, written_whole
from medunlearn.errors import InputError

BLOCK = 256  # images that are decoded, and surely on disk, before the next: it bounds the memory


@dataclass(frozen=True)
class PixelCache:
    """Where the pixels lie, and the hash of their bytes and shape."""

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
    digest = hashlib.sha256(np.ascontiguousarray(pixels).data)
    return store(
        folder / f"{_key(pixels.shape, digest)}.npy", pixels.shape, lambda done: iter(pixels[done:])
    )


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


def store(
    path: Path,
    shape: tuple[int, ...],
    produce: Callable[[int], Iterator[Pixels]],
    marks: Sequence[str] = (),
) -> PixelCache:
    """Keeps the images that `produce` yields from one on, unless they are there and sound."""
    with _locked(path.parent):
        key = read_key(path)
        if key is None:
            for killed in path.parent.glob("*.partial"):
                if killed.stem != path.stem:
                    killed.unlink()
            key = _write(path, shape, produce)
        if marks and not path.with_suffix(".files").is_file():
            with written_whole(path.with_suffix(".files")) as partial:
                partial.write_text("\n".join(marks))
    return PixelCache(path, key)


def is_sound(path: Path) -> bool:
    """Whether pixels are still the ones that were written: disks rot, and copies break off."""
    return read_key(path) is not None


def hash_parts(*parts: str) -> str:
    """A short hash of texts."""
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]


def _write(path: Path, shape: tuple[int, ...], produce: Callable[[int], Iterator[Pixels]]) -> str:
    """Write the images that are still missing, then give the file its name; its key."""
    partial, header, digest = path.with_suffix(".partial"), _header(shape), hashlib.sha256()
    image = math.prod(shape[1:])
    done = _count_done(partial, len(header), image)
    needed, free = (shape[0] - done) * image, shutil.disk_usage(path.parent).free
    if needed > free:
        fault = f"pixels need {needed / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free"
        remedy = "free some space, pass another RUNS, or choose a smaller image size"
        raise InputError(str(path.parent), [f"{fault}; {remedy}"])
    try:
        # Written as a stream: a full disk under a writable memory map would kill the process.
        with partial.open("r+b" if done else "w+b") as file:
            file.write(header)
            file.truncate(len(header) + done * image)
            while written := file.read(2**20):
                digest.update(written)
            for number, pixels in enumerate(produce(done), start=done + 1):
                content = np.ascontiguousarray(pixels).data
                digest.update(content)
                file.write(content)
                if number % BLOCK == 0 or number == shape[0]:
                    file.flush()
                    os.fsync(file.fileno())
        with written_whole(path.with_suffix(".hash")) as hashed:
            hashed.write_text(_key(shape, digest))
        partial.replace(path)
    except (InputError, OSError):
        partial.unlink(missing_ok=True)
        raise
    return _key(shape, digest)


def _count_done(partial: Path, header: int, image: int) -> int:
    """Images of a run that was stopped that are surely on disk: all but its last block."""
    size = partial.stat().st_size - header if partial.is_file() else 0
    return max(0, math.ceil(size / (BLOCK * image)) - 1) * BLOCK


def read_key(path: Path) -> str | None:
    """The key of an array, if its bytes are still those that were written."""
    try:
        pixels, key = open_pixels(path), path.with_suffix(".hash").read_text()
        return key if key == _key(pixels.shape, hashlib.sha256(pixels.data)) else None
    except (OSError, ValueError):
        return None


def _key(shape: tuple[int, ...], digest: "hashlib._Hash") -> str:
    return hash_parts("generated", str(shape), digest.hexdigest())


def _header(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    return file.getvalue()


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds a folder for one run: two would write into one partial file."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            yield
    except OSError as error:
        full = error.errno in FULL
        remedy = "free some space" if full else "check the folder and its permissions"
        fault = f"pixels cannot be written: {error.strerror}; {remedy}, or pass another RUNS"
        raise InputError(str(folder), [fault]) from None
