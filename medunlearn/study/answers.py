"""The answer to each claim in a sentence, generated from the verdicts: none is written by hand."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from medunlearn.evaluation.lineups import FLOOR, NOTHING, RETRAINED
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


def answer_sexes(verdicts: pd.DataFrame) -> str:
    """C2: is any method biased against women or men?"""
    confirmatory = pick(verdicts, claim="C2", confirmatory=True)
    if confirmatory.empty:
        return "C2 is skipped: the cohort does not tell the patients' sex, or holds one only."
    parts = [
        f"- **{part} set**: {_tally(pick(confirmatory, partition=part))}"
        for part in ("test", "forget")
    ]
    tested = confirmatory[confirmatory["verdict"] != NOT_TESTED]
    if len(tested):
        parts.append(f"- **Together**: {_jointly(confirmatory)}")
    return _answer("C2, gap of women minus gap of men", parts, confirmatory)


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
    rows = pick(verdicts, claim="C4", contrast="hard - easy", confirmatory=True)
    if rows.empty:
        return "C4 is skipped: difficulty was not measured, for want of reference models."
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
            "What would change it: the inconclusive ones could be called equivalent, were they so, "
            f"at margins of {least} to {most} points (settled: {margins}); "
            "more patients and more seeds bring these down.",
        ]
    return "\n".join(lines)


def _tally(rows: pd.DataFrame, show: Callable[[Mapping[Any, Any]], str] = points) -> str:
    """How many methods got which verdict, and which; reasons where nothing was tested."""
    methods = _methods(rows)
    if methods.empty:
        return "nothing to compare."
    tested = methods[methods["verdict"] != NOT_TESTED]
    if tested.empty:
        reasons = "; ".join(dict.fromkeys(methods["refused"]))
        return f"**not tested** ({reasons})."
    told = []
    for verdict in SPOKEN:
        some = tested[tested["verdict"] == verdict]
        if len(some):
            names = ", ".join(
                f"{label_of(str(row['method']))} {show(row)}" for row in some.to_dict("records")
            )
            told.append(f"**{verdict}** {len(some)} of {len(tested)}: {names}")
    return "; ".join(told) + "."


def _methods(rows: pd.DataFrame) -> pd.DataFrame:
    """Unlearning methods alone: neither the floor, nor doing nothing, nor retraining."""
    return rows[~rows["method"].isin([NOTHING, FLOOR, RETRAINED])]


def _jointly(rows: pd.DataFrame) -> str:
    """The one sentence everybody wants, only where it is proven."""
    if none_is_biased(rows):
        return (
            "no method is biased by more than the margins (every single test of equivalence holds)."
        )
    if (rows["verdict"] == DIFFERENT).any():
        return "some method *is* biased."
    return "that no method is biased is **not shown**: not every test of equivalence holds."


def _p(value: float) -> str:
    if not np.isfinite(value):
        return "-"
    return "<0.001" if value < 0.001 else f"{value:.3f}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}" if np.isfinite(share) else "-"
