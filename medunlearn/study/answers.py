"""The answer to each claim in a sentence, generated from the verdicts: none is written by hand."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from medunlearn.evaluation.measurements import FLOOR, NOTHING, RETRAINED
from medunlearn.figures.style import label_of
from medunlearn.statistics.verdicts import (
    DIFFERENT,
    EQUIVALENT,
    INCONCLUSIVE,
    NEGLIGIBLE,
    NOT_ESTIMABLE,
    NOT_TESTED,
    none_is_biased,
)

SPOKEN = (EQUIVALENT, NEGLIGIBLE, DIFFERENT, INCONCLUSIVE, NOT_ESTIMABLE)
VERDICTS = (*SPOKEN, NOT_TESTED)


def pick(verdicts: pd.DataFrame, **where: object) -> pd.DataFrame:
    """The rows with these values, confirmatory methods first."""
    rows = verdicts
    for column, value in where.items():
        rows = rows[rows[column] == value]
    return rows.sort_values("confirmatory", ascending=False, kind="stable")


def answer_utility(verdicts: pd.DataFrame) -> str:
    """C1: do methods do on retain and forget set what retraining does?"""
    parts = [
        f"- **{part} set**: {_tally(pick(verdicts, claim='C1', partition=part, measure=measure))}"
        for part, measure in (("retain", "accuracy"), ("retain", "brier"), ("forget", "accuracy"))
    ]
    parts[1] = parts[1].replace("retain set", "retain set, Brier score")
    return _answer("C1, exploratory, against retraining", parts)


def answer_sexes(verdicts: pd.DataFrame, confirmatory: Sequence[str]) -> str:
    """C2: is any method biased against women or men?

    Args:
        verdicts: Judged contrasts.
        confirmatory: Methods named before results: the joint sentence needs all of them.
    """
    if not (verdicts["claim"] == "C2").any():
        return "C2 is skipped: the cohort does not tell the patients' sex, or holds one only."
    rows = pick(verdicts, claim="C2", confirmatory=True)
    if rows.empty:
        return "C2 is **not tested**: no method named as confirmatory was run."
    parts = [
        f"- **{part} set**: {_tally(pick(rows, partition=part))}" for part in ("test", "forget")
    ]
    asked = {(method, part) for method in confirmatory for part in ("test", "forget")}
    found = set(rows[["method", "partition"]].itertuples(index=False, name=None))
    if (rows["verdict"] != NOT_TESTED).any():
        parts.append(f"- **Together**: {_jointly(rows, len(asked - found))}")
    return _answer("C2, gap of women minus gap of men", parts, rows)


def answer_generalisation(verdicts: pd.DataFrame) -> str:
    """C3: does unlearning cost generalisation, and more so for larger forget sets?"""
    slopes = pick(verdicts, claim="C3", contrast="slope of U - R", confirmatory=True)
    gaps = pick(verdicts, claim="C3", contrast="U - R")
    parts = [
        f"- **slope per doubling of the forget set**: {_tally(slopes, per_doubling)}",
        f"- **gap at the middle size** (exploratory): {_tally(gaps)}",
    ]
    own = pick(verdicts, claim="C3", contrast="U - O", method="retrain")
    parts += [f"- retraining itself changes by {points(row)}" for row in own.to_dict("records")]
    return _answer("C3, accuracy on the test set against retraining", parts, slopes)


def answer_difficulty(verdicts: pd.DataFrame) -> str:
    """C4: are easy or hard patients treated differently?"""
    if not (verdicts["claim"] == "C4").any():
        return "C4 is skipped: difficulty was not measured, for want of reference models."
    rows = pick(verdicts, claim="C4", contrast="hard - easy", confirmatory=True)
    parts = [f"- **test set**: {_tally(rows)}"]
    spared = pick(verdicts, claim="C4", contrast="gap, unmemorised")
    parts += [f"- forgotten patients whom nobody had memorised (exploratory): {_tally(spared)}"]
    return _answer("C4, gap of hard minus gap of easy patients", parts, rows)


def answer_privacy(audits: pd.DataFrame, attack: str = "rmia") -> str:
    """Is it still known that the forgotten patients were trained on?"""
    rows = pick(audits, audit=attack, against="retrained", group="all")
    folded = pick(audits, audit=f"{attack}_folded", against="retrained", group="all")
    parts = [
        f"- **remembered**: {_tally(rows)}",
        f"- **conspicuous, as remembered or as abnormally unlikely**: {_tally(folded)}",
    ]
    return _answer("Attack (RMIA), excess area over retraining, exploratory", parts)


def points(row: Mapping[Any, Any], unit: str = "") -> str:
    """Percentage points with the interval; where there is none, the estimate alone."""
    estimate, low, high = (100 * row[name] for name in ("estimate", "low", "high"))
    shown = f"{estimate:+.1f}{unit}"
    return f"{shown} ({low:+.1f} to {high:+.1f})" if np.isfinite(low) else shown


def level_points(row: Mapping[Any, Any]) -> str:
    """Per cent with the interval: a level, not a difference."""
    return points(row).replace("+", "")


def summarise(verdicts: pd.DataFrame) -> pd.DataFrame:
    """All claims at a glance: how many methods got which verdict in the contrast that counts."""
    asked: dict[str, dict[str, object]] = {
        "C1 does well on the retain set (equivalent)": {
            "claim": "C1", "partition": "retain", "measure": "accuracy"},
        "C1 does well on the forget set (equivalent)": {
            "claim": "C1", "partition": "forget", "measure": "accuracy"},
        "C2 no bias between the sexes, test set (equivalent)": {
            "claim": "C2", "partition": "test", "confirmatory": True},
        "C2 no bias between the sexes, forget set (equivalent)": {
            "claim": "C2", "partition": "forget", "confirmatory": True},
        "C3 worse for larger forget sets (different, downwards)": {
            "claim": "C3", "contrast": "slope of U - R", "confirmatory": True},
        "C4 bias between easy and hard, test set (different)": {
            "claim": "C4", "contrast": "hard - easy", "confirmatory": True},
    }  # fmt: skip
    rows = {claim: _methods(pick(verdicts, **where)) for claim, where in asked.items()}
    counts = pd.DataFrame(
        {
            claim: {verdict: int((found["verdict"] == verdict).sum()) for verdict in VERDICTS}
            for claim, found in rows.items()
        }
    ).T
    counts.insert(0, "methods", [len(found) for found in rows.values()])
    downwards = [
        int((found["verdict"].isin([DIFFERENT, NEGLIGIBLE]) & (found["estimate"] < 0)).sum())
        for found in rows.values()
    ]
    counts.insert(1 + list(counts).index(DIFFERENT), "of these downwards", downwards)
    return counts.rename_axis("claim (supported by)")


def per_doubling(row: Mapping[Any, Any]) -> str:
    """A slope, in points per doubling."""
    return points(row, " per doubling")


def verdict_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Estimates, tests and verdicts for reading, one line a method."""
    shown = {
        "estimate (95 % interval)": [points(row) for row in rows.to_dict("records")],
        "p different": rows["p_difference_adjusted"].map(_p).to_numpy(),
        "p equivalent": rows["p_equivalence_adjusted"].map(_p).to_numpy(),
        "margin": rows["margin"].map(_percent).to_numpy(),
        "reachable": rows["reachable_margin"].map(_percent).to_numpy(),
        "verdict": rows["verdict"].to_numpy(),
    }  # fmt: skip
    index = [label_of(method) for method in rows["method"]]
    return pd.DataFrame(shown, index=pd.Index(index, name="method"))


def _answer(head: str, parts: list[str], rows: pd.DataFrame | None = None) -> str:
    """The answer, and what would change it."""
    lines = [f"**{head}:**", "", *parts]
    if rows is not None and (rows["verdict"] == INCONCLUSIVE).any():
        open_rows = rows[rows["verdict"] == INCONCLUSIVE]
        margins = ", ".join(sorted({_percent(margin) for margin in open_rows["margin"]}))
        least, most = (_percent(f(open_rows["reachable_margin"])) for f in (min, max))
        lines += [
            "",
            "What would change it: four of five studies of this size would call a method that is "
            f"like retraining *equivalent* at margins of {least} to {most} points (settled: "
            f"{margins}), before the correction for several methods, which asks for more; more "
            "patients and more seeds bring these down.",
        ]
    return "\n".join(lines)


def _tally(rows: pd.DataFrame, show: Callable[[Mapping[Any, Any]], str] = points) -> str:
    """How many methods got which verdict, and which; reasons where nothing was tested."""
    methods = _methods(rows)
    if methods.empty:
        return "nothing to compare."
    told = []
    for verdict in SPOKEN:
        some = methods[methods["verdict"] == verdict]
        if len(some):
            names = ", ".join(
                f"{label_of(str(row['method']))} {show(row)}" for row in some.to_dict("records")
            )
            told.append(f"**{verdict}** {len(some)} of {len(methods)}: {names}")
    silent = methods[methods["verdict"] == NOT_TESTED]
    if len(silent):
        broken = silent["estimate"].isna().map({True: "a model has blown up", False: ""})
        reasons = silent["refused"].where(silent["refused"] != "", broken)
        names = ", ".join(label_of(str(method)) for method in silent["method"])
        who = "" if len(silent) == len(methods) else f" {len(silent)} of {len(methods)}: {names}"
        told.append(f"**not tested**{who} ({'; '.join(dict.fromkeys(reasons))})")
    return "; ".join(told) + "."


def _methods(rows: pd.DataFrame) -> pd.DataFrame:
    """Unlearning methods alone: neither the floor, nor doing nothing, nor retraining."""
    return rows[~rows["method"].isin([NOTHING, FLOOR, RETRAINED])]


def _jointly(rows: pd.DataFrame, absent: int) -> str:
    """The one sentence everybody wants, only where it is proven, and of whom it is proven."""
    different = rows["verdict"].isin([DIFFERENT]).any()
    if none_is_biased(rows) and not absent and not different:
        count = rows["method"].nunique()
        return (
            f"none of the {count} confirmatory methods is biased by more than the margins "
            "(every single test of equivalence holds)."
        )
    if different:
        return "some method *is* biased."
    missing = f"; {absent} of them are missing" if absent else ""
    return (
        f"that no method is biased is **not shown**: not every test of equivalence holds{missing}."
    )


def _p(value: float) -> str:
    if not np.isfinite(value):
        return "-"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}" if np.isfinite(share) else "-"
