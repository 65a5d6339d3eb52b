"""Rows of images that no table lists: files in folders, and one ``.npz`` of MedMNIST's layout."""

import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pandas as pd
from numpy.lib.npyio import NpzFile
from numpy.typing import NDArray
from PIL import Image

from medunlearn.cohort.cells import cut_short
from medunlearn.cohort.decode import tell
from medunlearn.cohort.files import Places, list_files
from medunlearn.errors import InputError

SPLITS = ("train", "val", "test")
SHAPES = (
    "expected numbers of shape (images, height, width) or (images, height, width, 3), and whole "
    "numbers, one or a row for each image; 3D sets cannot be used"
)
REMEDY = "expected MedMNIST's layout: train_images, train_labels and so on for val and test"


def read_listing(
    places: Places,
    pattern: str | re.Pattern[str],
    columns: Sequence[str],
    read: Callable[[str], list[str] | str],
) -> tuple[pd.DataFrame, "pd.Series[str]"]:
    """Rows of the files below the image folders: ``file``, ``folder`` and what is in them.

    Args:
        places: Where they are.
        pattern: Their names.
        columns: What is read of each.
        read: Gives these values of a file, or the fault that names it; run by several threads.

    Returns:
        The rows, and the real path of each.

    Raises:
        InputError: No file matches, some cannot be read, or a link leaves the data root.
    """
    files, faults = list_files(places, pattern)
    if not files:
        said = getattr(pattern, "pattern", pattern)
        faults.append(f"no file below {places.folder} matches {said!r}; {places.get}")
    with ThreadPoolExecutor() as pool:
        rows = list(pool.map(read, files.values()) if columns else [[] for _ in files])
    if faults := faults + [row for row in rows if isinstance(row, str)]:
        raise InputError(str(places.folder), cut_short(faults, "files"))
    paths = pd.Series(files, dtype="str")
    frame = pd.DataFrame(rows, columns=list(columns), index=paths.index, dtype="str")
    return frame.assign(file=paths.index, folder=[Path(file).parent.name for file in files]), paths


def count_mask_pixels(path: str, suffix: str) -> list[str] | str:
    """The number of pixels above 0 in the mask beside an image, or the fault that names it."""
    image = Path(path)
    mask = image.with_name(f"{image.stem}{suffix}{image.suffix}")
    try:
        with Image.open(mask) as opened:
            return [str(int(np.count_nonzero(np.asarray(opened.convert("L")))))]
    except Exception as error:  # decoders raise almost anything on broken bytes
        remedy = "put a whole mask there or remove its image"
        return f"{mask}: mask cannot be read ({tell(error)}); {remedy}"


def read_arrays(path: Path) -> tuple[pd.DataFrame, "pd.Series[str]"]:
    """Rows of the images: ``image``, ``split`` and the label, or ``label_0``, ... if several.

    The path of each is the file's.

    Raises:
        InputError: The file is no such ``.npz``, or its arrays do not fit each other; all faults
            are named.
    """
    frames, faults = [], []
    with _opened(path) as arrays, ZipFile(path) as archive:
        for split in SPLITS:
            labels = arrays[f"{split}_labels"]
            with archive.open(f"{split}_images.npy") as file:  # the pixels are not read
                np.lib.format.read_magic(file)
                shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            images_fit = len(shape) in {3, 4} and shape[3:] in {(), (3,)} and 0 not in shape
            labels_fit = labels.ndim in {1, 2} and len(labels) == shape[:1][0]
            if not (
                images_fit and labels_fit and dtype.kind in "uif" and labels.dtype.kind in "uib"
            ):
                faults.append(
                    f"{split}: given images {dtype} of shape {shape}, labels {labels.dtype} of "
                    f"shape {labels.shape}; {SHAPES}"
                )
            else:
                frames.append(_rows(split, labels))
    if faults:
        raise InputError(str(path), faults)
    frame = pd.concat(frames)
    return frame, pd.Series(str(path), index=frame.index, dtype="str")


def read_images(path: Path, names: Sequence[str]) -> Iterator[NDArray[Any]]:
    """The images of these names, in order, as (height, width) or (height, width, 3).

    Args:
        path: As for `read_arrays`, which has found no fault; all splits that are asked for are
            held in memory.
        names: As its column ``image``.

    Raises:
        InputError: The file is cut off or has changed.
    """
    with _opened(path) as arrays:
        wanted = {name.split("/")[0] for name in names}
        images = {split: arrays[f"{split}_images"] for split in wanted}
    for split, number in (name.split("/") for name in names):
        yield images[split][int(number)]


def _rows(split: str, labels: NDArray[Any]) -> pd.DataFrame:
    labels = labels.reshape(len(labels), -1)
    names = [f"{split}/{number:07d}" for number in range(len(labels))]
    columns = ["label"] if labels.shape[1] == 1 else [f"label_{i}" for i in range(labels.shape[1])]
    values = dict(zip(columns, labels.astype(np.int64).astype(str).T, strict=True))
    return pd.DataFrame({"image": names, "split": split, **values}, index=names, dtype="str")


@contextmanager
def _opened(path: Path) -> Iterator[NpzFile]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            yield arrays
    except InputError:
        raise
    except Exception as error:  # zip and numpy raise almost anything on broken bytes
        fault = f"cannot be read as .npz: {error}; {REMEDY}; get the whole file again"
        raise InputError(str(path), [fault]) from None
