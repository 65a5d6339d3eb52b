"""One image file to a square of 8 bits: the whole image, shrunk by a filter, nothing cropped."""

import hashlib
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from medunlearn.cohort.pixels import Pixels

RULE = "1"  # part of the key: raise it when the decoding below gives other bytes
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # no format that runs another program


@dataclass(frozen=True)
class Decoding:
    """How images become squares of bytes.

    Args:
        size: Height and width in px.
        channels: 1 (grey) or 3 (RGB).
        intensity: Raw values that become 0 and 255, needed unless images have 8 bits; for DICOM
            files also ``window``: what the header says.
        use_channel: Of the image's channels, only this one.
        dicom: Whether files are DICOM.
    """

    size: int
    channels: int
    intensity: tuple[float, float] | Literal["window"] | None = None
    use_channel: int | None = None
    dicom: bool = False

    @property
    def key(self) -> str:
        """All that decides the bytes, apart from the image and its size."""
        own = (self.intensity, self.use_channel, self.dicom)
        return RULE if own == (None, None, False) else f"{RULE}{own}"


def scale(values: NDArray[Any], ends: tuple[float, float]) -> Pixels:
    """Values as 8 bits: the lower end and all below become 0, the upper end and all above 255.

    Raises:
        ValueError: Some value is no number.
    """
    low, high = ends
    shares = (values.astype(np.float64) - low) / (high - low)
    if np.isnan(shares).any():
        raise ValueError("some of its pixels are no numbers (NaN)")
    return np.rint(np.clip(shares, 0, 1) * 255).astype(np.uint8)


def decode_file(job: tuple[str, str], how: Decoding) -> Pixels | str:
    """The image as (channels, size, size), or the fault that names it.

    Args:
        job: Path, and the sha256 that the file had when it was hashed.
        how: Size, channels and scale.
    """
    path, digest = job
    try:
        content = Path(path).read_bytes()
        if hashlib.sha256(content).hexdigest() != digest:
            raise ValueError("it changed while it was read")
        if how.dicom:
            from medunlearn.cohort.dicom import decode_dicom

            return to_square(Image.fromarray(decode_dicom(content, how.intensity)), how)
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            return to_square(_reduce_to_8_bits(image, how), how)
    except UnidentifiedImageError:
        reason = f"its content is no image of {', '.join(FORMATS)}"
    except Exception as error:  # decoders raise almost anything on broken bytes
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return f"{path}: {reason}; put a whole image there or remove its row from the table"


def decode_array(values: NDArray[Any], how: Decoding) -> Pixels:
    """An image that is an array already, (height, width) or (height, width, 3), likewise.

    Raises:
        ValueError: It has not 8 bits, and the manifest states no scale.
    """
    if how.intensity is not None and how.intensity != "window":
        values = scale(values, how.intensity)
    elif values.dtype != np.uint8:
        raise ValueError(f"its pixels are {values.dtype}, {_STATE}")
    return to_square(Image.fromarray(values), how)


def to_square(image: Image.Image, how: Decoding) -> Pixels:
    """An image of 8 bits as (channels, size, size).

    Raises:
        ValueError: The image has not the channel that is asked for.
    """
    if how.use_channel is not None:
        if how.use_channel >= len(image.getbands()):
            raise ValueError(f"it has no channel {how.use_channel}, only {image.getbands()}")
        image = image.getchannel(how.use_channel)
    plain = image.convert("L" if how.channels == 1 else "RGB")
    square = np.asarray(resize(plain, how.size)).reshape(how.size, how.size, how.channels)
    return np.ascontiguousarray(square.transpose(2, 0, 1))


def resize(image: Image.Image, size: int) -> Image.Image:
    """A triangle filter as wide as the shrinkage (antialiased)."""
    return image.resize((size, size), Image.Resampling.BILINEAR)


_STATE = "expected 8 bits; state intensity: [lowest, highest] in the manifest"


def _reduce_to_8_bits(image: Image.Image, how: Decoding) -> Image.Image:
    deep = image.mode == "F" or image.mode.startswith("I")
    if how.intensity is None or how.intensity == "window":
        if deep:
            kind = {"F": "fractions", "I": "32 bits"}.get(image.mode, "16 bits")
            raise ValueError(f"its pixels are {kind} of unknown scale, {_STATE}")
        return image
    if not deep and how.intensity[1] > 255:
        raise ValueError(f"its pixels have 8 bits, intensity says up to {how.intensity[1]:g}")
    if image.mode not in {"L", "RGB"} and not deep:
        image = image.convert("RGB" if len(image.getbands()) > 2 else "L")
    return Image.fromarray(scale(np.asarray(image), how.intensity))
