"""Images of a cohort as one uint8 array on disk: each decoded once, in parallel, written whole."""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from numpy.typing import NDArray
from tqdm import tqdm

from medunlearn.cohort.cells import cut_short
from medunlearn.cohort.decode import RULE, Decoding, Pixels, decode_array, decode_file, quiet
from medunlearn.cohort.listings import read_images
from medunlearn.disk import DiskFullError, written_whole
from medunlearn.errors import InputError

BLOCK = 256  # images that are decoded before the next: it bounds the memory
Decoded = Iterator[Pixels | str]  # images in order, or the faults that name them


@dataclass(frozen=True)
class PixelCache:
    """Where the pixels lie, and the hash of their bytes and shape."""

    path: Path
    key: str


def build_pixels(paths: Sequence[str], folder: Path, how: Decoding) -> PixelCache:
    """Decodes images into an array, or finds them decoded.

    An image that is in another array of this folder, from a file of the same path, size and time,
    is taken from there.

    Args:
        paths: Image files, in the order of the rows of the array.
        folder: Where the array is kept; made if it is not there.
        how: Size, channels and scale of the result.

    Returns:
        The cache; its array is uint8 of shape (images, channels, size, size).

    Raises:
        InputError: Images that cannot be decoded (all are tried), or the folder cannot be written.
        DiskFullError: No disk space; nothing is left.
    """
    decode = partial(decode_file, how=how)
    marks = [_mark(path) for path in paths]
    return _build(marks, folder, how, lambda rows: _run(decode, (paths[row] for row in rows), how))


def build_arrays(path: Path, names: Sequence[str], folder: Path, how: Decoding) -> PixelCache:
    """Brings the images of a ``.npz``, as ``train/0000017``, into the form of `build_pixels`.

    Raises:
        InputError: As `build_pixels`.
        DiskFullError: As `build_pixels`.
    """
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
        InputError: As `build_pixels`.
        DiskFullError: As `build_pixels`.
    """
    key = _key(pixels.shape, hashlib.sha256(np.ascontiguousarray(pixels).data))
    return _store(folder / f"{key}.npy", pixels.shape, iter(pixels))


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

    def produce() -> Iterator[Pixels]:
        found, faults = _find_decoded(folder.glob(f"{family}-*.npy"), set(marks)), []
        decoded = decode([row for row, mark in enumerate(marks) if mark not in found])
        for mark in tqdm(marks, "decode images", unit="image"):
            image = found[mark] if mark in found else next(decoded)
            if isinstance(image, str):
                faults.append(image)
            elif not faults:
                yield image
        if faults:
            raise InputError("images", cut_short(faults, "images"))

    shape = (len(marks), how.channels, how.size, how.size)
    return _store(folder / f"{family}-{_hash(*marks)[:24]}.npy", shape, produce(), marks)


def _find_decoded(arrays: Iterable[Path], wanted: set[str]) -> dict[str, Pixels]:
    """The wanted images that are in arrays of before, by the marks of their files."""
    found: dict[str, Pixels] = {}
    for path in sorted(arrays):
        marks = _notes(path)[1:]
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
    path: Path, shape: tuple[int, ...], images: Iterator[Pixels], marks: Sequence[str] = ()
) -> PixelCache:
    """Keeps these images, which are only asked for unless they are there and sound."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.parent / ".lock"):  # two would decode the same images
            return PixelCache(path, read_key(path) or _write(path, shape, images, marks))
    except DiskFullError:
        raise
    except OSError as error:
        fault = f"pixels cannot be written: {error.strerror}; check the folder and its permissions"
        raise InputError(str(path.parent), [f"{fault}, or pass another RUNS"]) from None


def _write(
    path: Path, shape: tuple[int, ...], images: Iterator[Pixels], marks: Sequence[str]
) -> str:
    """Write images and the marks of their files; the key."""
    for killed in path.parent.glob("*.partial*"):
        killed.unlink()
    digest, kind = hashlib.sha256(), {"descr": "|u1", "fortran_order": False, "shape": shape}
    with written_whole(path) as unfinished:
        # Written as a stream: a full disk under a writable memory map would kill the process.
        with unfinished.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, kind)
            for pixels in images:
                content = np.ascontiguousarray(pixels).data
                digest.update(content)
                file.write(content)
        with written_whole(path.with_suffix(".files")) as notes:
            notes.write_text("\n".join([_key(shape, digest), *marks]))
    return _key(shape, digest)


def _notes(path: Path) -> list[str]:
    """The key of an array, and the marks of the files of its images; empty if there are none."""
    notes = path.with_suffix(".files")
    return notes.read_text(errors="replace").split("\n") if notes.is_file() else [""]


def _key(shape: tuple[int, ...], digest: "hashlib._Hash") -> str:
    return _hash("generated", str(shape), digest.hexdigest())


def _hash(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:32]
