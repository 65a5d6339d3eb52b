"""What a manifest may say: the fields, their types, and what they mean."""

import re
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

LEAVES_FOLDER = r"^[\\/~]|^[A-Za-z]:|(?:^|[\\/])\.\.(?:[\\/]|$)|\x00"


def _stay_inside(path: str) -> str:
    if re.search(LEAVES_FOLDER, path):
        raise ValueError("expected a path inside the data root: remove '..' and the leading slash")
    return path


Text = Annotated[str, Field(min_length=1)]
OneOrMore = BeforeValidator(lambda given: [given] if isinstance(given, str) else given)
Names = Annotated[tuple[Text, ...], OneOrMore, Field(min_length=1)]
InnerPath = Annotated[Text, AfterValidator(_stay_inside)]
InnerPaths = Annotated[tuple[InnerPath, ...], OneOrMore, Field(min_length=1)]
Share = Annotated[float, Field(gt=0, lt=1)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Columns(_Part):
    """Headers in the table; of several names the first that the table has is taken."""

    image: Names
    patient: Names
    sex: Names | None = None
    age: Names | None = None


class SexValues(_Part):
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


class Label(_Part):
    """The classes in the order of their codes, and the one that counts as negative."""

    classes: Annotated[tuple[Text, ...], Field(min_length=2)]
    reference_class: Text

    @field_validator("classes")
    @classmethod
    def _name_classes_once(cls, given: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(given)) < len(given):
            raise ValueError("expected different classes: remove the repeated one")
        return given

    @field_validator("reference_class")
    @classmethod
    def _be_a_class(cls, given: str, info: ValidationInfo) -> str:
        if given not in info.data.get("classes", [given]):
            raise ValueError(f"expected one of the classes {list(info.data['classes'])}")
        return given

    @property
    def reference_code(self) -> int:
        """Code of the reference class."""
        return self.classes.index(self.reference_class)


class ValuesLabel(Label):
    """Each value of the column is mapped to a class."""

    rule: Literal["values"]
    column: Text
    mapping: Annotated[dict[str, Text], Field(min_length=1)]

    @field_validator("mapping")
    @classmethod
    def _map_to_classes(cls, given: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        classes = list(info.data.get("classes", given.values()))
        unknown = [f"{value}: {name}" for value, name in given.items() if name not in classes]
        if unknown:
            raise ValueError(f"{unknown} map to no class: expected one of {classes}")
        if unused := sorted(set(classes) - set(given.values())):
            raise ValueError(f"nothing maps to {unused}: map a value to each class or remove it")
        return given


class ThresholdLabel(Label):
    """A number: the first class at most, the second class above the threshold."""

    classes: Annotated[tuple[Text, ...], Field(min_length=2, max_length=2)]
    rule: Literal["threshold"]
    column: Text
    above: float


class EqualsLabel(Label):
    """The first class where the column equals the value, the second for anything else."""

    classes: Annotated[tuple[Text, ...], Field(min_length=2, max_length=2)]
    rule: Literal["equals"]
    column: Text
    value: Text


class NumberFilter(_Part):
    """Keeps rows whose number is above or below the value."""

    column: Text
    rule: Literal["above", "below"]
    value: float


class TextFilter(_Part):
    """Keeps rows whose text is (one of) the value(s)."""

    column: Text
    rule: Literal["equals", "one_of"]
    value: Names


class Partition(_Part):
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


class Manifest(_Part):
    """What every dataset states."""

    unit: Literal["patient", "lesion", "eye"] = "patient"
    """What the patient column identifies; anything but a patient is told in the report."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")]
    kind: Literal["phantom", "table"]
    title: Text
    source: Text
    licence: Text
    citation: Text
    how_to_get: Text
    label: Label
    image_size: Annotated[int, Field(strict=True, ge=8, le=1024)] = 64
    channels: Literal[1, 3]
    horizontal_flip: Annotated[bool, Field(strict=True)]
    partition: Partition


class PhantomManifest(Manifest):
    """A cohort that the package draws itself."""

    patients: Annotated[int, Field(strict=True, ge=10)]


class TableManifest(Manifest):
    """Images in folders, described by one table with a row per image."""

    source: Annotated[str, Field(pattern=r"^https?://")]
    folders: InnerPaths
    table: InnerPaths
    images: InnerPaths
    image_suffix: Annotated[str, AfterValidator(_stay_inside)] = ""
    columns: Columns
    sex: Annotated[SexValues | None, Field(validate_default=True)] = None
    conflicting_sex: Annotated[
        Literal["error", "null", "drop"],
        BeforeValidator(lambda given: "null" if given is None else given),
    ] = "error"
    label: Annotated[ValuesLabel | ThresholdLabel | EqualsLabel, Field(discriminator="rule")]
    filters: tuple[Annotated[NumberFilter | TextFilter, Field(discriminator="rule")], ...] = ()

    @field_validator("sex")
    @classmethod
    def _know_the_words(cls, given: SexValues | None, info: ValidationInfo) -> SexValues | None:
        columns = info.data.get("columns")
        if columns and (columns.sex is None) != (given is None):
            raise ValueError("expected both or neither: columns.sex, and sex with its words")
        return given
