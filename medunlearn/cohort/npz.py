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


_BROKEN = (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error)


class _Header(NamedTuple):
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]


def read_arrays(path: Path, needed: Sequence[str]) -> Cells:
    """Rows of the images: ``image``, ``split`` and the label, or ``label_0``, ... if several.

    Raises:
        InputError: The file is no such ``.npz``, is cut off, or its arrays do not fit each other;
            all faults are named.
    """
    frames: list[pd.DataFrame] = []
    faults: list[str] = []
    with _opened(path) as archive:
        for split in SPLITS:
            images = _check_size(archive, f"{split}_images", faults)
            labels = _check_size(archive, f"{split}_labels", faults)
            if images and labels:
                faults += _check_pair(split, images, labels)
            if not faults:
                with archive.open(f"{split}_labels.npy") as file:
                    held = np.lib.format.read_array(file, allow_pickle=False)
                frames.append(_rows(split, held.reshape(len(held), -1)))
    if len({frame.shape[1] for frame in frames}) > 1:
        faults.append(f"labels of the splits have different numbers of columns; {REMEDY}")
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


def _check_size(archive: zipfile.ZipFile, name: str, faults: list[str]) -> _Header | None:
    """An array's header; a fault if it is not there, or something else follows than it says."""
    if f"{name}.npy" not in archive.namelist():
        faults.append(f"array {name!r} is missing; {REMEDY}")
        return None
    with archive.open(f"{name}.npy") as file:
        header = _read_header(file)
    held, needed = archive.getinfo(f"{name}.npy").file_size, _bytes(*header)
    if not needed < held < needed + 2**16:
        fault = f"{name}: holds {held:,} bytes, its shape {header.shape} needs {needed:,}"
        faults.append(f"{fault}; get the whole file again")
    return header


def _check_pair(split: str, images: _Header, labels: _Header) -> list[str]:
    """What is wrong with the shapes and types of images and labels."""
    shape = images.shape
    is_stack = len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)
    fits = {
        f"{split}_images: given {images.dtype} of shape {shape}; expected numbers of shape "
        "(images, height, width) or (images, height, width, 3); 3D sets cannot be used": (
            is_stack and 0 not in shape and images.dtype.kind in "uif"
        ),
        f"{split}_labels: given {labels.dtype} of shape {labels.shape}; expected whole numbers, a "
        f"row for each of {shape[0] if shape else 0} images": (
            len(labels.shape) in {1, 2}
            and labels.shape[:1] == shape[:1]
            and labels.dtype.kind in "uib"
        ),
    }
    return [fault for fault, holds in fits.items() if not holds]


def _read_header(file: IO[bytes]) -> _Header:
    if (version := np.lib.format.read_magic(file)) != (1, 0):
        raise ValueError(f"an array is of version {version} of numpy's format, expected (1, 0)")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
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
    except (*_BROKEN, NotImplementedError, RuntimeError) as error:  # or packed in another way
        fault = (
            f"cannot be read as .npz: {error}; {REMEDY}; get the whole file again, or save it anew"
        )
        raise InputError(str(path), [fault]) from None
