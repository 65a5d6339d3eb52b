"""Images of a cohort decoded to squares of 8 bits: each once, in parallel, in bounded memory."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from medunlearn.cohort.cells import cut_short
from medunlearn.cohort.decode import RULE, Decoding, Pixels, decode_array, decode_file, quiet
from medunlearn.cohort.npz import read_images
from medunlearn.cohort.pixels import BLOCK, PixelCache, hash_parts, is_sound, open_pixels, store
from medunlearn.errors import InputError

SHOWN = 20

Given = TypeVar("Given")
Decoded = Iterator[Pixels | str]
"""Images in order, or the faults that name them."""


def build_pixels(
    paths: Sequence[str], folder: Path, how: Decoding, *, progress: bool = True
) -> PixelCache:
    """Decodes images into an array, or finds them decoded.

    An image that is in another array of this folder, from a file of the same path, size and time,
    is taken from there. A run that is stopped goes on where it was.

    Args:
        paths: Image files, in the order of the rows of the array.
        folder: Where the array is kept; made if it is not there.
        how: Size, channels and scale of the result.
        progress: Whether a bar is shown on stderr.

    Returns:
        The cache; its array is uint8 of shape (images, channels, size, size).

    Raises:
        InputError: Images that cannot be decoded (all of them are tried), or no disk space. Nothing
            half-written is left.
    """
    marks = [_mark(path) for path in paths]

    def decode(row: int) -> Pixels | str:
        image = decode_file(paths[row], how)
        same = isinstance(image, str) or _mark(paths[row]) == marks[row]
        return image if same else f"{paths[row]}: it changed while it was read; run again"

    return _build(marks, folder, how, lambda rows: _run(decode, rows, how), progress)


def build_arrays(
    path: Path, names: Sequence[str], folder: Path, how: Decoding, *, progress: bool = True
) -> PixelCache:
    """Brings the images of a ``.npz`` into the same form, as `build_pixels` does files.

    Args:
        path: The file.
        names: Images as ``train/0000017``, in the order of the rows of the array.
        folder: Where the array is kept.
        how: Size, channels and scale of the result.
        progress: Whether a bar is shown on stderr.

    Raises:
        InputError: As `build_pixels`.
    """
    # The file is read once from front to end; rows in another order are taken from that array.
    if list(names) != sorted(names):
        build_arrays(path, sorted(names), folder, how, progress=progress)
    whole = _mark(path)
    marks = [hash_parts(whole, name) for name in names]

    def decode(image: NDArray[np.generic]) -> Pixels | str:
        try:
            return decode_array(image, how)
        except ValueError as error:
            return f"{path.name}: {error}"

    def decode_all(rows: list[int]) -> Decoded:
        return _run(decode, read_images(path, [names[row] for row in rows]), how)

    return _build(marks, folder, how, decode_all, progress)


def _build(
    marks: Sequence[str],
    folder: Path,
    how: Decoding,
    decode: Callable[[list[int]], Decoded],
    progress: bool,
) -> PixelCache:
    """The array of the images with these marks; `decode` gives those of the rows asked for."""
    if not marks:
        raise InputError("images", ["no image is given; expected at least one"])
    family = hash_parts(RULE, str(how))[:8]

    def produce(done: int) -> Iterator[Pixels]:
        found, faults = _find_decoded(folder.glob(f"{family}-*.files"), set(marks[done:])), []
        decoded = decode([row for row in range(done, len(marks)) if marks[row] not in found])
        bar = tqdm(marks, "decode images", initial=done, unit="image", disable=not progress)
        for mark in islice(bar, done, None):
            image = found[mark] if mark in found else next(decoded)
            if isinstance(image, str):
                faults.append(image)
            elif not faults:
                yield image
        if faults:
            raise InputError("images", cut_short(faults, "images", SHOWN))

    shape = (len(marks), how.channels, how.size, how.size)
    return store(folder / f"{family}-{hash_parts(*marks)[:24]}.npy", shape, produce, marks)


def _find_decoded(listings: Iterable[Path], wanted: set[str]) -> dict[str, Pixels]:
    """The wanted images that are in arrays of before, by the marks of their files."""
    found: dict[str, Pixels] = {}
    for listing in sorted(listings):
        marks, path = listing.read_text(errors="replace").split("\n"), listing.with_suffix(".npy")
        if not wanted.isdisjoint(marks) and is_sound(path):
            images = zip(marks, np.asarray(open_pixels(path)), strict=False)
            found |= {mark: image for mark, image in images if mark in wanted}
    return found


def _run(
    function: Callable[[Given], Pixels | str], given: Iterable[Given], how: Decoding
) -> Decoded:
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
        return hash_parts(str(path))
    return hash_parts(str(path), str(stat.st_size), str(stat.st_mtime_ns))
