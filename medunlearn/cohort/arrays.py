"""Datasets in one ``.npz`` file of MedMNIST's layout, read as a stream, never unpickled."""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.cells import Cells, check_columns
from medunlearn.errors import InputError

SPLITS = ("train", "val", "test")
REMEDY = "expected MedMNIST's layout: train_images, train_labels and so on for val and test"
KEPT = 256  # images read at once, which bounds the memory


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


def read_arrays(path: Path, needed: Sequence[str]) -> Cells:
    """Rows of the images: ``image``, ``split`` and the label, or ``label_0``, ... if several.

    Raises:
        InputError: The file is no such ``.npz``, is cut off, or its arrays do not fit each other;
            all faults are named.
    """
    frames, faults = [], []
    with _opened(path) as archive:
        there = {name.removesuffix(".npy") for name in archive.namelist()}
        for split in SPLITS:
            missing = [n for n in (f"{split}_images", f"{split}_labels") if n not in there]
            if missing:
                faults += [f"array {n!r} is missing; {REMEDY}" for n in missing]
                continue
            images = _header(archive, f"{split}_images")
            labels = _header(archive, f"{split}_labels")
            if found := _find_faults(split, images, labels, archive):
                faults += found
                continue
            frames.append(_rows(split, _read_labels(archive, split, labels)))
    if not faults and len({frame.shape[1] for frame in frames}) > 1:
        faults = ["labels of the splits have different numbers of columns; " + REMEDY]
    if faults:
        raise InputError(str(path), faults)
    frame = pd.concat(frames)
    check_columns(list(frame.columns), needed, path)
    return Cells(frame, path, "image")


def read_images(path: Path, names: Sequence[str]) -> Iterator[NDArray[np.generic]]:
    """The images of these names, in order, as (height, width) or (height, width, 3).

    Args:
        path: As for `read_arrays`, which has found no fault.
        names: As its column ``image``, sorted: the file is read once from front to end.

    Raises:
        InputError: The file is cut off or has changed.
    """
    with _opened(path) as archive:
        start = 0
        while start < len(names):
            split = names[start].split("/")[0]
            stop = start + sum(name.startswith(split + "/") for name in names[start:])
            wanted = [int(name.split("/")[1]) for name in names[start:stop]]
            yield from _stream(archive, f"{split}_images", wanted)
            start = stop


def _stream(
    archive: zipfile.ZipFile, name: str, wanted: Sequence[int]
) -> Iterator[NDArray[np.generic]]:
    with archive.open(f"{name}.npy") as file:
        header = _read_header(file)
        shape, size = header.shape[1:], int(np.prod(header.shape[1:])) * header.dtype.itemsize
        position = 0
        for index in wanted:
            while position < index:
                skipped = min(index - position, KEPT)
                _read(file, skipped * size)
                position += skipped
            yield np.frombuffer(_read(file, size), header.dtype).reshape(shape)
            position += 1


def _rows(split: str, labels: NDArray[np.generic]) -> pd.DataFrame:
    names = [f"{split}/{number:07d}" for number in range(len(labels))]
    columns = ["label"] if labels.shape[1] == 1 else [f"label_{i}" for i in range(labels.shape[1])]
    values = dict(zip(columns, labels.astype(np.int64).astype(str).T, strict=True))
    return pd.DataFrame({"image": names, "split": split, **values}, index=names, dtype="str")


def _find_faults(
    split: str, images: _Header, labels: _Header, archive: zipfile.ZipFile
) -> list[str]:
    shape, faults = images.shape, []
    if len(shape) not in {3, 4} or (len(shape) == 4 and shape[3] != 3) or 0 in shape:
        faults.append(
            f"{split}_images: given shape {shape}; expected (images, height, width) or "
            "(images, height, width, 3); 3D sets cannot be used"
        )
    if images.dtype.kind not in "uif":
        faults.append(f"{split}_images: given {images.dtype}; expected numbers, best uint8")
    if labels.dtype.kind not in "uib" or len(labels.shape) not in {1, 2}:
        given = f"{labels.dtype} of shape {labels.shape}"
        faults.append(f"{split}_labels: given {given}; expected whole numbers, a row for an image")
    elif shape and labels.shape[:1] != shape[:1]:
        counts = f"{labels.shape[0]} labels for {shape[0]} images"
        faults.append(f"{split}_labels: given {counts}; expected one for each image")
    for name, header in ((f"{split}_images", images), (f"{split}_labels", labels)):
        held = archive.getinfo(f"{name}.npy").file_size
        needed = int(np.prod(header.shape, dtype=np.float64)) * header.dtype.itemsize
        if not needed < held < needed + 2**16:
            fault = f"{name}: holds {held:,} bytes, its shape {header.shape} needs {needed:,}"
            faults.append(f"{fault}; get the whole file again")
    return faults


def _read_labels(archive: zipfile.ZipFile, split: str, header: _Header) -> NDArray[np.generic]:
    with archive.open(f"{split}_labels.npy") as file:
        _read_header(file)
        size = int(np.prod(header.shape)) * header.dtype.itemsize
        labels = np.frombuffer(_read(file, size), header.dtype)
    return labels.reshape(header.shape[0], -1)


def _header(archive: zipfile.ZipFile, name: str) -> _Header:
    with archive.open(f"{name}.npy") as file:
        return _read_header(file)


def _read_header(file: IO[bytes]) -> _Header:
    version = np.lib.format.read_magic(file)
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(version)
    if read is None:
        raise ValueError(f"arrays are of version {version} of numpy's format, expected 1.0 or 2.0")
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("an array holds Python objects (a pickle), which are never loaded")
    if fortran and len(shape) > 1:
        raise ValueError("an array is in Fortran order, expected C order")
    return _Header(shape, dtype)


def _read(file: IO[bytes], size: int) -> bytes:
    content = file.read(size)
    if len(content) < size:
        raise EOFError("an array is cut off")
    return content


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        if isinstance(error, InputError):
            raise
        fault = f"cannot be read as .npz: {error}; {REMEDY}; get the whole file again"
        raise InputError(str(path), [fault]) from None
    except (NotImplementedError, RuntimeError) as error:  # packed or locked in another way
        raise InputError(str(path), [f"cannot be read as .npz: {error}; save it anew"]) from None
