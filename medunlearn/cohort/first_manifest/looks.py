"""What images are like: size, colour and depth of a few of them."""

import warnings
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from PIL import Image

from medunlearn.cohort.decode import FORMATS
from medunlearn.cohort.first_manifest.draft import fill_in
from medunlearn.errors import InputError

LOOKED_AT = 32
DEPTHS = (255, 1023, 4095, 16383, 65535)
LARGEST, SMALLEST = 224, 8
SOFT_TISSUE = [-160, 240]  # Hounsfield units
TAGS = (
    *("PatientID", "PatientSex", "PatientAge", "SOPInstanceUID", "Modality", "ViewPosition"),
    *("BodyPartExamined", "Rows", "Columns", "BitsStored", "SamplesPerPixel", "WindowCenter"),
)
"""What is read from DICOM headers for a first manifest, and not kept."""


class Looks(NamedTuple):
    """Fields of a manifest on how images are read, with a remark on each, and unreadable files."""

    fields: dict[str, object]
    notes: dict[str, str]
    broken: list[str]


def choose_some(paths: Sequence[str]) -> list[str]:
    """A few, evenly spread."""
    return list(paths[:: max(1, -(-len(paths) // LOOKED_AT))])


def look_at_images(paths: dict[str, str]) -> Looks:
    """Open a few images.

    Args:
        paths: Path below the folder to absolute path.
    """
    sizes, kinds, broken = [], Counter[str](), []
    ends: list[tuple[float, float]] = []
    some = choose_some(list(paths))
    for name in some:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error", Image.DecompressionBombWarning)
                with Image.open(paths[name], formats=FORMATS) as image:
                    image.load()
                    sizes.append(image.size)
                    kind = _name_kind(image)
                    if kind in {"deep", "fractions"}:
                        pixels = np.asarray(image)
                        ends.append((float(pixels.min()), float(pixels.max())))
                    kinds[kind] += 1
        except Exception:  # decoders raise almost anything on broken bytes
            broken.append(name)
    fields, notes = _describe_size(sizes) if sizes else ({}, {})
    fields["channels"] = 3 if kinds["colour"] else 1
    seen = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    notes["channels"] = f"guessed: of {len(some)} images looked at {seen}"
    if ends:
        fields["intensity"], notes["intensity"] = _guess_intensity(kinds, ends)
    return Looks(fields, notes, broken)


def _name_kind(image: Image.Image) -> str:
    if image.mode == "F":
        return "fractions"
    if image.mode.startswith("I"):
        return "deep"
    if image.mode in {"1", "L", "LA"}:
        return "grey"
    pixels = np.asarray(image.convert("RGB"))
    return "grey" if (pixels == pixels[..., :1]).all() else "colour"


def _guess_intensity(kinds: Counter[str], ends: list[tuple[float, float]]) -> tuple[object, str]:
    """Values that become black and white; fractions beyond 0 and 1 have no usual scale."""
    lowest, highest = np.array(ends).min(axis=0)[0], np.array(ends).max(axis=0)[1]
    seen = f"values seen from {lowest:g} to {highest:g}"
    if not kinds["fractions"]:
        top = next((depth for depth in DEPTHS if highest <= depth), int(highest))
        return [0, top], f"guessed: {seen}; these become black and white"
    if set(kinds) == {"fractions"} and lowest >= 0 and highest <= 1:
        return [0, 1], f"guessed: fractions, {seen}; these become black and white"
    what = fill_in("[lowest, highest], the values that become black and white")
    return what, f"fractions, {seen}: of unknown scale, or not of one scale with other images"


def _describe_size(sizes: Sequence[tuple[int, int]]) -> tuple[dict[str, object], dict[str, str]]:
    sides = [min(size) for size in sizes]
    size = max(SMALLEST, min(LARGEST, int(np.median(sides))))
    seen = Counter(f"{width} x {height}" for width, height in sizes)
    told = ", ".join(kind for kind, _ in seen.most_common(3))
    more = f" and {len(seen) - 3} other sizes" if len(seen) > 3 else ""
    note = f"guessed: images are {told}{more}; all are shrunk to squares, not cropped"
    return {"image_size": size}, {"image_size": note}


def look_at_headers(headers: pd.DataFrame) -> Looks:
    """How DICOM images are read, from their headers.

    Args:
        headers: Columns `TAGS`, as text.

    Raises:
        InputError: No header describes an image, as of reports or plans.
    """
    shape = headers[["Columns", "Rows", "BitsStored"]].apply(pd.to_numeric, errors="coerce")
    shape = shape.dropna().astype(int)
    if shape.empty:
        fault = (
            f"no header of the {len(headers)} DICOM files describes an image (Rows, Columns, "
            "BitsStored): are these reports or plans? give the folder of the images as FOLDER"
        )
        raise InputError("new-manifest", [fault])
    sizes = list(zip(shape["Columns"].tolist(), shape["Rows"].tolist(), strict=True))
    fields, notes = _describe_size(sizes)
    fields["channels"] = 3 if (headers["SamplesPerPixel"] == "3").any() else 1
    notes["channels"] = "guessed: from the headers"
    bits = int(shape["BitsStored"].max())
    if (headers["WindowCenter"] != "").mean() > 0.5:
        fields["intensity"] = "window"
        notes["intensity"] = "guessed: most headers have a window; or [lowest, highest]"
    elif (headers["Modality"] == "CT").any():
        fields["intensity"] = SOFT_TISSUE
        notes["intensity"] = (
            "guessed: CT without window in the header: soft tissue, Hounsfield units"
        )
    elif bits > 8:
        fields["intensity"] = [0, 2**bits - 1]
        notes["intensity"] = f"guessed: {bits} bits, no window in the header"
    return Looks(fields, notes, [])
