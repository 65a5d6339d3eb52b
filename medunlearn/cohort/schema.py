"""What a manifest may say: the fields, their types, and what they mean."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from medunlearn.cohort import rules
from medunlearn.cohort.labels import AnyLabel, Label
from medunlearn.cohort.rules import InnerPath, InnerPaths, Names, OneOrMore, Part, Text

Share = Annotated[float, Field(gt=0, lt=1)]


class Columns(Part):
    """Headers in the table."""

    image: Text
    patient: Text
    sex: Text | None = None
    age: Text | None = None


class SexValues(Part):
    """The table's words for female, male and not known, as published (case matters)."""

    F: Names
    M: Names
    missing: Annotated[tuple[str, ...], OneOrMore] = ()

    @field_validator("M", "missing")
    @classmethod
    def _say_each_once(cls, given: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        twice = sorted({word for other in info.data.values() for word in other} & set(given))
        if twice:
            raise ValueError(f"{twice} already stand for another sex: list each word once")
        return given

    @property
    def codes(self) -> dict[str, str | None]:
        """Every known word and its code, F, M or None."""
        missing = dict.fromkeys(["", *self.missing])
        return missing | dict.fromkeys(self.F, "F") | dict.fromkeys(self.M, "M")


class Partition(Part):
    """Shares of the patients."""

    train: Share
    validation: Share
    test: Share

    @field_validator("test")
    @classmethod
    def _sum_to_one(cls, given: float, info: ValidationInfo) -> float:
        total = given + sum(info.data.values())
        if len(info.data) == 2 and abs(total - 1) > 1e-6:
            raise ValueError(f"the three shares sum to {total:.6g}: expected 1")
        return given


Address = Annotated[str, Field(pattern=r"^https?://")]


class FileObject(Part):
    """A published file, in the words of Croissant: name, contentUrl, md5.

    Args:
        name: Path below the dataset's folder.
        url: Where it can be fetched without an account (``contentUrl``).
        md5: Published checksum.
    """

    name: InnerPath
    url: Address | None = Field(default=None, alias="contentUrl")
    md5: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")] | None = None


def _check_range(given: tuple[float, float]) -> tuple[float, float]:
    if given[0] < given[1]:
        return given
    raise ValueError("expected two numbers, the lower one first")


Range = Annotated[tuple[float, float], AfterValidator(_check_range)]


class Manifest(Part):
    """What every dataset states."""

    unit: Literal["patient", "lesion", "eye", "image"] = "patient"
    """What the patient column identifies; anything but a patient is told in the report."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    kind: Literal["phantom", "table", "files", "dicom", "arrays"]
    title: Text
    source: Text
    licence: Text
    citation: Text
    how_to_get: Text
    biases: Text | None = None
    """What is known of how the data mislead."""
    label: Label
    image_size: Annotated[int, Field(strict=True, ge=8, le=1024)] = 64
    channels: Literal[1, 3]
    horizontal_flip: Annotated[bool, Field(strict=True)]
    partition: Partition


class PhantomManifest(Manifest):
    """A cohort that the package draws itself."""

    patients: Annotated[int, Field(strict=True, ge=10)]


class DataManifest(Manifest):
    """Images from outside, brought to rows of text by their source."""

    source: Address
    folders: InnerPaths
    links_outside: Annotated[tuple[InnerPath, ...], OneOrMore] = ()
    """Links below the data root, as ``mine/images``, that may lead out of it."""
    distribution: tuple[FileObject, ...] = ()
    columns: Columns
    sex: Annotated[SexValues | None, Field(validate_default=True)] = None
    ages: dict[Text, Annotated[float, Field(ge=0)] | None] = Field(default={})
    """What words in the column of ages mean in years: ``"90+": 90``, ``unknown: null``."""
    conflicting_sex: Literal["error"] | None = "error"
    """Of a patient with two sexes: a fault, or ``null``, sex unknown."""
    label: AnyLabel
    derive: tuple[rules.AnyDerived, ...] = ()
    joins: tuple[rules.Join, ...] = ()
    filters: tuple[rules.AnyFilter, ...] = ()
    split: rules.Split | None = None
    intensity: Range | Literal["window"] | None = None
    """Raw values that become 0 and 255; needed unless images have 8 bits. ``window``: DICOM's."""
    use_channel: Annotated[int, Field(strict=True, ge=0, le=2)] | None = None
    """Of several sequences in the channels of an image the one that is taken, from 0."""
    pseudonymise: Annotated[bool, Field(strict=True)] = True
    """Whether the cohort's table holds salted hashes in place of ids of patients and images."""

    @field_validator("sex")
    @classmethod
    def _know_the_words(cls, given: SexValues | None, info: ValidationInfo) -> SexValues | None:
        columns = info.data.get("columns")
        if columns and (columns.sex is None) != (given is None):
            raise ValueError("expected both or neither: columns.sex, and sex with its words")
        return given


class TableManifest(DataManifest):
    """Images in folders, described by one table with a row per image."""

    table: InnerPaths
    images: InnerPaths
    image_suffix: str = ""


class FilesManifest(DataManifest):
    """Images in folders whose names tell the rest: columns ``file``, ``folder``, ``mask_pixels``.

    ``file`` is the path below the image folder, ``folder`` the name of the folder it lies in,
    ``mask_pixels`` the number of pixels above 0 in the mask beside it.
    """

    columns: Columns = Columns(image="file", patient="file")
    images: InnerPaths
    pattern: re.Pattern[str] = re.compile(r"(?i)\.(png|jpe?g|tiff?|bmp|webp)$")
    mask_suffix: Text | None = None


class DicomManifest(DataManifest):
    """DICOM files below folders; the columns are ``file`` and those header tags that are used."""

    images: InnerPaths


class ArraysManifest(DataManifest):
    """One ``.npz`` in MedMNIST's layout; columns ``image``, ``split`` and ``label``.

    ``image`` counts as ``train/000017``; with several labels an image they are ``label_0``, ...
    """

    columns: Columns = Columns(image="image", patient="image")
    arrays: InnerPaths


KINDS: dict[str, type[Manifest]] = {
    "phantom": PhantomManifest,
    "table": TableManifest,
    "files": FilesManifest,
    "dicom": DicomManifest,
    "arrays": ArraysManifest,
}
