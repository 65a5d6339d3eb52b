"""Images of a cohort decoded to squares of 8 bits, once: in parallel, and resumed when stopped."""

import hashlib
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image
from tqdm import tqdm

from medunlearn.cohort.arrays import read_images
from medunlearn.cohort.decode import Decoding, decode_array, decode_file, resize
from medunlearn.cohort.pixels import (
    PixelCache,
    Pixels,
    hash_parts,
    locked,
    open_pixels,
    store,
    store_pixels,
)
from medunlearn.errors import InputError

__all__ = ["PixelCache", "build_arrays", "build_pixels", "open_pixels", "shrink", "store_pixels"]

BLOCK = 256  # images decoded before they are written, which bounds the memory
SHOWN = 20

Given = TypeVar("Given")
Result = TypeVar("Result")


def build_pixels(
    paths: Sequence[str], folder: Path, how: Decoding, *, progress: bool = True
) -> PixelCache:
    """Decodes images into ``<folder>/<key>.npy``, or finds them there from an earlier time.

    The whole image is shrunk to a square by a triangle filter as wide as the shrinkage
    (antialiased); nothing is cropped, so proportions change where an image is no square. Alpha is
    ignored, and of several frames the first is taken. A run that is stopped goes on where it was.

    Args:
        paths: Image files, in the order of the rows of the array.
        folder: Where the array is kept; made if it is not there.
        how: Size, channels and scale of the result.
        progress: Whether bars are shown on stderr.

    Returns:
        The cache; its array is uint8 of shape (images, channels, size, size).

    Raises:
        InputError: Images that cannot be decoded (all of them are tried), or no disk space. Nothing
            half-written is left.
    """
    if not paths:
        raise InputError("images", ["no image is given; expected at least one"])
    journal = folder / f"{hash_parts([_stamp(path) for path in paths])}.hashes"
    try:
        digests = _hash_files(paths, journal, progress)
        shape = (len(paths), how.channels, how.size, how.size)
        jobs = list(zip(paths, digests, strict=True))

        def decode_from(done: int) -> Iterator[Pixels]:
            decode = partial(decode_file, how=how)
            return _whole(_run(decode, jobs[done:], len(jobs), "decode images", progress))

        cache = store(hash_parts([how.key, str(shape), *digests]), shape, decode_from, folder)
    except InputError:
        with suppress(OSError):
            journal.unlink()
        raise
    journal.unlink(missing_ok=True)
    return cache


def build_arrays(
    path: Path, names: Sequence[str], folder: Path, how: Decoding, *, progress: bool = True
) -> PixelCache:
    """Brings the images of a ``.npz`` into the same form, as `build_pixels` does files.

    Args:
        path: The file.
        names: Images in order, as ``train/0000017``, sorted.
        folder: Where the array is kept.
        how: Size, channels and scale of the result.
        progress: Whether a bar is shown on stderr.

    Raises:
        InputError: As `build_pixels`.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    shape = (len(names), how.channels, how.size, how.size)

    def decode(image: np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> Pixels | str:
        try:
            return decode_array(image, how)
        except ValueError as error:
            return f"{path.name}: {error}"

    def decode_from(done: int) -> Iterator[Pixels]:
        images = read_images(path, names[done:])
        return _whole(_run(decode, images, len(names), "read images", progress, done))

    return store(hash_parts([how.key, str(shape), digest, *names]), shape, decode_from, folder)


def shrink(pixels: Pixels, size: int) -> Pixels:
    """Shrinks generated images by the filter of `build_pixels`.

    Args:
        pixels: Images of shape (n, c, height, width).
        size: Height and width of the result in px, at most those given.
    """
    if size > min(pixels.shape[2:]):
        raise ValueError(f"given size {size} for images of {pixels.shape[2:]} px; expected less")
    if pixels.shape[2:] == (size, size):
        return pixels
    planes = pixels.reshape(-1, *pixels.shape[2:])
    small = [np.asarray(resize(Image.fromarray(plane), size)) for plane in planes]
    return np.stack(small).reshape(*pixels.shape[:2], size, size)


def _stamp(path: str) -> str:
    try:
        stat = Path(path).stat()
    except OSError:
        return path
    return f"{path} {stat.st_size} {stat.st_mtime_ns}"


def _hash_files(paths: Sequence[str], journal: Path, progress: bool) -> list[str]:
    """sha256 of each file; those of a run that was stopped are not computed again."""
    with locked(journal.parent):
        for other in journal.parent.glob("*.hashes"):
            if other != journal:
                other.unlink()
        known = journal.read_text().split("\n")[:-1] if journal.is_file() else []
        digests = known[: len(paths)]
        left = paths[len(digests) :]
        with journal.open("w") as file:
            file.writelines(f"{digest}\n" for digest in digests)
            for digest in _run(_hash_file, left, len(paths), "hash images", progress):
                digests.append(digest)
                file.write(f"{digest}\n")
    return digests


def _hash_file(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "unreadable"  # decoding meets the same error and names it among all others


def _whole(results: Iterator[Pixels | str]) -> Iterator[Pixels]:
    """Images, until one has a fault; then the faults of all the others are gathered."""
    faults = []
    for result in results:
        if isinstance(result, str):
            faults.append(result)
        elif not faults:
            yield result
    if faults:
        more = [f"and {len(faults) - SHOWN} more images"] if len(faults) > SHOWN else []
        raise InputError("images", faults[:SHOWN] + more)


def _run(
    function: Callable[[Given], Result],
    given: Iterable[Given],
    total: int,
    title: str,
    progress: bool,
    done: int | None = None,
) -> Iterator[Result]:
    """Results in order, from one thread per core: Pillow and hashlib release the GIL."""
    first = total - len(given) if isinstance(given, Sequence) else done or 0
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=total, initial=first, desc=title, unit="image", disable=not progress) as bar,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        source = iter(given)
        while block := list(islice(source, BLOCK)):
            for result in pool.map(function, block):
                bar.update()
                yield result
