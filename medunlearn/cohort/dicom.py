"""DICOM files: those header tags that a manifest asks for, and pixels as they should be seen."""

import io
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from pydicom import Dataset, dcmread
from pydicom.datadict import DicomDictionary, tag_for_keyword  # type: ignore[attr-defined]
from pydicom.errors import InvalidDicomError
from pydicom.filereader import read_dataset, read_preamble
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_color_lut, apply_rescale, apply_voi_lut
from pydicom.pixels.utils import pixel_array
from pydicom.tag import BaseTag

from medunlearn.cohort.cells import Cells, cut_short
from medunlearn.cohort.decode import quiet, scale
from medunlearn.cohort.files import Places, list_files
from medunlearn.errors import InputError

PIXELS = [BaseTag(tag) for tag in DicomDictionary if tag >> 16 in {0x0028, 0x7FE0}]
"""All that decoding needs, the groups of pixels (PS3.6); nothing else is parsed with them."""

NAMES = r"(?i)(\.dcm|\.dicom|\.ima|(^|/)(?!dicomdir$)([^./]+|[\d.]+))$"
"""Files that are taken for DICOM: by their ending, or without one, also named by a UID."""

DEFLATED = {"1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.8.1"}
Intensity = tuple[float, float] | Literal["window"] | None


def read_headers(places: Places, needed: Sequence[str]) -> tuple[Cells, "pd.Series[str]"]:
    """Rows of all DICOM files below the image folders: ``file`` and the header tags needed.

    No other tag is parsed, so none can be stored. A tag that a file has not is an empty cell.

    Returns:
        The rows, and the absolute path of each.

    Raises:
        InputError: A column is no DICOM keyword, there is no DICOM file, one cannot be read, or a
            link leaves the data root; all are named.
    """
    tags = [name for name in dict.fromkeys(needed) if name != "file"]
    unknown = [name for name in tags if tag_for_keyword(name) is None]
    if unknown:
        remedy = "expected 'file' or a keyword as PatientSex; correct it in the manifest"
        raise InputError(
            str(places.folder),
            [f"column {name!r} is no DICOM keyword; {remedy}" for name in unknown],
        )
    files, faults = list_files(places, NAMES)
    if not files:
        faults += [f"no DICOM file (.dcm or without ending) is below {places.folder}; {places.get}"]
    with ThreadPoolExecutor() as pool, quiet(dicom=True):
        rows = list(pool.map(partial(_read_tags, tags=tags), files.values()))
    if faults := faults + [row for row in rows if isinstance(row, str)]:
        raise InputError(str(places.folder), cut_short(faults, "files"))
    frame = pd.DataFrame(rows, columns=tags, index=list(files), dtype="str")
    cells = Cells(frame.assign(file=list(files)), places.folder, "file")
    return cells, pd.Series(files, dtype="str")


def decode_dicom(content: bytes, intensity: Intensity) -> NDArray[np.uint8]:
    """Pixels as they should be seen: dark is low, scaled to 8 bits.

    Modality rescale, then the header's VOI LUT or window (``intensity: window``) or the manifest's
    range in rescaled units (Hounsfield units for CT), then MONOCHROME1 inverted (PS3.3 C.7.6.3).

    Args:
        content: The file.
        intensity: Values that become 0 and 255, or ``window``; may be none for images of 8 bits
            that have no window.

    Returns:
        (rows, columns) for grey, (rows, columns, 3) for colour.

    Raises:
        ValueError: Says why the file cannot be used.
    """
    dataset = _parse(io.BytesIO(content), PIXELS)
    _check_image(dataset)
    try:
        raw = pixel_array(dataset)
    except (NotImplementedError, RuntimeError) as error:
        syntax, why = dataset.file_meta.TransferSyntaxUID.name, str(error)
        fault = (
            f"no decoder is installed for {syntax}; install pylibjpeg[all] or pyjpegls, or"
            if "missing" in why or "no available" in why.lower()
            else f"it cannot be decoded as {syntax} ({why.splitlines()[-1].strip()[:120]});"
        )
        raise ValueError(f"{fault} save it uncompressed, for example: gdcmconv --raw") from None
    photometric = str(dataset.PhotometricInterpretation)
    if photometric == "PALETTE COLOR":
        return scale(apply_color_lut(raw, dataset), (0, 255 if raw.itemsize == 1 else 65535))
    if raw.ndim == 3:
        return scale(raw, (0.0, float(2 ** int(dataset.BitsStored) - 1)))
    grey = scale(*_window(raw, dataset, intensity))
    return 255 - grey if photometric == "MONOCHROME1" else grey


def _window(
    raw: NDArray[Any], dataset: Dataset, intensity: Intensity
) -> tuple[NDArray[Any], tuple[float, float]]:
    """Values, and those of them that become 0 and 255."""
    values = apply_rescale(raw, dataset)
    windowed = "VOILUTSequence" in dataset or dataset.get("WindowCenter") not in (None, "")
    plain = np.array_equal(values, raw) and not int(dataset.PixelRepresentation)
    if not windowed and plain and int(dataset.BitsStored) <= 8 and intensity in {None, "window"}:
        return values, (0.0, 255.0)  # as they should be seen already
    if intensity == "window":
        if not windowed:
            raise ValueError("its header has no window; state intensity: [lowest, highest]")
        if "VOILUTSequence" in dataset:
            bits = int(dataset.VOILUTSequence[0].LUTDescriptor[2])
            return apply_voi_lut(values, dataset), (0.0, float(2**bits - 1))
        # What the window makes of values far beyond it are its own lowest and highest.
        ends = apply_voi_lut(np.array([-1e12, 1e12]), dataset)
        return apply_voi_lut(values.astype(float), dataset), (float(ends[0]), float(ends[1]))
    if intensity is not None:
        return values, intensity
    raise ValueError(
        f"its pixels have {dataset.BitsStored} bits or a window; state in the manifest "
        "intensity: window (the header's) or intensity: [lowest, highest]"
    )


def _check_image(dataset: Dataset) -> None:
    """Refuse what is no single image of a bounded size."""
    needed = ("Rows", "Columns", "BitsAllocated", "BitsStored", "PhotometricInterpretation")
    lacking = ", ".join(name for name in needed if dataset.get(name) in (None, "", 0))
    frames, samples = (
        int(dataset.get(name) or 1) for name in ("NumberOfFrames", "SamplesPerPixel")
    )
    size = int(dataset.get("Rows") or 0) * int(dataset.get("Columns") or 0)
    limit = Image.MAX_IMAGE_PIXELS or size
    reasons = {
        "its pixels are fractions, expected whole numbers; convert it": (
            "FloatPixelData" in dataset or "DoubleFloatPixelData" in dataset
        ),
        "it holds no image (no pixel data); remove it or its row": "PixelData" not in dataset,
        f"its header lacks {lacking}; get the whole file again": bool(lacking),
        f"it holds {frames} frames, expected one; split it into single frames": frames > 1,
        f"it has {samples} samples a pixel, expected 1 or 3": samples not in {1, 3},
        f"its {size:,} pixels exceed the limit of {limit:,}: a bomb?": size > limit,
    }
    for reason, holds in reasons.items():
        if holds:
            raise ValueError(reason)


def _parse(file: BinaryIO, tags: list[str] | list[BaseTag]) -> Dataset:
    """These tags of a file, and no others.

    Raises:
        ValueError: It is no DICOM file, or one that unpacks to any size.
    """
    try:
        read_preamble(file, force=False)
        meta = read_dataset(file, False, True, stop_when=lambda tag, *_: tag.group != 2)
        if str(meta.get("TransferSyntaxUID", "")) in DEFLATED:
            raise ValueError("it is deflated as a whole; save it uncompressed")
        file.seek(0)
        return dcmread(file, stop_before_pixels=tags is not PIXELS, specific_tags=tags)
    except InvalidDicomError:
        raise ValueError("it is no DICOM file (its preamble is missing)") from None


def _read_tags(path: str, tags: list[str]) -> list[str] | str:
    """Values of the tags as text, or the fault that names the file."""
    try:
        with Path(path).open("rb") as file:
            dataset = _parse(file, tags or ["PatientID"])
            return [_text(dataset.get(name)) for name in tags]
    except Exception as error:  # pydicom raises almost anything on broken bytes
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{path}: {reason.splitlines()[0]}; put a whole DICOM file there or remove it"


def _text(value: object) -> str:
    several = isinstance(value, list | tuple | MultiValue)
    parts = [] if value is None else value if several else [value]
    return "\\".join(str(part).strip() for part in parts)  # type: ignore[attr-defined]
