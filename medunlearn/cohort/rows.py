"""What is done to rows before they are coded: columns derived, tables joined, rows filtered."""

import string
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

import pandas as pd
from pydantic import AfterValidator, BeforeValidator, Field

from medunlearn.cohort.cells import Wrong, read_csv, read_numbers
from medunlearn.cohort.fields import InnerPaths, Names, Part, Pattern, Text
from medunlearn.errors import InputError


def _check_template(template: str) -> str:
    """Only ``{column}`` and ``{column:.2}``, its first two letters: no attribute or conversion."""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise ValueError(f"is no template ({error})") from None
    for _, name, form, conversion in parts:
        plain = name is None or (name and not set(name) & set(".[]{}"))
        if not plain or conversion or (form and not form.removeprefix(".").isdecimal()):
            raise ValueError("expected columns as {column}, or {column:.2} for two letters of it")
    return template


class Extracted(Part):
    """A new column: what the group of a regular expression finds in another column.

    An empty cell stays empty; where nothing is found it is a fault, or empty if so said.
    """

    column: Text
    rule: Literal["extract"]
    source: Text
    pattern: Pattern
    unmatched: Literal["error", "empty"] = "error"

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that it is made of."""
        return (self.source,)

    def make(self, cells: pd.DataFrame, wrong: list[Wrong]) -> "pd.Series[str]":
        """The new column."""
        given = cells[self.source]
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
        return tuple(name for _, name, *_ in string.Formatter().parse(self.template) if name)

    def make(self, cells: pd.DataFrame, wrong: list[Wrong]) -> "pd.Series[str]":  # noqa: ARG002
        """The new column."""
        rows = cells[list(self.needed)].to_dict("records")
        made = [self.template.format_map(row) for row in rows]
        return pd.Series(made, index=cells.index, dtype="str")


class First(Part):
    """A new column: of several columns the first that is not empty."""

    column: Text
    rule: Literal["first"]
    sources: Annotated[Names, Field(min_length=2)]

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that it is made of."""
        return self.sources

    def make(self, cells: pd.DataFrame, wrong: list[Wrong]) -> "pd.Series[str]":  # noqa: ARG002
        """The new column."""
        made = cells[self.sources[0]]
        for source in self.sources[1:]:
            made = made.where(made != "", cells[source])
        return made


Derived = Annotated[Extracted | Composed | First, Field(discriminator="rule")]


class Join(Part):
    """Columns of another table, found by columns that both have; or by ours: theirs."""

    table: InnerPaths
    by: Annotated[
        dict[Text, Text],
        BeforeValidator(lambda given: {given: given} if isinstance(given, str) else given),
        BeforeValidator(
            lambda given: {name: name for name in given} if isinstance(given, list) else given
        ),
        Field(min_length=1),
    ]
    columns: Names
    unmatched: Literal["error", "empty", "drop"] = "error"


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
    value: Names

    def keep(self, cells: pd.DataFrame, wrong: list[Wrong]) -> "pd.Series[bool]":  # noqa: ARG002
        """Whether each row is kept."""
        held = cells[self.column].isin(self.value)
        return ~held if self.rule == "none_of" else held


def derive_columns(
    frame: pd.DataFrame, derived: Sequence[Extracted | Composed | First], wrong: list[Wrong]
) -> pd.DataFrame:
    """Add those derived columns whose sources are there; the others wait for a join."""
    for rule in derived:
        if rule.column not in frame and set(rule.needed) <= set(frame):
            frame = frame.assign(**{rule.column: rule.make(frame, wrong)})
    return frame


def join_table(frame: pd.DataFrame, join: Join, path: Path, wrong: list[Wrong]) -> pd.DataFrame:
    """Add the columns of another table; a row there may be repeated if it says the same.

    Raises:
        InputError: The table cannot be read, or says two things of one row.
    """
    ours, theirs = list(join.by), list(join.by.values())
    taken = [name for name in join.columns if name not in theirs]
    other = read_csv(path, [*theirs, *taken]).drop_duplicates()
    twice = other[other.duplicated(theirs)]
    if len(twice):
        key = ", ".join(twice.iloc[0][theirs])
        fault = f"row {twice.index[0]}: {key!r} is there twice, with different {taken}"
        raise InputError(str(path), [f"{fault}; keep one of these rows"])
    keys = frame[ours].set_axis(theirs, axis=1)
    found = keys.merge(other, how="left", on=theirs, indicator="found").set_axis(frame.index)
    there = found["found"] == "both"
    if join.unmatched == "error":
        missing = frame[ours].agg(", ".join, axis=1)[~there].rename(", ".join(ours))
        remedy = f"{path.name} has no such {', '.join(theirs)}; add it, or set join.unmatched"
        wrong.append(Wrong(missing, remedy))
    joined = frame.assign(**{name: found[name].fillna("") for name in taken})
    return joined[there] if join.unmatched == "drop" else joined


def filter_rows(
    frame: pd.DataFrame, filters: Sequence[NumberFilter | TextFilter], wrong: list[Wrong]
) -> pd.DataFrame:
    """The rows that every filter keeps."""
    keep = pd.Series(True, index=frame.index)
    for rule in filters:
        keep &= rule.keep(frame, wrong)
    return frame[keep]
