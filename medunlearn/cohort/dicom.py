"""DICOM files: those header tags that a manifest asks for, and pixels as they should be seen."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydicom import Dataset, dcmread
from pydicom.datadict import tag_for_keyword
from pydicom.multival import MultiValue
from pydicom.pixels.processing import apply_color_lut, apply_rescale, apply_voi_lut
from pydicom.pixels.utils import pixel_array

from medunlearn.cohort.decode import scale, tell
from medunlearn.errors import InputError

NAMES = r"(?i)(\.dcm|\.dicom|\.ima|(^|/)(?!dicomdir$)([^./]+|[\d.]+))$"
"""Files that are taken for DICOM: by their ending, or without one, also named by a UID."""

Intensity = tuple[float, float] | Literal["window"] | None


def check_tags(tags: Sequence[str], subject: Path) -> None:
    """Refuse columns that are no header tags, all at once."""
    remedy = "expected 'file', 'folder' or a keyword as PatientSex; correct it in the manifest"
    if unknown := [tag for tag in tags if tag_for_keyword(tag) is None]:
        raise InputError(str(subject), [f"columns {unknown} are no DICOM keywords; {remedy}"])


def read_tags(path: str, tags: Sequence[str]) -> list[str] | str:
    """Values of header tags as text, empty for one that the file has not; or the fault.

    No other tag is parsed, so none can be stored.
    """
    try:
        dataset = dcmread(path, stop_before_pixels=True, specific_tags=list(tags))
        return [_text(dataset.get(name)) for name in tags]
    except Exception as error:  # pydicom raises almost anything on broken bytes
        return f"{path}: {tell(error)}; put a whole DICOM file there or remove it"


def decode_dicom(path: str, intensity: Intensity) -> NDArray[np.uint8]:
    """Pixels as they should be seen: dark is low, scaled to 8 bits.

    Modality rescale, then the header's VOI LUT or window (``intensity: window``) or the manifest's
    range in rescaled units (Hounsfield units for CT), then MONOCHROME1 inverted (PS3.3 C.7.6.3).

    Args:
        path: The file.
        intensity: Values that become 0 and 255, or ``window``; may be none for images of 8 bits
            that have no window.

    Returns:
        (rows, columns) for grey, (rows, columns, 3) for colour.

    Raises:
        ValueError: Says why the file cannot be used, as do errors of pydicom's.
    """
    dataset = dcmread(path)
    if (frames := int(dataset.get("NumberOfFrames") or 1)) > 1:
        raise ValueError(f"it holds {frames} frames, expected one; split it into single frames")
    raw = pixel_array(dataset)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        return scale(apply_color_lut(raw, dataset), (0, 255 if raw.itemsize == 1 else 65535))
    if raw.ndim == 3:
        return scale(raw, (0.0, float(2 ** int(dataset.BitsStored) - 1)))
    grey = scale(*_window(raw, dataset, intensity))
    return 255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey


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


def _text(value: object) -> str:
    parts = value if isinstance(value, list | tuple | MultiValue) else [value]
    return "\\".join("" if part is None else str(part).strip() for part in parts)
