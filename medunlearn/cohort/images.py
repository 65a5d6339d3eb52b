"""Image files decoded to squares of 8 bits, once."""

import hashlib
import io
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image, UnidentifiedImageError
from tqdm import tqdm

from medunlearn.cohort.pixels import (
    PixelCache,
    Pixels,
    hash_parts,
    open_pixels,
    store,
    store_pixels,
)
from medunlearn.errors import InputError

__all__ = ["PixelCache", "build_pixels", "open_pixels", "shrink", "store_pixels"]

RULE = "1"  # part of the key: raise it when the decoding below gives other bytes
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # no format that runs another program
BLOCK = 256  # images decoded before they are written, which bounds the memory
SHOWN = 20

Given = TypeVar("Given")
Result = TypeVar("Result")


def build_pixels(
    paths: Sequence[str], folder: Path, *, size: int, channels: int, progress: bool = True
) -> PixelCache:
    """Decodes images into ``<folder>/<key>.npy``, or finds them there from an earlier time.

    The whole image is shrunk to a square by a triangle filter as wide as the shrinkage
    (antialiased); nothing is cropped, so proportions change where an image is no square. Grey of 16
    bits is divided by 256: fewer bits in use give a dark image. Alpha is ignored, and of several
    frames the first is taken.

    Args:
        paths: Image files, in the order of the rows of the array.
        folder: Where the array is kept; made if it is not there.
        size: Height and width in px.
        channels: 1 (grey) or 3 (RGB).
        progress: Whether bars are shown on stderr.

    Returns:
        The cache; its array is uint8 of shape (images, channels, size, size).

    Raises:
        InputError: Images that cannot be decoded (all of them are tried), or no disk space. Nothing
            half-written is left.
    """
    if not paths:
        raise InputError("images", ["no image is given; expected at least one"])
    digests = list(_run(_hash_file, paths, "hash images", progress))
    shape = (len(paths), channels, size, size)
    decode = partial(_decode, size=size, channels=channels)
    jobs = list(zip(paths, digests, strict=True))

    def decode_all() -> Iterator[Pixels]:
        faults = []
        for result in _run(decode, jobs, "decode images", progress):
            if isinstance(result, str):
                faults.append(result)
            elif not faults:
                yield result
        if faults:
            more = [f"and {len(faults) - SHOWN} more images"] if len(faults) > SHOWN else []
            raise InputError("images", faults[:SHOWN] + more)

    return store(hash_parts([RULE, str(shape), *digests]), shape, decode_all, folder)


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
    small = [np.asarray(_resize(Image.fromarray(plane), size)) for plane in planes]
    return np.stack(small).reshape(*pixels.shape[:2], size, size)


def _hash_file(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return "unreadable"  # decoding meets the same error and names it among all others


def _run(
    function: Callable[[Given], Result], given: Sequence[Given], title: str, progress: bool
) -> Iterator[Result]:
    """Results in order, from one thread per core: Pillow and hashlib release the GIL."""
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        tqdm(total=len(given), desc=title, unit="image", disable=not progress) as bar,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        for start in range(0, len(given), BLOCK):
            for result in pool.map(function, given[start : start + BLOCK]):
                bar.update()
                yield result


def _decode(job: tuple[str, str], size: int, channels: int) -> Pixels | str:
    """The image as (channels, size, size), or the fault that names it."""
    path, digest = job
    try:
        content = Path(path).read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError("it changed while it was read")
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            plain = _reduce_to_8_bits(image).convert("L" if channels == 1 else "RGB")
        pixels = np.asarray(_resize(plain, size)).reshape(size, size, channels)
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))
    except UnidentifiedImageError:
        reason = f"its content is no image of {', '.join(FORMATS)}"
    except Exception as error:  # decoders raise almost anything on broken bytes
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{path}: {reason}; put a whole image there or remove its row from the table"


def _reduce_to_8_bits(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are fractions of unknown scale, expected 8 or 16 bits")
    if not image.mode.startswith("I"):
        return image
    values = np.asarray(image)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError("its pixels have 32 bits, expected 8 or 16 bits")
    return Image.fromarray((values // 256).astype(np.uint8))


def _resize(image: Image.Image, size: int) -> Image.Image:
    return image.resize((size, size), Image.Resampling.BILINEAR)
