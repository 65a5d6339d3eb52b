"""How a verdict is read, and what an inconclusive one would need: more seeds, or patients."""

import math
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import t

from medunlearn.statistics.verdicts import INCONCLUSIVE

POWER = 0.80

FEASIBLE = 20
"""So many times the seeds or patients of this study are called out of reach."""


def read_verdicts(judged: pd.DataFrame) -> "pd.Series[str]":
    """The verdict in words: what is inconclusive, yet not near 0, suggests something.

    Args:
        judged: Contrasts as from ``verdicts.judge``, with ``claim``, ``partition`` and ``measure``.
    """
    beyond = (judged["unadjusted_low"] > 0) | (judged["unadjusted_high"] < 0)
    downwards = judged["claim"].isin(["C1", "C3"]) & (judged["partition"] != "forget")
    harm = downwards & (judged["measure"] != "brier") & (judged["estimate"] < 0)
    kinds = np.where(
        harm, *(f"suggests {what}, not confirmed" for what in ("harm", "a difference"))
    )
    suggests = (judged["verdict"] == INCONCLUSIVE) & beyond
    return judged["verdict"].mask(suggests, pd.Series(kinds, judged.index))


def settled_by(judged: pd.DataFrame) -> list[str]:
    """One short text for each inconclusive contrast, else empty.

    If the true contrast is the estimate, a study settles it with 80 % power once its standard
    error is at most (margin - |estimate|) / (t_{1 - b} + t_{.9}), for *equivalent*, or |estimate| /
    (t_{1 - a / 2} + t_{.8}), for *different*; a and b are the levels that the contrast was held to,
    and the easier one counts. More seeds divide the parts of the variance that are due to seeds
    and to the residual; more patients those that are due to patients and to the residual.

    Args:
        judged: As from ``verdicts.judge``, with ``partition``, ``seeds``, ``patients`` and the
            shares of the variance.
    """
    rows = zip(judged.to_dict("records"), judged["verdict"] == INCONCLUSIVE, strict=True)
    return [_needed(row) if is_open else "" for row, is_open in rows]


def _needed(row: Mapping[Hashable, Any]) -> str:
    size, free = abs(row["estimate"]), row["df"]
    of_difference, of_equivalence = row["level_difference"] / 2, row["level_equivalence"]
    different = size / (t.isf(of_difference, free) + t.isf(1 - POWER, free))
    equivalent = (row["margin"] - size) / (t.isf(of_equivalence, free) + t.isf(0.1, free))
    target = (np.nanmax([different, equivalent]) / row["standard_error"]) ** 2
    seed, patient, residual = (row[f"share_{part}"] for part in ("seed", "patient", "residual"))
    if not np.isfinite([seed, patient, residual]).all():
        return ""
    seeds = _times(patient, seed + residual, target)
    patients = _times(seed, patient + residual, target)
    if seeds <= FEASIBLE:
        return f"about {math.ceil(row['seeds'] * seeds)} seeds"
    if patients <= FEASIBLE:
        count = _round_up(row["patients"] * patients)
        return f"seeds cannot: about {count:,} {row['partition']} patients"
    return "more seeds and more patients together"


def _times(fixed: float, shrinking: float, target: float) -> float:
    """How many times more of one unit bring the variance to the target; infinite if none do."""
    return shrinking / (target - fixed) if target > fixed else math.inf


def _round_up(count: float) -> int:
    """To two digits."""
    step = 10 ** max(0, math.floor(math.log10(count)) - 1)
    return int(math.ceil(count / step) * step)
