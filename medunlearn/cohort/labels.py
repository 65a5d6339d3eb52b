"""Label rules: what a manifest may say of the classes, and how rows get their class by it."""

from abc import abstractmethod
from typing import Annotated, Literal

import pandas as pd
from pydantic import Field, ValidationInfo, field_validator

from medunlearn.cohort.cells import Wrong, read_numbers
from medunlearn.cohort.rules import Names, Part, Text

TwoClasses = Annotated[tuple[Text, ...], Field(min_length=2, max_length=2)]
MENTIONED = {"1": 1, "1.0": 1, "0": 0, "0.0": 0, "-1": -1, "-1.0": -1, "": None}


class Label(Part):
    """The classes in the order of their codes, and the one that counts as negative."""

    classes: Annotated[tuple[Text, ...], Field(min_length=2)]
    reference_class: Text

    @field_validator("reference_class", "empty", check_fields=False)
    @classmethod
    def _be_a_class(cls, given: str | None, info: ValidationInfo) -> str | None:
        if given is not None and given not in info.data.get("classes", [given]):
            raise ValueError(f"expected one of the classes {list(info.data['classes'])}")
        return given

    @property
    def reference_code(self) -> int:
        """Code of the reference class."""
        return self.classes.index(self.reference_class)


class _OneColumn(Label):
    """A rule for one column, whose empty cells are a fault, or of the class that is so stated."""

    column: Text
    empty: Text | None = None

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that the label is read from."""
        return (self.column,)

    def code(self, cells: pd.DataFrame, wrong: list[Wrong]) -> "pd.Series[float]":
        """Index of the class of each row; NaN where the rule leaves the row out.

        Args:
            cells: The rows as text.
            wrong: Gets what is wrong with which rows; their codes mean nothing.
        """
        given = cells[self.column]
        filled = given[given != ""]
        codes = self._code_filled(filled, wrong).astype(float).reindex(given.index)
        if self.empty is not None:
            return codes.where(given != "", self.classes.index(self.empty))
        remedy = "expected a label; fill the cell, filter the row out, or state label.empty"
        wrong.append(Wrong(given[given == ""], remedy))
        return codes

    @abstractmethod
    def _code_filled(self, given: "pd.Series[str]", wrong: list[Wrong]) -> pd.Series:
        """Index of the class of each cell, none of which is empty."""


class _Mapped(Label):
    mapping: Annotated[dict[Text, Text], Field(min_length=1)]

    @field_validator("mapping")
    @classmethod
    def _map_to_classes(cls, given: dict[str, str], info: ValidationInfo) -> dict[str, str]:
        classes = list(info.data.get("classes", given.values()))
        if unknown := [f"{value}: {name}" for value, name in given.items() if name not in classes]:
            raise ValueError(f"{unknown} map to no class: expected one of {classes}")
        return given


class ValuesLabel(_Mapped, _OneColumn):
    """Each value of the column is mapped to a class."""

    rule: Literal["values"]

    def _code_filled(self, given: "pd.Series[str]", wrong: list[Wrong]) -> pd.Series:
        remedy = f"expected one of {list(self.mapping)}; correct it, or add it to label.mapping"
        wrong.append(Wrong(given[~given.isin(list(self.mapping))], remedy))
        return given.map(self.mapping).map(self.classes.index, na_action="ignore")


class ThresholdLabel(_OneColumn):
    """A number: the first class at most, the second class above the threshold."""

    classes: TwoClasses
    rule: Literal["threshold"]
    above: float

    def _code_filled(self, given: "pd.Series[str]", wrong: list[Wrong]) -> pd.Series:
        return read_numbers(given, wrong) > self.above


class EqualsLabel(_OneColumn):
    """The first class where the column equals the value, the second for anything else."""

    classes: TwoClasses
    rule: Literal["equals"]
    value: Text

    def _code_filled(self, given: "pd.Series[str]", wrong: list[Wrong]) -> pd.Series:  # noqa: ARG002
        return given != self.value


class ContainsLabel(_OneColumn):
    """Joined findings: the second class where (one of) the finding(s) is among them.

    Findings are cut at the separator and stripped of blanks, brackets and quotes, so that
    ``A|B`` (separator ``|``) and ``['a', 'b']`` (separator ``,``) are both lists of two.
    """

    classes: TwoClasses
    rule: Literal["contains"]
    separator: Text
    value: Names

    def _code_filled(self, given: "pd.Series[str]", wrong: list[Wrong]) -> pd.Series:  # noqa: ARG002
        def find(text: str) -> bool:
            findings = {finding.strip(" []()'\"") for finding in text.split(self.separator)}
            return not findings.isdisjoint(self.value)

        return given.map({text: find(text) for text in given.unique()})


class MentionsLabel(Label):
    """Findings as 1 (present), 0 (absent), -1 (uncertain) or empty (not mentioned).

    A row is of the second class if one of the columns says present, else uncertain or not mentioned
    if one of them says so, else of the first class. The policies for uncertain ones are those of
    Irvin et al. 2019, CheXpert, AAAI, section 3: U-Zeroes, U-Ones and U-Ignore.
    """

    classes: TwoClasses
    rule: Literal["mentions"]
    columns: Names
    uncertain: Literal["zeros", "ones", "ignore"]
    unmentioned: Literal["zeros", "ignore"]

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that the label is read from."""
        return self.columns

    def code(self, cells: pd.DataFrame, wrong: list[Wrong]) -> "pd.Series[float]":
        """As that of the other rules."""
        policy = {"zeros": 0.0, "ones": 1.0, "ignore": float("nan")}
        given = cells[list(self.columns)]
        remedy = "expected 1, 0, -1 or an empty cell; correct it"
        wrong += [Wrong(cells[~cells.isin(list(MENTIONED))], remedy) for _, cells in given.items()]
        states = given.apply(lambda column: column.map(MENTIONED))
        codes = pd.Series(0.0, index=cells.index)
        codes[states.isna().any(axis=1)] = policy[self.unmentioned]
        codes[(states == -1).any(axis=1)] = policy[self.uncertain]
        codes[(states == 1).any(axis=1)] = 1.0
        return codes


class OneHotLabel(_Mapped):
    """One column per value, of which exactly one holds 1; the columns are mapped to classes."""

    rule: Literal["one_hot"]

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns that the label is read from."""
        return tuple(self.mapping)

    def code(self, cells: pd.DataFrame, wrong: list[Wrong]) -> "pd.Series[float]":
        """As that of the other rules."""
        numbers = pd.DataFrame({name: read_numbers(cells[name], wrong) for name in self.mapping})
        odd = cells[list(self.mapping)].agg(",".join, axis=1)[(numbers == 1).sum(axis=1) != 1]
        remedy = "expected exactly one 1 among them; correct it or filter the row out"
        wrong.append(Wrong(odd.rename(", ".join(self.mapping)), remedy))
        held = (numbers == 1).idxmax(axis=1).map(self.mapping)
        return held.map(self.classes.index).astype(float)


AnyLabel = Annotated[
    ValuesLabel | ThresholdLabel | EqualsLabel | ContainsLabel | MentionsLabel | OneHotLabel,
    Field(discriminator="rule"),
]
