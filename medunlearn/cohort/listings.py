"""Rows of images that no table lists: files in folders, and one ``.npz`` of MedMNIST's layout."""

from collections.abc import Iterator, Sequence
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

from medunlearn.cohort.cells import check_columns, cut_short
from medunlearn.cohort.decode import tell
from medunlearn.cohort.files import Places, list_files
from medunlearn.cohort.schema import FilesManifest
from medunlearn.errors import InputError

SPLITS = ("train", "val", "test")
REMEDY = "expected MedMNIST's layout: train_images, train_labels and so on for val and test"


def read_listing(
    manifest: FilesManifest, places: Places, needed: Sequence[str]
) -> tuple[pd.DataFrame, "pd.Series[str]"]:
    """Rows of the files with columns ``file``, ``folder``, ``mask_pixels``, and their real paths.

    Raises:
        InputError: No file matches, a mask is missing or broken, or a link leaves the data root.
    """
    columns = ["file", "folder"] + (["mask_pixels"] if manifest.mask_suffix else [])
    check_columns(columns, needed, places.folder)
    files, faults = list_files(places, manifest.pattern)
    if not files:
        pattern = manifest.pattern.pattern
        faults = [f"no file below {places.folder} matches {pattern!r}; {places.get}"]
    paths = pd.Series(files, dtype="str")
    frame = pd.DataFrame({"file": paths.index, "folder": [Path(f).parent.name for f in files]})
    frame = frame.set_axis(paths.index).astype("str")
    if "mask_pixels" in needed and not faults:
        images = [Path(path) for path in paths]
        masks = [p.with_name(f"{p.stem}{manifest.mask_suffix}{p.suffix}") for p in images]
        with ThreadPoolExecutor() as pool:
            counts = list(pool.map(_count_pixels, masks))
        faults += [count for count in counts if not count.isdecimal()]
        frame["mask_pixels"] = counts
    if faults:
        raise InputError(str(places.folder), cut_short(faults, "files"))
    return frame, paths


def _count_pixels(path: Path) -> str:
    """The number of a mask's pixels above 0, or the fault that names it."""
    try:
        with Image.open(path) as mask:
            return str(int(np.count_nonzero(np.asarray(mask.convert("L")))))
    except Exception as error:  # decoders raise almost anything on broken bytes
        remedy = "put a whole mask there or remove its image"
        return f"{path}: mask cannot be read ({tell(error)}); {remedy}"


def read_arrays(path: Path, needed: Sequence[str]) -> tuple[pd.DataFrame, "pd.Series[str]"]:
    """Rows of the images: ``image``, ``split`` and the label, or ``label_0``, ... if several.

    The path of each is the file's.

    Raises:
        InputError: The file is no such ``.npz``, or its arrays do not fit each other; all faults
            are named.
    """
    with _opened(path) as arrays:
        names = [f"{split}_{kind}" for split in SPLITS for kind in ("images", "labels")]
        if faults := [f"array {n!r} is missing; {REMEDY}" for n in names if n not in arrays]:
            raise InputError(str(path), faults)
        labels = {split: arrays[f"{split}_labels"] for split in SPLITS}
        faults = [fault for split in SPLITS for fault in _check(path, split, labels[split])]
    frames = [] if faults else [_rows(split, held) for split, held in labels.items()]
    if len({frame.shape[1] for frame in frames}) > 1:
        faults.append(f"labels of the splits have different numbers of columns; {REMEDY}")
    if faults:
        raise InputError(str(path), faults)
    frame = pd.concat(frames)
    check_columns(list(frame.columns), needed, path)
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


def _check(path: Path, split: str, labels: NDArray[Any]) -> Iterator[str]:
    """What is wrong with the shapes and types of images, which are not read, and of labels."""
    with ZipFile(path) as archive, archive.open(f"{split}_images.npy") as file:
        np.lib.format.read_magic(file)
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    is_stack = len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)
    if not is_stack or 0 in shape or dtype.kind not in "uif":
        yield (
            f"{split}_images: given {dtype} of shape {shape}; expected numbers of shape (images, "
            "height, width) or (images, height, width, 3); 3D sets cannot be used"
        )
    if labels.ndim not in {1, 2} or labels.shape[:1] != shape[:1] or labels.dtype.kind not in "uib":
        yield (
            f"{split}_labels: given {labels.dtype} of shape {labels.shape}; expected whole "
            f"numbers, a row for each of {shape[0] if shape else 0} images"
        )


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
