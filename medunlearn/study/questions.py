"""What is asked of every method: the contrasts that answer the claims, and how they came out."""

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

WAYS = ("worse", "better", "alike", "open", NOT_TESTED)
"""How a contrast may come out; what is not estimable is open."""


@dataclass(frozen=True)
class Question:
    """One contrast that is asked of every method: a column of the verdict matrix.

    Args:
        claim: The claim that it belongs to.
        title: Heads its column.
        sentence: What is worse than after retraining, without its end.
        where: Its rows in the table of verdicts, by column and value.
        support: How a contrast comes out that supports the claim; empty if none does.
        ways: What an estimate below 0 means, and one above 0.
        beside: Whether it is a second measure of another one: answered, but no column.
    """

    claim: str
    title: str
    sentence: str
    where: Mapping[str, object]
    support: tuple[str, ...] = ("alike",)
    ways: tuple[str, str] = ("lower", "higher")
    beside: bool = False

    @property
    def heading(self) -> str:
        """The claim and the title."""
        return f"{self.claim.replace('audits', 'privacy')}: {self.title}"

    def rows(self, judged: pd.DataFrame) -> pd.DataFrame:
        """Its rows of unlearning methods, confirmatory ones first."""
        return methods_of(pick(judged, claim=self.claim, **self.where))

    def tally(self, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
        """Rows by how they came out, each in one place; of an attack more is the worse."""
        bad = (rows["estimate"] > 0) == (self.claim == "audits")
        known = {EQUIVALENT: "alike", NEGLIGIBLE: "alike", NOT_TESTED: NOT_TESTED}
        ways = rows["verdict"].map(known).fillna("open")
        ways[rows["verdict"] == DIFFERENT] = "better"
        ways[(rows["verdict"] == DIFFERENT) & bad] = "worse"
        return {way: rows[ways == way] for way in WAYS}

    def count(self, rows: pd.DataFrame) -> str:
        """How many methods support the claim, of confirmatory ones where there are any."""
        own = rows[rows["confirmatory"].astype(bool)]
        rows, kind = (own, "") if len(own) else (rows, ", exploratory")
        found = {way: len(some) for way, some in self.tally(rows).items()}
        if len(rows) == found[NOT_TESTED]:
            return "not tested" if len(rows) else "not measured"
        supported = sum(found[way] for way in self.support)
        others = found["worse"] + found["better"] + found["alike"] - supported
        told = f"supported {supported}, not {others}, open {found['open']}"
        told += f", not tested {silent}" if (silent := found[NOT_TESTED]) else ""
        return f"{told} (of {len(rows)}{kind})"

    def read(self, row: Mapping[Any, Any]) -> str:
        """The reading of a row; of a difference also its direction."""
        reading = str(row.get("reading", row["verdict"]))
        way = self.ways[row["estimate"] > 0]
        return f"{reading}: {way}" if row["verdict"] == DIFFERENT else reading


LOWER = ("women lower", "men lower")
PRIVACY = {"against": "retrained", "group": "all"}
FAMILIAR = ("less familiar", "easier to recognise")

QUESTIONS = {
    "retain": Question(
        "C1", "retain set", "Accuracy on the retain set is lower than after retraining",
        {"partition": "retain", "measure": "accuracy"}),
    "retain_probability": Question(
        "C1", "probability of the true class, retain set", "It is lower than after retraining",
        {"partition": "retain", "measure": "probability"}, beside=True),
    "forget": Question(
        "C1", "forget set", "Accuracy on the forget set is lower than after retraining",
        {"partition": "forget", "measure": "accuracy"}),
    "sexes": Question(
        "C2", "women and men, test set",
        "On the test set, compared with retraining, women end lower than men",
        {"contrast": "F - M", "partition": "test", "measure": "balanced_accuracy"}, ways=LOWER),
    "sexes_forget": Question(
        "C2", "women and men, forget set",
        "On the forget set, compared with retraining, women end lower than men",
        {"contrast": "F - M", "partition": "forget", "measure": "accuracy",
         "adjustment": ("label, difficulty", "label")}, ways=LOWER),
    **{
        f"{part}_probability": Question(
            "C2", f"probability of the true class, {part} set", "In it, women end lower than men",
            {"contrast": "F - M", "partition": part, "measure": "probability"},
            ways=LOWER, beside=True)
        for part in ("test", "forget")
    },
    "gap": Question(
        "C3", "test set", "Accuracy on the test set is lower than after retraining",
        {"contrast": "U - R"}, ("worse",)),
    "slope": Question(
        "C3", "larger forget sets",
        "As the forget set grows, accuracy falls further behind retraining",
        {"contrast": "slope of U - R"}, ("worse",), ("falls behind", "pulls ahead")),
    "difficulty": Question(
        "C4", "easy and hard",
        "On the test set, compared with retraining, hard patients end lower than easy ones",
        {"contrast": "hard - easy"}, ("worse", "better"),
        ("hard ones lower", "easy ones lower")),
    "privacy": Question(
        "audits", "membership attack",
        "Forgotten patients are easier to recognise than after retraining",
        PRIVACY | {"audit": "rmia"}, ways=FAMILIAR),
    "privacy_folded": Question(
        "audits", "membership attack, folded",
        "Where who became abnormally unlikely counts too, they are easier to recognise",
        PRIVACY | {"audit": "rmia_folded"}, (), FAMILIAR, beside=True),
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
