"""One image file to a square of 8 bits: the whole image, shrunk by a filter, nothing cropped."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

Pixels = NDArray[np.uint8]
RULE = "2"  # part of the cache's names: raise it when the decoding below gives other bytes
FORMATS = ("BMP", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # no format that runs another program
LONGEST = 400  # characters of an error that are told
_STATE = "expected 8 bits; state intensity: [lowest, highest] in the manifest"


@dataclass(frozen=True)
class Decoding:
    """How images become squares of bytes.

    Args:
        size: Height and width in px.
        channels: 1 (grey) or 3 (RGB).
        intensity: Raw values that become 0 and 255, needed unless images have 8 bits; for DICOM
            files also ``window``: what the header says.
        use_channel: Of the image's channels, only this one.
        kind: Of the manifest: files are DICOM (``dicom``), in an ``.npz`` (``arrays``), or images.
    """

    size: int
    channels: int
    intensity: tuple[float, float] | Literal["window"] | None = None
    use_channel: int | None = None
    kind: str = "table"

    @property
    def ends(self) -> tuple[float, float] | None:
        """The raw values that become 0 and 255, where the manifest states them."""
        return None if self.intensity == "window" else self.intensity


def tell(error: Exception) -> str:
    """What an error says, in one line."""
    said = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return " ".join(said.split())[:LONGEST]


@contextmanager
def quiet(*, dicom: bool) -> Iterator[None]:
    """Bombs are errors, and oddities of DICOM headers no warnings.

    Held by the thread that starts others, never by these: both are settings of the whole process.
    """
    with ExitStack() as held:
        held.enter_context(warnings.catch_warnings())
        if dicom:
            from pydicom import config  # half a second that others need not pay

            warnings.simplefilter("ignore")
            held.enter_context(config.disable_value_validation())
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        yield


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


def decode_image(given: "str | NDArray[Any]", how: Decoding) -> Pixels | str:
    """The image as (channels, size, size), or the fault that names it.

    It is turned as its EXIF tag says. Alpha is ignored. Of several frames the first is taken,
    unless they are pages of a TIFF file.

    Args:
        given: A file; or an array of shape (height, width) or (height, width, 3).
        how: What it becomes.
    """
    place = given if isinstance(given, str) else "an image of the array"
    try:
        if not isinstance(given, str):
            return _to_square(_image_of_array(given, how), how)
        if how.kind == "dicom":
            from medunlearn.cohort.dicom import decode_dicom

            return _to_square(Image.fromarray(decode_dicom(given, how.intensity)), how)
        with Image.open(given, formats=FORMATS) as image:
            _refuse_misread(image)
            return _to_square(_reduce_to_8_bits(ImageOps.exif_transpose(image), how), how)
    except UnidentifiedImageError:
        reason = f"its content is no image of {', '.join(FORMATS)}"
    except Exception as error:  # decoders raise almost anything on broken bytes
        reason = tell(error)
    return f"{place}: {reason}; put a whole image there or remove its row from the table"


def _image_of_array(values: NDArray[Any], how: Decoding) -> Image.Image:
    if how.ends is not None:
        values = scale(values, how.ends)
    elif values.dtype != np.uint8:
        raise ValueError(f"its pixels are {values.dtype}, {_STATE}")
    return Image.fromarray(values)


def shrink(pixels: Pixels, size: int) -> Pixels:
    """Shrinks generated images by the filter of `decode_image`.

    Args:
        pixels: Images of shape (n, c, height, width).
        size: Height and width of the result in px, at most those given.
    """
    if size > min(pixels.shape[2:]):
        raise ValueError(f"given size {size} for images of {pixels.shape[2:]} px; expected less")
    if pixels.shape[2:] == (size, size):
        return pixels
    planes = pixels.reshape(-1, *pixels.shape[2:])
    small = [np.asarray(_resize(Image.fromarray(plane), size)) for plane in planes]
    return np.stack(small).reshape(*pixels.shape[:2], size, size)


def _to_square(image: Image.Image, how: Decoding) -> Pixels:
    if how.use_channel is not None:
        if how.use_channel >= len(image.getbands()):
            raise ValueError(f"it has no channel {how.use_channel}, only {image.getbands()}")
        image = image.getchannel(how.use_channel)
    plain = image.convert("L" if how.channels == 1 else "RGB")
    square = np.asarray(_resize(plain, how.size)).reshape(how.size, how.size, how.channels)
    return np.ascontiguousarray(square.transpose(2, 0, 1))


def _resize(image: Image.Image, size: int) -> Image.Image:
    """A triangle filter as wide as the shrinkage (antialiased)."""
    return image.resize((size, size), Image.Resampling.BILINEAR)


def _refuse_misread(image: Image.Image) -> None:
    """Refuse images of which Pillow gives a part, or other values, without a word."""
    deep = image.mode == "F" or image.mode.startswith("I")
    layout = str(getattr(image, "tile", ""))  # for example RGB;16B
    if ";16" in layout and not deep:
        raise ValueError("its colours have 16 bits each, expected 8; save it with 8 bits a channel")
    if image.format != "TIFF":
        return
    if (pages := getattr(image, "n_frames", 1)) > 1:
        raise ValueError(f"it holds {pages} pages, expected one; save each as a file of its own")
    tags: Mapping[int, object] = getattr(image, "tag_v2", {})
    inverted, signed = tags.get(262) == 0, tags.get(339) in {2, (2,)}
    if (deep and inverted) or (signed and not deep):
        kind = "0 stands for white" if inverted else "its 8 bits are signed"
        raise ValueError(f"{kind}, which is not read; save it as PNG")


def _reduce_to_8_bits(image: Image.Image, how: Decoding) -> Image.Image:
    deep = image.mode == "F" or image.mode.startswith("I")
    if how.ends is None:
        if deep:
            kind = {"F": "fractions", "I": "32 bits"}.get(image.mode, "16 bits")
            raise ValueError(f"its pixels are {kind} of unknown scale, {_STATE}")
        return image
    if not deep and how.ends[1] > 255:
        raise ValueError(f"its pixels have 8 bits, intensity says up to {how.ends[1]:g}")
    if image.mode not in {"L", "RGB"} and not deep:
        image = image.convert("RGB" if len(image.getbands()) > 2 else "L")
    return Image.fromarray(scale(np.asarray(image), how.ends))
