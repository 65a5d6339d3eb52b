"""What a manifest may say of rows: columns derived, tables joined, rows filtered, a split."""

import re
from string import Formatter
from typing import Annotated, Literal, Self

import pandas as pd
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from medunlearn.cohort.cells import Wrong, read_numbers

LEAVES_FOLDER = r"^[\\/~]|^[A-Za-z]:|(?:^|[\\/])\.\.(?:[\\/]|$)|\x00"


def stay_inside(path: str) -> str:
    """Refuse a path that is absolute or goes up."""
    if re.search(LEAVES_FOLDER, path):
        raise ValueError("expected a path inside the data root: remove '..' and the leading slash")
    return path


def _compile(pattern: str) -> str:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"is no regular expression ({error})") from None
    if groups != 1:
        raise ValueError(f"has {groups} groups in round brackets, expected 1: what to take")
    return pattern


def _check_template(template: str) -> str:
    if "{" not in template or re.search(
        "[{}]", re.sub(r"\{(?!\d+[:}])[^{}.\[\]!:]+(:\.\d+)?\}", "", template)
    ):
        raise ValueError("expected columns as {column}, or {column:.2} for two letters of it")
    return template


def _name_both(given: object) -> object:
    """``a`` or ``[a, b]`` as ``{a: a, b: b}``."""
    names = [given] if isinstance(given, str) else given
    return {name: name for name in names} if isinstance(names, list) else names


Text = Annotated[str, Field(min_length=1)]
OneOrMore = BeforeValidator(lambda given: [given] if isinstance(given, str) else given)
Names = Annotated[tuple[Text, ...], OneOrMore, Field(min_length=1)]
InnerPath = Annotated[Text, AfterValidator(stay_inside)]
InnerPaths = Annotated[tuple[InnerPath, ...], OneOrMore, Field(min_length=1)]


class Part(BaseModel):
    """A group of fields: no unknown ones, none changed later, no infinite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Extracted(Part):
    """A new column: what the group of a regular expression finds in another column.

    Of several columns it is the first that is not empty in a row. Where all are, it is empty; where
    nothing is found it is a fault, or empty if so said.
    """

    column: Text
    rule: Literal["extract"]
    source: Names
    pattern: Annotated[Text, AfterValidator(_compile)] = "(.*)"
    unmatched: Literal["error", "empty"] = "error"

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that it is made of."""
        return self.source

    def make(self, cells: pd.DataFrame, wrong: list[Wrong]) -> "pd.Series[str]":
        """The new column."""
        given = cells[self.source[0]]
        for source in self.source[1:]:
            given = given.where(given != "", cells[source])
        found = given.str.extract(self.pattern, expand=False)
        if self.unmatched == "error":
            remedy = f"expected to find {self.pattern!r} in it; correct it, or derive.pattern"
            wrong.append(Wrong(given[found.isna() & (given != "")], remedy))
        return found.fillna("")


class Composed(Part):
    """A new column: other columns put together, as ``p{subject_id:.2}/p{subject_id}``."""

    column: Text
    rule: Literal["compose"]
    template: Annotated[Text, AfterValidator(_check_template)]

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that it is made of."""
        return tuple(name for _, name, _, _ in Formatter().parse(self.template) if name)

    def make(self, cells: pd.DataFrame, wrong: list[Wrong]) -> "pd.Series[str]":  # noqa: ARG002
        """The new column."""
        rows = cells[list(dict.fromkeys(self.needed))].to_dict("records")
        return pd.Series([self.template.format_map(row) for row in rows], cells.index, dtype="str")


class Join(Part):
    """Columns of another table, found by columns that both have; or by ours: theirs."""

    table: InnerPaths
    by: Annotated[dict[Text, Text], BeforeValidator(_name_both), Field(min_length=1)]
    columns: Names
    unmatched: Literal["error", "empty", "drop"] = "error"

    @property
    def needed(self) -> tuple[str, ...]:
        """Our columns that it is found by."""
        return tuple(self.by)


AnyDerived = Annotated[Extracted | Composed, Field(discriminator="rule")]
Step = Extracted | Composed | Join


def made_by(step: Step) -> tuple[str, ...]:
    """The columns that a step adds."""
    if isinstance(step, Join):
        return tuple(name for name in step.columns if name not in step.by)
    return (step.column,)


class NumberFilter(Part):
    """Keeps rows whose number is above or below the value."""

    column: Text
    rule: Literal["above", "below"]
    value: float

    def keep(self, cells: pd.DataFrame, wrong: list[Wrong]) -> "pd.Series[bool]":
        """Whether each row is kept."""
        numbers = read_numbers(cells[self.column], wrong)
        return numbers > self.value if self.rule == "above" else numbers < self.value


class TextFilter(Part):
    """Keeps rows whose text is (one of) the value(s), or is none of them."""

    column: Text
    rule: Literal["equals", "one_of", "none_of"]
    value: Annotated[tuple[str, ...], OneOrMore, Field(min_length=1)]

    def keep(self, cells: pd.DataFrame, wrong: list[Wrong]) -> "pd.Series[bool]":  # noqa: ARG002
        """Whether each row is kept."""
        held = cells[self.column].isin(self.value)
        return ~held if self.rule == "none_of" else held


AnyFilter = Annotated[NumberFilter | TextFilter, Field(discriminator="rule")]


Official = Literal["train", "validation", "test", "train+validation"]


class Split(Part):
    """The official split: a column whose values are mapped to partitions, or lists of images.

    Patients of ``train+validation`` are drawn into the two by their shares.

    Args:
        column: Holds the words of the mapping, or what the lists hold.
        mapping: Word to partition.
        lists: Text files with one entry a line, each with its partition.
    """

    column: Text
    mapping: Annotated[dict[str, Official], Field(min_length=1)] | None = None
    lists: Annotated[dict[InnerPath, Official], Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _have_one_rule(self) -> Self:
        if (self.mapping is None) == (self.lists is None):
            raise ValueError("expected one of the two: mapping or lists")
        return self
