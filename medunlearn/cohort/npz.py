"""Datasets in one ``.npz`` file of MedMNIST's layout, read as a stream, never unpickled."""

import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.cells import Cells, check_columns
from medunlearn.errors import InputError

SPLITS = ("train", "val", "test")
REMEDY = "expected MedMNIST's layout: train_images, train_labels and so on for val and test"


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
        for split in SPLITS:
            headers = {}
            for name in (f"{split}_images", f"{split}_labels"):
                if f"{name}.npy" in archive.namelist():
                    headers[name], found = _check_size(archive, name)
                    faults += found
                else:
                    faults.append(f"array {name!r} is missing; {REMEDY}")
            if len(headers) == 2:
                faults += _check_pair(split, *headers.values())
            if not faults:
                with archive.open(f"{split}_labels.npy") as file:
                    labels = np.lib.format.read_array(file, allow_pickle=False)
                frames.append(_rows(split, labels.reshape(len(labels), -1)))
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
    if list(names) != sorted(set(names)):
        raise ValueError("images of an array are read in the order of the file: sort their names")
    with _opened(path) as archive:
        for split, members in groupby(names, key=lambda name: name.split("/")[0]):
            with archive.open(f"{split}_images.npy") as file:
                header, position = _read_header(file), 0
                shape, size = header.shape[1:], _bytes(header.shape[1:], header.dtype)
                for index in (int(name.split("/")[1]) for name in members):
                    for _ in range(position, index):  # one by one, which bounds the memory
                        file.read(size)
                    content, position = file.read(size), index + 1
                    if len(content) < size:
                        raise EOFError("an array is cut off")
                    yield np.frombuffer(content, header.dtype).reshape(shape)


def _rows(split: str, labels: NDArray[np.generic]) -> pd.DataFrame:
    names = [f"{split}/{number:07d}" for number in range(len(labels))]
    columns = ["label"] if labels.shape[1] == 1 else [f"label_{i}" for i in range(labels.shape[1])]
    values = dict(zip(columns, labels.astype(np.int64).astype(str).T, strict=True))
    return pd.DataFrame({"image": names, "split": split, **values}, index=names, dtype="str")


def _check_size(archive: zipfile.ZipFile, name: str) -> tuple[_Header, list[str]]:
    """An array's header, and whether as much follows as it says."""
    with archive.open(f"{name}.npy") as file:
        header = _read_header(file)
    held, needed = archive.getinfo(f"{name}.npy").file_size, _bytes(*header)
    if needed < held < needed + 2**16:
        return header, []
    fault = f"{name}: holds {held:,} bytes, its shape {header.shape} needs {needed:,}"
    return header, [f"{fault}; get the whole file again"]


def _check_pair(split: str, images: _Header, labels: _Header) -> list[str]:
    """What is wrong with the shapes and types of images and labels."""
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
    elif labels.shape[:1] != shape[:1]:
        counts = f"{labels.shape[0]} labels for {shape[0] if shape else 0} images"
        faults.append(f"{split}_labels: given {counts}; expected one for each image")
    return faults


def _read_header(file: IO[bytes]) -> _Header:
    read = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }.get(np.lib.format.read_magic(file))
    if read is None:
        raise ValueError("an array is not of version 1.0 or 2.0 of numpy's format")
    shape, fortran, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("an array holds Python objects (a pickle), which are never loaded")
    if fortran and len(shape) > 1:
        raise ValueError("an array is in Fortran order, expected C order")
    return _Header(shape, dtype)


def _bytes(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> int:
    return int(np.prod(shape, dtype=np.float64)) * dtype.itemsize


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except InputError:
        raise
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        fault = f"cannot be read as .npz: {error}; {REMEDY}; get the whole file again"
        raise InputError(str(path), [fault]) from None
    except (NotImplementedError, RuntimeError) as error:  # packed or locked in another way
        raise InputError(str(path), [f"cannot be read as .npz: {error}; save it anew"]) from None
