"""Images of a cohort as one uint8 array on disk: each decoded once, in parallel, written whole."""

import hashlib
import io
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from tqdm import tqdm

from medunlearn.cohort.cells import cut_short
from medunlearn.cohort.decode import RULE, Decoding, Pixels, decode_array, decode_file, quiet
from medunlearn.cohort.npz import read_images
from medunlearn.disk import FULL, written_whole
from medunlearn.errors import InputError

BLOCK = 256  # images that are decoded, and surely on disk, before the next: it bounds the memory
SHOWN = 20
Decoded = Iterator[Pixels | str]  # images in order, or the faults that name them


@dataclass(frozen=True)
class PixelCache:
    """Where the pixels lie, and the hash of their bytes and shape."""

    path: Path
    key: str


def build_pixels(paths: Sequence[str], folder: Path, how: Decoding) -> PixelCache:
    """Decodes images into an array, or finds them decoded.

    An image that is in another array of this folder, from a file of the same path, size and time,
    is taken from there. A run that is stopped goes on where it was.

    Args:
        paths: Image files, in the order of the rows of the array.
        folder: Where the array is kept; made if it is not there.
        how: Size, channels and scale of the result.

    Returns:
        The cache; its array is uint8 of shape (images, channels, size, size).

    Raises:
        InputError: Images that cannot be decoded (all are tried), or no disk space.
    """
    marks = [_mark(path) for path in paths]

    def decode(row: int) -> Pixels | str:
        image = decode_file(paths[row], how)
        same = isinstance(image, str) or _mark(paths[row]) == marks[row]
        return image if same else f"{paths[row]}: it changed while it was read; run again"

    return _build(marks, folder, how, lambda rows: _run(decode, rows, how))


def build_arrays(path: Path, names: Sequence[str], folder: Path, how: Decoding) -> PixelCache:
    """Brings the images of a ``.npz``, as ``train/0000017``, into the form of `build_pixels`.

    Raises:
        InputError: As `build_pixels`.
    """
    # The file is read once from front to end; rows in another order are taken from that array.
    if list(names) != sorted(names):
        build_arrays(path, sorted(names), folder, how)
    whole = _mark(path)

    def decode(image: NDArray[np.generic]) -> Pixels | str:
        try:
            return decode_array(image, how)
        except ValueError as error:
            return f"{path.name}: {error}"

    def decode_all(rows: list[int]) -> Decoded:
        return _run(decode, read_images(path, [names[row] for row in rows]), how)

    return _build([_hash(whole, name) for name in names], folder, how, decode_all)


def store_pixels(pixels: Pixels, folder: Path) -> PixelCache:
    """Keeps generated images, (images, channels, size, size), as `build_pixels` keeps decoded ones.

    Raises:
        InputError: No disk space, or the folder cannot be written.
    """
    key = _key(pixels.shape, hashlib.sha256(np.ascontiguousarray(pixels).data))
    return _store(folder / f"{key}.npy", pixels.shape, lambda done: iter(pixels[done:]))


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


def read_key(path: Path) -> str | None:
    """The key of an array, if its bytes are those that were written: disks rot, copies break."""
    try:
        pixels = open_pixels(path)
        key = _key(pixels.shape, hashlib.sha256(pixels.data))
        return key if _notes(path)[0] == key else None
    except (OSError, ValueError):
        return None


def _build(
    marks: Sequence[str], folder: Path, how: Decoding, decode: Callable[[list[int]], Decoded]
) -> PixelCache:
    """The array of the images with these marks; `decode` gives those of the rows asked for."""
    if not marks:
        raise InputError("images", ["no image is given; expected at least one"])
    family = _hash(RULE, str(how))[:8]

    def produce(done: int) -> Iterator[Pixels]:
        found, faults = _find_decoded(folder.glob(f"{family}-*.npy"), set(marks[done:])), []
        decoded = decode([row for row in range(done, len(marks)) if marks[row] not in found])
        bar = tqdm(marks, "decode images", initial=done, unit="image")
        for mark in islice(bar, done, None):
            image = found[mark] if mark in found else next(decoded)
            if isinstance(image, str):
                faults.append(image)
            elif not faults:
                yield image
        if faults:
            raise InputError("images", cut_short(faults, "images", SHOWN))

    shape = (len(marks), how.channels, how.size, how.size)
    return _store(folder / f"{family}-{_hash(*marks)[:24]}.npy", shape, produce, marks)


def _find_decoded(arrays: Iterable[Path], wanted: set[str]) -> dict[str, Pixels]:
    """The wanted images that are in arrays of before, by the marks of their files."""
    found: dict[str, Pixels] = {}
    for path in sorted(arrays):
        marks = _notes(path)[1:] if path.with_suffix(".files").is_file() else []
        whole = path.stem.endswith(_hash(*marks)[:24])
        if whole and not wanted.isdisjoint(marks) and read_key(path):
            images = zip(marks, np.asarray(open_pixels(path)), strict=True)
            found |= {mark: image for mark, image in images if mark in wanted}
    return found


def _run(function: Callable[..., Pixels | str], given: Iterable[Any], how: Decoding) -> Decoded:
    """Results in order, from one thread per core: Pillow releases the GIL."""
    source = iter(given)
    with ThreadPoolExecutor(os.cpu_count()) as pool, quiet(dicom=how.dicom):
        while block := list(islice(source, BLOCK)):
            yield from pool.map(function, block)


def _mark(path: str | Path) -> str:
    """Tells a file from what it was before, without telling its name."""
    try:
        stat = Path(path).stat()
    except OSError:
        return _hash(str(path))
    return _hash(str(path), str(stat.st_size), str(stat.st_mtime_ns))


def _store(
    path: Path,
    shape: tuple[int, ...],
    produce: Callable[[int], Iterator[Pixels]],
    marks: Sequence[str] = (),
) -> PixelCache:
    """Keeps the images that `produce` yields from one on, unless they are there and sound."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.parent / ".lock"):  # two would write into one partial file
            return PixelCache(path, read_key(path) or _write(path, shape, produce, marks))
    except OSError as error:
        full = error.errno in FULL
        remedy = "free some space" if full else "check the folder and its permissions"
        fault = f"pixels cannot be written: {error.strerror}; {remedy}, or pass another RUNS"
        raise InputError(str(path.parent), [fault]) from None


def _write(
    path: Path,
    shape: tuple[int, ...],
    produce: Callable[[int], Iterator[Pixels]],
    marks: Sequence[str],
) -> str:
    """Write the images that are still missing, then give the file its name; its key."""
    partial, header, digest = path.with_suffix(".partial"), io.BytesIO(), hashlib.sha256()
    for killed in {*path.parent.glob("*.partial")} - {partial}:
        killed.unlink()
    kind = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, kind)
    start, image = header.tell(), math.prod(shape[1:])
    size = partial.stat().st_size - start if partial.is_file() else 0
    done = max(0, math.ceil(size / (BLOCK * image)) - 1) * BLOCK  # all but the last block
    needed, free = (shape[0] - done) * image, shutil.disk_usage(path.parent).free
    if needed > free:
        fault = f"pixels need {needed / 1e6:,.1f} MB, {free / 1e6:,.1f} MB are free"
        remedy = "free some space, pass another RUNS, or choose a smaller image size"
        raise InputError(str(path.parent), [f"{fault}; {remedy}"])
    try:
        # Written as a stream: a full disk under a writable memory map would kill the process.
        with partial.open("r+b" if done else "w+b") as file:
            file.write(header.getvalue())
            file.truncate(start + done * image)
            while written := file.read(2**20):
                digest.update(written)
            for number, pixels in enumerate(produce(done), start=done + 1):
                content = np.ascontiguousarray(pixels).data
                digest.update(content)
                file.write(content)
                if number % BLOCK == 0 or number == shape[0]:
                    file.flush()
                    os.fsync(file.fileno())
        with written_whole(path.with_suffix(".files")) as notes:
            notes.write_text("\n".join([_key(shape, digest), *marks]))
        partial.replace(path)
    except (InputError, OSError):
        partial.unlink(missing_ok=True)
        raise
    return _key(shape, digest)


def _notes(path: Path) -> list[str]:
    """The key of an array, and the marks of the files of its images."""
    return path.with_suffix(".files").read_text(errors="replace").split("\n")


def _key(shape: tuple[int, ...], digest: "hashlib._Hash") -> str:
    return _hash("generated", str(shape), digest.hexdigest())


def _hash(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]
