"""Images of a cohort as one uint8 array on disk: each decoded once, in parallel, written whole."""

import hashlib
import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from filelock import FileLock
from tqdm import tqdm

from medunlearn.cohort.cells import cut_short
from medunlearn.cohort.decode import RULE, Decoding, Pixels, decode_image, quiet
from medunlearn.cohort.listings import read_images
from medunlearn.disk import DiskFullError, written_whole
from medunlearn.errors import InputError

BLOCK = 256  # images that are decoded before the next: it bounds the memory


class PixelCache(NamedTuple):
    """Where the pixels lie, and the hash of their bytes and shape."""

    path: Path
    key: str


def build_pixels(images: Sequence[tuple[str, str]], folder: Path, how: Decoding) -> PixelCache:
    """Decodes images into an array, or finds them decoded.

    An image that is in another array of this folder, from a file of the same path, size and time,
    is taken from there.

    Args:
        images: File and name of each, in the order of the rows of the array; in an ``.npz`` the
            name tells the image, as ``train/0000017``.
        folder: Where the array is kept; made if it is not there.
        how: Size, channels and scale of the result.

    Returns:
        The cache; its array is uint8 of shape (images, channels, size, size).

    Raises:
        InputError: Images that cannot be decoded (all are tried), or the folder cannot be written.
        DiskFullError: No disk space; nothing is left.
    """
    stamps = {path: _stamp(path) for path in {path for path, _ in images}}
    marks = [_hash(stamps[path], name) for path, name in images]
    family = _hash(RULE, str(how))[:8]

    def produce() -> Generator[Pixels]:
        found, faults = _find_decoded(folder.glob(f"{family}-*.npy"), set(marks)), list[str]()
        missing = [image for image, mark in zip(images, marks, strict=True) if mark not in found]
        with closing(_decode(missing, how)) as decoded:
            for mark in tqdm(marks, "decode images", unit="image"):
                image = found[mark] if mark in found else next(decoded)
                if isinstance(image, str):
                    faults.append(image)
                elif not faults:
                    yield image
        if faults:
            raise InputError("images", cut_short(list(dict.fromkeys(faults)), "images"))

    path = folder / f"{family}-{_hash(*marks)[:24]}.npy"
    # closed here, whatever happens: the garbage collector would join its threads at any time and in
    # any thread, also in one that is just starting and holds what they need to end
    with closing(produce()) as pixels:
        return _store(path, (len(marks), how.channels, how.size, how.size), pixels, marks)


def store_pixels(pixels: Pixels, folder: Path) -> PixelCache:
    """Keeps generated images, (images, channels, size, size), as `build_pixels` keeps decoded ones.

    Raises:
        InputError: As `build_pixels`.
        DiskFullError: As `build_pixels`.
    """
    key = _key(pixels.shape, hashlib.sha256(np.ascontiguousarray(pixels).data))
    return _store(folder / f"{key}.npy", pixels.shape, iter(pixels))


def open_pixels(path: Path) -> np.memmap[tuple[int, ...], np.dtype[np.uint8]]:
    """Opens cached pixels read-only without reading them; a pickle is never loaded."""
    return np.lib.format.open_memmap(path, mode="r")


def read_key(path: Path) -> str | None:
    """The key of an array, if its bytes are those that were written: disks rot, copies break."""
    try:
        pixels = open_pixels(path)
        key = _key(pixels.shape, hashlib.sha256(pixels.data))
        return key if _notes(path)[0] == key else None
    except (OSError, ValueError):
        return None


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


def _decode(images: Sequence[tuple[str, str]], how: Decoding) -> Generator[Pixels | str]:
    """Images in order, or the faults that name them; a thread per core: Pillow frees the GIL."""
    source: Iterator[Any] = iter(path for path, _ in images)
    if how.kind == "arrays" and images:
        source = read_images(Path(images[0][0]), [name for _, name in images])
    with ThreadPoolExecutor(os.cpu_count()) as pool, quiet(dicom=how.kind == "dicom"):
        while block := list(islice(source, BLOCK)):
            yield from pool.map(partial(decode_image, how=how), block)


def _stamp(path: str) -> str:
    """Tells a file from what it was before."""
    stat = os.stat(path) if os.path.exists(path) else None  # noqa: PTH110, PTH116
    return f"{path}/{stat.st_size}/{stat.st_mtime_ns}" if stat else path


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
