"""The contrasts that the claims rest on: what is asked, of whom, and whether it may be judged.

Confirmatory contrasts are those of a few methods named before results are seen, on random forget
sets; everything else is exploratory. Verdicts are given in `statistics.verdicts`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from medunlearn.evaluation import estimands
from medunlearn.evaluation.difficulty import RELIABLE
from medunlearn.evaluation.measurements import UNMEMORISED, Measurements
from medunlearn.evaluation.yardsticks import FLOOR, LineUp, has_gap, middle_line_ups
from medunlearn.statistics.intervals import Interval, no_limits
from medunlearn.statistics.verdicts import Terms, refuse

Names = Mapping[str, object]
"""Of a row: its ``adjustment``, ``method`` and ``forget_size``."""

LABEL, AGE, CLASSES = "label, difficulty", "age", "classes"
"""What a difference of the sexes may be adjusted for; classes: all weigh the same."""


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
        adjusted: For ``LABEL``, ``AGE``, ``CLASSES`` or nothing.
        never: Why it carries no verdict, whatever the study.
        largest: At the largest random forget size, where each seed has a draw of its own; else at
            the middle size.
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
    largest: bool = False


def _sexes(part: str, measure: str, *, primary: bool = False, adjusted: str = "") -> Contrast:
    groups, weights, largest = ("F", "M"), (1, -1), part == "forget"
    return Contrast(
        "C2", "F - M", part, measure, groups, weights, primary, adjusted, largest=largest
    )


BALANCED, PROBABILITY = "balanced_accuracy", "probability"
OF_SEXES = (BALANCED, "accuracy", "true_positive_rate", "false_positive_rate", "brier")
BY_CONSTRUCTION = "doing nothing differs here by construction: read it beside floor and ceiling"
ONE_CLASS = "no two classes have patients enough of each sex: there is nothing to balance"

CONTRASTS = (
    # decisions saturate, probabilities do not
    *(Contrast("C1", "gap", part, measure)
      for part in ("retain", "forget") for measure in ("accuracy", "brier", PROBABILITY)),
    *(_sexes("forget", measure) for measure in OF_SEXES),
    # groups are small: balance them
    _sexes("forget", "accuracy", primary=True, adjusted=LABEL),
    _sexes("forget", PROBABILITY, primary=True, adjusted=LABEL),
    *(_sexes("retain", measure) for measure in OF_SEXES),
    *(_sexes("test", measure, primary=measure == BALANCED) for measure in OF_SEXES),
    _sexes("test", PROBABILITY, primary=True, adjusted=CLASSES),
    _sexes("test", "accuracy", adjusted=AGE),
    Contrast("C4", "hard - easy", "test", groups=("hard", "easy"), weights=(1, -1), primary=True),
    Contrast("C4", "(F hard - F easy) - (M hard - M easy)", "test",
             groups=("F hard", "F easy", "M hard", "M easy"), weights=(1, -1, -1, 1)),
    *(Contrast("C4", f"gap, {group}", "forget", groups=(group,), never=BY_CONSTRUCTION)
      for group in ("hard", "easy")),
    Contrast("C4", f"gap, {UNMEMORISED}", "forget", groups=(UNMEMORISED,), largest=True),
)  # fmt: skip
"""Of each method; sexes on the forget set at the largest size, the shared draw serves audits."""


def measure_contrasts(
    measurements: Measurements, terms: Terms, *, confirmatory: bool = False
) -> pd.DataFrame:
    """Every contrast of claims C1 to C4.

    Args:
        measurements: Of the study.
        terms: What was settled before.
        confirmatory: Only those that are.

    Returns:
        One row for each ``claim``, ``contrast``, ``partition``, ``measure``, ``adjustment``,
        ``method`` and ``forget_size`` (NaN for a slope): ``estimate``, ``low``, ``high``,
        ``standard_error``, ``df``, ``seeds``, ``patients``, the shares of its variance, and for
        `verdicts.judge` ``family``, ``confirmatory``, ``margin`` and ``refused``.
    """
    rows: list[dict[str, object]] = []
    for largest, size in ((False, terms.middle_size), (True, max(terms.sizes))):
        for method, line_up in middle_line_ups(measurements.models, size).items():
            for one in CONTRASTS if has_gap(method) else ():
                wanted = not confirmatory or (one.primary and method in terms.confirmatory)
                if one.largest != largest or not wanted:
                    continue
                patients = measurements.patients(line_up, one.part, one.groups)
                found, adjustment = (
                    _estimate(measurements, line_up, one) if patients else (None, "")
                )
                if found:
                    names = {"adjustment": adjustment, "method": method, "forget_size": size}
                    rows.append(_row(terms, one, found, patients, names))
    changes = estimands.measure_changes(measurements, terms, confirmatory)
    for name, method, size, change, missing in changes:
        one = Contrast("C3", name, "test", primary=name.endswith("U - R"))
        names = {"adjustment": "", "method": method, "forget_size": size}
        rows.append(_row(terms, one, change, change.patients, names, missing))
    table = pd.DataFrame(rows)
    return table[table["confirmatory"]] if confirmatory and len(table) else table


def _estimate(
    measurements: Measurements, line_up: LineUp, one: Contrast
) -> tuple[Interval | None, str]:
    """The interval, and what it is adjusted for; none where ages are not known."""
    if one.measure == BALANCED or one.adjusted == CLASSES:
        subset = measurements.subset(line_up.runs[0].draw, one.part, "all")
        if len(set(subset.strata)) < 2:  # all classes are rare: this would be another measure
            return no_limits(np.nan, len(line_up.runs), len(subset.patient_ids)), one.adjusted
    if one.adjusted in {"", CLASSES}:
        measure = f"balanced_{one.measure}" if one.adjusted else one.measure
        where = (line_up, one.part, measure, one.groups, one.weights)
        return measurements.interval(*where), one.adjusted
    gaps, level = measurements.gaps(line_up, one.part, "all", one.measure), measurements.level
    draws = [run.draw for run in line_up.base]
    tables = [estimands.covariates(measurements, draw, one.part) for draw in draws]
    if one.adjusted == AGE:
        values = np.stack(gaps)
        return estimands.age_standardised_difference(tables[0], values, level=level), AGE
    return estimands.difference_of_sexes(tables, gaps, draws, level=level)


def _row(
    terms: Terms, one: Contrast, found: Interval, patients: int, names: Names, missing: str = ""
) -> dict[str, object]:
    """A contrast as a row of the table; the first reason against a verdict is the one told."""
    unreliable = ""
    if one.claim == "C4" and not terms.reliability >= RELIABLE:
        unreliable = f"split-half reliability of difficulty is {terms.reliability:.2f}, "
        unreliable += f"expected {RELIABLE} or more (nan: not measured)"
    few = refuse(terms, found.seeds, patients, floor=names["method"] == FLOOR)
    balanced = one.measure == BALANCED or one.adjusted == CLASSES
    one_class = ONE_CLASS if balanced and np.isnan(found.estimate) else ""
    confirmatory = one.primary and names["method"] in terms.confirmatory
    family = ", ".join((one.claim, one.name, one.part, one.measure))
    return {
        "claim": one.claim,
        "contrast": one.name,
        "partition": one.part,
        "measure": one.measure,
        **names,
        "refused": one.never or few or unreliable or one_class or missing,
        **found.columns,
        **found.share_columns,
        "margin": _margin(terms, one),
        "confirmatory": confirmatory,
        "family": family if confirmatory else one.claim,
    }


def _margin(terms: Terms, one: Contrast) -> float:
    """Only where a margin is justified: of other measures no equivalence is asked."""
    names = {"accuracy": one.part, BALANCED: one.part, PROBABILITY: PROBABILITY}
    name = "slope" if one.name.startswith("slope") else names.get(one.measure, "")
    return terms.margins.get(name, np.nan)
