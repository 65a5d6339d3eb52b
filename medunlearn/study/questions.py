"""What is asked of every method: the contrasts that answer the claims."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

from medunlearn.evaluation.yardsticks import FLOOR, NOTHING, RETRAINED
from medunlearn.statistics.verdicts import (
    DIFFERENT,
    EQUIVALENT,
    FEW_SEEDS,
    INCONCLUSIVE,
    NEGLIGIBLE,
    NOT_TESTED,
)

SYMBOLS = {EQUIVALENT: "=", NEGLIGIBLE: "≈", DIFFERENT: "≠", INCONCLUSIVE: "?", NOT_TESTED: "-"}
"""Of verdicts, always beside their words."""

UNCHANGED, CHANGED = (EQUIVALENT, NEGLIGIBLE), (DIFFERENT,)


@dataclass(frozen=True)
class Question:
    """One contrast that is asked of every method: a column of the verdict matrix.

    Args:
        claim: The claim that it belongs to.
        title: Heads its column.
        where: Its rows in the table of verdicts, by column and value.
        supported_by: Verdicts that support the claim.
        ways: What an estimate below 0 means, and one above 0.
        downwards: Whether the claim is about a loss.
        beside: Whether it is a second measure of another one: answered, but no column.
    """

    claim: str
    title: str
    where: Mapping[str, object]
    supported_by: tuple[str, ...]
    ways: tuple[str, str] = ("lower", "higher")
    downwards: bool = False
    beside: bool = False

    def rows(self, judged: pd.DataFrame) -> pd.DataFrame:
        """Its rows of unlearning methods, confirmatory ones first."""
        return methods_of(pick(judged, claim=self.claim, **self.where))

    def supporting(self, rows: pd.DataFrame) -> pd.DataFrame:
        """The rows that support the claim."""
        agrees = rows["verdict"].isin(self.supported_by)
        return rows[agrees & (rows["estimate"] < 0)] if self.downwards else rows[agrees]

    def read(self, row: Mapping[Any, Any]) -> str:
        """The reading of a row; of a difference also its direction."""
        reading = str(row.get("reading", row["verdict"]))
        way = self.ways[row["estimate"] > 0]
        return f"{reading}: {way}" if row["verdict"] == DIFFERENT else reading


def _sexes(title: str, part: str, measure: str, **more: object) -> Question:
    where = {"contrast": "F - M", "partition": part, "measure": measure, **more}
    ways, beside = ("women lose more", "men lose more"), measure == "probability"
    return Question("C2", title, where, UNCHANGED, ways, beside=beside)


QUESTIONS = {
    "retain": Question(
        "C1", "retain set", {"partition": "retain", "measure": "accuracy"}, UNCHANGED),
    "forget": Question(
        "C1", "forget set", {"partition": "forget", "measure": "accuracy"}, UNCHANGED),
    "sexes": _sexes("women and men, test set", "test", "balanced_accuracy"),
    "sexes_forget": _sexes(
        "women and men, forget set", "forget", "accuracy",
        adjustment=("label, difficulty", "label")),
    "sexes_probability": _sexes(
        "probability of the true class, test set", "test", "probability"),
    "sexes_forget_probability": _sexes(
        "probability of the true class, forget set", "forget", "probability"),
    "gap": Question("C3", "test set", {"contrast": "U - R"}, CHANGED, downwards=True),
    "slope": Question(
        "C3", "larger forget sets", {"contrast": "slope of U - R"}, CHANGED,
        ("falls behind", "gains"), downwards=True),
    "difficulty": Question(
        "C4", "easy and hard", {"contrast": "hard - easy"}, CHANGED,
        ("hard lose more", "easy lose more")),
    "privacy": Question(
        "audits", "membership attack",
        {"audit": "rmia", "against": "retrained", "group": "all"}, UNCHANGED,
        ("harder to recognise", "easier to recognise")),
}  # fmt: skip
"""What the report answers, in its order."""


def pick(judged: pd.DataFrame, **where: object) -> pd.DataFrame:
    """The rows with these values, or one of a tuple of them; confirmatory methods first."""
    rows = judged if set(where) <= set(judged) else judged.iloc[:0]
    for column, value in where.items():
        any_of = value if isinstance(value, tuple) else (value,)
        rows = rows[rows[column].isin(any_of)] if len(rows) else rows
    return rows.sort_values("confirmatory", ascending=False, kind="stable")


def methods_of(rows: pd.DataFrame) -> pd.DataFrame:
    """Unlearning methods alone: neither set B, nor doing nothing, nor retraining."""
    return rows[~rows["method"].isin([NOTHING, FLOOR, RETRAINED])]


def is_demonstration(judged: pd.DataFrame) -> bool:
    """Whether the study has too few seeds for any verdict, whatever its controls say."""
    few = judged["refused"].str.contains(FEW_SEEDS, regex=False).any()
    return bool(few and (judged["verdict"] == NOT_TESTED).all())
