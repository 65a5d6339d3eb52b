"""Datasets whose file names tell everything: a folder per class, or masks beside the images."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from medunlearn.cohort.cells import Cells, check_columns, cut_short
from medunlearn.cohort.files import Places, list_files
from medunlearn.cohort.schema import FilesManifest
from medunlearn.errors import InputError


def read_listing(
    manifest: FilesManifest, places: Places, needed: Sequence[str]
) -> tuple[Cells, pd.Series]:
    """Rows of the files, with those of ``file``, ``folder`` and ``mask_pixels`` that are needed.

    Returns:
        The rows, and the real path of each.

    Raises:
        InputError: No file matches, a mask is missing or no image, or a link leaves the data root.
    """
    columns = ["file", "folder"] + (["mask_pixels"] if manifest.mask_suffix else [])
    check_columns(columns, needed, places.folder)
    files, faults = list_files(places, manifest.pattern)
    if not files:
        faults = [f"no file below {places.folder} matches {manifest.pattern!r}; {places.get}"]
    frame = pd.DataFrame({"file": list(files)}, index=list(files), dtype="str")
    frame["folder"] = [Path(name).parent.name for name in files]
    if "mask_pixels" in needed and not faults:
        masks = [_mask_path(path, str(manifest.mask_suffix)) for path in files.values()]
        with ThreadPoolExecutor() as pool:
            counts = list(pool.map(_count_pixels, masks))
        faults += [count for count in counts if not count.isdecimal()]
        frame["mask_pixels"] = counts
    if faults:
        raise InputError(str(places.folder), cut_short(faults, "files"))
    return Cells(frame, places.folder, "file"), pd.Series(files, dtype="str")


def _mask_path(path: str, suffix: str) -> Path:
    image = Path(path)
    return image.with_name(f"{image.stem}{suffix}{image.suffix}")


def _count_pixels(path: Path) -> str:
    """The number of a mask's pixels above 0, or the fault that names it."""
    try:
        with Image.open(path) as mask:
            return str(int(np.count_nonzero(np.asarray(mask.convert("L")))))
    except Exception as error:  # decoders raise almost anything on broken bytes
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{path}: mask cannot be read ({reason}); put a whole mask there or remove its image"
