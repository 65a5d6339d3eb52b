"""The contrasts that the claims rest on: what is asked, of whom, and whether it may be judged.

Confirmatory contrasts are those of a few methods named before results are seen, on the random
forget set of the middle size; everything else is exploratory. Verdicts are given in
`statistics.verdicts`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medunlearn.evaluation.adjustment import (
    adjusted_difference,
    age_standardised_difference,
    covariates,
)
from medunlearn.evaluation.difficulty import RELIABLE
from medunlearn.evaluation.measurements import (
    FLOOR,
    NOTHING,
    RETRAINED,
    LineUp,
    Measurements,
    has_gap,
    line_ups,
    middle_line_ups,
)
from medunlearn.evaluation.subsets import UNMEMORISED
from medunlearn.statistics.intervals import Interval, contrast_interval, slope_interval
from medunlearn.statistics.verdicts import Terms, refuse

LABEL, AGE = "label, difficulty", "age"
"""What a difference of the sexes may be adjusted for."""


@dataclass(frozen=True)
class Contrast:
    """A weighted sum of the mean gaps of groups of patients.

    Args:
        claim: C1 utility, C2 sexes, C3 generalisation, C4 difficulty.
        name: As the table has it.
        part: Whose patients.
        measure: One of ``MEASURES``.
        groups: Of patients.
        weights: Of each group's mean gap.
        primary: Confirmatory for the methods that are.
        adjusted: For ``LABEL``, ``AGE`` or nothing.
        never: Why it carries no verdict, whatever the study.
    """

    claim: str
    name: str
    part: str
    measure: str = "accuracy"
    groups: tuple[str, ...] = ("all",)
    weights: tuple[int, ...] = (1,)
    primary: bool = False
    adjusted: str = ""
    never: str = ""


def _sexes(part: str, measure: str, *, primary: bool = False, adjusted: str = "") -> Contrast:
    return Contrast("C2", "F - M", part, measure, ("F", "M"), (1, -1), primary, adjusted)


BALANCED = "balanced_accuracy"
OF_SEXES = (BALANCED, "accuracy", "true_positive_rate", "false_positive_rate", "brier")
BY_CONSTRUCTION = "doing nothing differs here by construction: read it beside floor and ceiling"

CONTRASTS = (
    # decisions saturate, probabilities do not
    *(Contrast("C1", "gap", part, measure)
      for part in ("retain", "forget") for measure in ("accuracy", "brier", "confidence")),
    *(_sexes("forget", measure) for measure in OF_SEXES),
    _sexes("forget", "accuracy", primary=True, adjusted=LABEL),  # groups are small: balance them
    *(_sexes("retain", measure) for measure in OF_SEXES),
    *(_sexes("test", measure, primary=measure == BALANCED) for measure in OF_SEXES),
    _sexes("test", "accuracy", adjusted=AGE),
    Contrast("C4", "hard - easy", "test", groups=("hard", "easy"), weights=(1, -1), primary=True),
    Contrast("C4", "(F hard - F easy) - (M hard - M easy)", "test",
             groups=("F hard", "F easy", "M hard", "M easy"), weights=(1, -1, -1, 1)),
    *(Contrast("C4", f"gap, {group}", "forget", groups=(group,), never=BY_CONSTRUCTION)
      for group in ("hard", "easy")),
    Contrast("C4", f"gap, {UNMEMORISED}", "forget", groups=(UNMEMORISED,)),
)  # fmt: skip
"""Of each method at the middle size."""


def measure_contrasts(measurements: Measurements, terms: Terms) -> pd.DataFrame:
    """Every contrast of claims C1 to C4.

    Returns:
        One row for each ``claim``, ``contrast``, ``partition``, ``measure``, ``adjustment`` and
        ``method``: ``estimate``, ``low``, ``high``, ``standard_error``, ``df``, ``seeds``,
        ``patients``, and for `verdicts.judge` ``family``, ``confirmatory``, ``margin`` and
        ``refused``.
    """
    rows = []
    for line_up in middle_line_ups(measurements.models, terms.middle_size).values():
        for one in CONTRASTS if has_gap(line_up.method) else ():
            if measurements.has(line_up, one.part, one.groups):
                found, adjustment = _estimate(measurements, line_up, one)
                patients = measurements.patients(line_up, one.part, one.groups)
                if found:
                    names = {"method": line_up.method, "adjustment": adjustment}
                    rows.append(_row(terms, one, found, patients, **names))
    return pd.DataFrame([*rows, *_generalisation(measurements, terms)])


def _estimate(
    measurements: Measurements, line_up: LineUp, one: Contrast
) -> tuple[Interval | None, str]:
    """The interval, and what it is adjusted for; none where ages are not known."""
    if not one.adjusted:
        return measurements.interval(line_up, one.part, one.measure, one.groups, one.weights), ""
    table = covariates(measurements, line_up.runs[0].draw, one.part)
    gaps = np.stack(measurements.gaps(line_up, one.part, "all", one.measure))
    if one.adjusted == AGE:
        return age_standardised_difference(table, gaps, level=measurements.level), AGE
    return adjusted_difference(table, gaps, level=measurements.level)


def _row(
    terms: Terms,
    one: Contrast,
    found: Interval,
    patients: int,
    *,
    method: str,
    adjustment: str = "",
    margin: str = "",
    missing: str = "",
) -> dict[str, object]:
    """A contrast as a row of the table; the first reason against a verdict is the one told."""
    unreliable = _unreliable(terms.reliability) if one.claim == "C4" else ""
    return {
        "claim": one.claim,
        "contrast": one.name,
        "partition": one.part,
        "measure": one.measure,
        "adjustment": adjustment,
        "method": method,
        "refused": one.never or refuse(terms, found.runs, patients) or unreliable or missing,
        **found.columns,
        "margin": terms.margins[margin or one.part],
        "confirmatory": one.primary and method in terms.confirmatory,
        "family": one.claim,
    }


def _unreliable(reliability: float) -> str:
    if np.isnan(reliability):
        return "how reliable difficulty is was not measured"
    low = f"split-half reliability of difficulty is {reliability:.2f}, below {RELIABLE}"
    return low if reliability < RELIABLE else ""


def _generalisation(measurements: Measurements, terms: Terms) -> Iterator[dict[str, object]]:
    """C3: the gap on the test set, and its slope per doubling of the forget size.

    Beside the gap U - R stands U - O, what a clinic would see; of retraining itself, which loses
    patients to learn from, that is R - O. Test patients are the same at every size.
    """
    gaps: dict[str, dict[float, pd.DataFrame]] = {}
    for cell in line_ups(measurements.models):
        if cell.composition == "random" and (has_gap(cell.method) or cell.method == RETRAINED):
            values = measurements.gaps(cell, "test", "all", "accuracy")
            by_seed = pd.DataFrame(values, index=[run.seed for run in cell.runs])
            gaps.setdefault(cell.method, {})[cell.forget_size] = by_seed
    nothing = gaps.get(NOTHING, {})
    for method, own in gaps.items():
        if method != RETRAINED:
            yield from _of_sizes(measurements.level, terms, method, "U - R", own)
        if method not in {NOTHING, FLOOR} and own.keys() <= nothing.keys():
            # U - O = (U - R) - (O - R), of the seeds that have both
            changes = {size: (own[size] - nothing[size]).dropna(how="all") for size in own}
            yield from _of_sizes(measurements.level, terms, method, "U - O", changes)


def _of_sizes(
    level: float, terms: Terms, method: str, name: str, values: dict[float, pd.DataFrame]
) -> Iterator[dict[str, object]]:
    """The mean at the middle size and, where there are two sizes or more, the slope.

    Args:
        level: Of the intervals.
        terms: Of the verdicts.
        method: Whose.
        name: Of the contrast.
        values: Of each seed (rows) and test patient (columns), by forget size.
    """
    if (middle := values.get(terms.middle_size)) is not None and len(middle):
        found = contrast_interval([middle.to_numpy()], (1,), level=level)
        one = Contrast("C3", name, "test")
        yield _row(terms, one, found, found.patients, method=method)
    seeds = sorted(set.intersection(*(set(each.index) for each in values.values())))
    if len(values) > 1 and seeds:
        by_size = [values[size].loc[seeds].to_numpy() for size in sorted(values)]
        found = slope_interval(by_size, sorted(values), level=level)
        one = Contrast("C3", f"slope of {name}", "test", primary=name == "U - R")
        absent = ", ".join(f"{size:g}" for size in terms.sizes if size not in values)
        missing = f"unbalanced: forget size {absent} is missing" if absent else ""
        names = {"method": method, "margin": "slope", "missing": missing}
        yield _row(terms, one, found, found.patients, **names)
