"""What is no plain contrast of groups: sexes, adjusted; and the change with the forget set (C3)."""

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
import pandas as pd

from medunlearn.cohort.partition import patient_table
from medunlearn.evaluation.measurements import Measurements
from medunlearn.evaluation.subsets import Floats
from medunlearn.evaluation.yardsticks import FLOOR, NOTHING, RETRAINED, has_gap, line_ups
from medunlearn.statistics import intervals
from medunlearn.statistics.intervals import Interval
from medunlearn.statistics.verdicts import Terms

AGE_BANDS = 3

MOST_SHARED = 0.1
"""Of `shared_weight`: 16 seeds give 5 % false slopes up to .2, and 28 % at 1 (simulated)."""

Change = tuple[str, str, float, Interval, str]
"""Name, method, forget size (NaN: of a slope), its interval, and what is missing for a verdict."""


def covariates(measurements: Measurements, draw: str, part: str) -> pd.DataFrame:
    """What is known of each patient of a part of the cohort.

    Args:
        measurements: Of a study.
        draw: Name of the forget set.
        part: ``retain``, ``forget``, or a partition.

    Returns:
        By patient, ascending, as patient values are: ``sex``, ``rarest`` label in this part,
        ``age``, ``confidence`` (high: easy); NaN where they are not known.
    """
    subset = measurements.subset(draw, part, "all")
    rows = measurements.cohort[measurements.cohort["sample"].isin(subset.samples)]
    return patient_table(rows).join(measurements.people[["age", "confidence"]])


def adjusted_difference(
    table: pd.DataFrame, values: Floats, *, level: float = 0.95
) -> tuple[Interval, str]:
    """Women minus men by analysis of covariance over patients, on label and difficulty.

    Args:
        table: As from ``covariates``.
        values: Of each patient, (seeds, patients).
        level: Of the interval.

    Returns:
        The interval, and the names of the covariates. Patients whose sex is unknown are left out.
    """
    table, values = _of_known_sex(table, values)
    labels = pd.get_dummies(table["rarest"], drop_first=True, dtype=float)
    columns = [np.ones(len(table)), (table["sex"] == "F").to_numpy(float), *labels.to_numpy().T]
    names = "label"
    if table["confidence"].notna().all():
        columns.append(table["confidence"].to_numpy() - table["confidence"].mean())
        names = "label, difficulty"
    design = np.column_stack(columns)
    wanted = np.eye(design.shape[1])[1]
    return intervals.regression_interval(values, design, wanted, level=level), names


def difference_of_sexes(
    tables: Sequence[pd.DataFrame],
    values: Sequence[Floats],
    draws: Sequence[str],
    *,
    level: float = 0.95,
) -> tuple[Interval, str]:
    """The same of seeds that share a draw, or forgot patients of their own from one pool.

    Where draws are own every seed has an estimate of its own. Given the pool these are independent
    and alike: each varies with its training *and* its draw. So a t interval over them, df seeds -
    1, holds for further trainings on further draws from this pool. Draws overlap, hence it does
    not hold for a new pool: what a patient does in every seed is, as far as the draws share
    patients, in no spread between seeds (simulated in notebook ``07_error_rates``).

    Args:
        tables: As from ``covariates``, of each seed.
        values: Of each patient, (patients of the seed,), of each seed.
        draws: Name of each seed's draw.
        level: Of the interval.
    """
    if len({*draws}) == 1:
        return adjusted_difference(tables[0], np.stack(values), level=level)
    each = [
        adjusted_difference(table, own[None], level=level)
        for table, own in zip(tables, values, strict=True)
    ]
    estimates = np.array([found.estimate for found, _ in each])
    patients = min(found.patients for found, _ in each)
    return intervals.runs_interval(estimates, patients, level=level), each[0][1]


def age_standardised_difference(
    table: pd.DataFrame, values: Floats, *, level: float = 0.95
) -> Interval | None:
    """Women minus men of each age band, bands weighing as in both sexes together.

    Args:
        table: As from ``covariates``.
        values: Of each patient, (seeds, patients).
        level: Of the interval.

    Returns:
        The interval; None if ages are unknown or a band has fewer than two of either sex.
    """
    table, values = _of_known_sex(table, values)
    known = table["age"].notna().to_numpy()
    if known.sum() < 2 * AGE_BANDS:
        return None
    table, values = table[known], values[:, known]
    bands = pd.qcut(table["age"], AGE_BANDS, labels=False, duplicates="drop").to_numpy()
    groups, weights = [], []
    for band, (sex, sign) in product(np.unique(bands), (("F", 1), ("M", -1))):
        groups.append(values[:, (bands == band) & (table["sex"] == sex).to_numpy()])
        weights.append(sign * float((bands == band).mean()))
    if not groups or min(group.shape[1] for group in groups) < 2:
        return None  # also where all are of one age
    return intervals.contrast_interval(groups, weights, level=level)


def _of_known_sex(table: pd.DataFrame, values: Floats) -> tuple[pd.DataFrame, Floats]:
    known = table["sex"].isin(["F", "M"]).to_numpy()
    return table[known], values[:, known]


def measure_changes(
    measurements: Measurements, terms: Terms, confirmatory: bool = False
) -> Iterator[Change]:
    """The gap in accuracy on the test set, and its slope per doubling of the forget size.

    Beside the gap U - R stands U - O, what a clinic would see; and R - O, for retraining itself
    loses patients to learn from. Test patients are the same at every size.

    Args:
        measurements: Of the study.
        terms: What was settled before.
        confirmatory: Only U - R of the methods that are.
    """
    gaps: dict[str, dict[float, pd.DataFrame]] = {}
    for cell in line_ups(measurements.models):
        asked = not confirmatory or cell.method in terms.confirmatory
        known = has_gap(cell.method) or cell.method == RETRAINED
        if cell.composition == "random" and asked and known:
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
            name = "R - O" if method == RETRAINED else "U - O"
            yield from _of_sizes(measurements.level, terms, method, name, changes)


def shared_weight(sizes: Sequence[float], middle: float) -> float:
    """How much the middle size, whose draw all seeds share, weighs in a slope; 1: as the most."""
    weights = np.abs(intervals.slope_weights(sizes))
    return float(weights[np.asarray(sizes) == middle].sum() / weights.max())


def _of_sizes(
    level: float, terms: Terms, method: str, name: str, values: dict[float, pd.DataFrame]
) -> Iterator[Change]:
    """The mean at the middle size and, where there are two sizes or more, the slope.

    Args:
        level: Of the intervals.
        terms: Of the verdicts.
        method: Whose.
        name: Of the contrast.
        values: Of each seed (rows) and test patient (columns), by forget size.
    """
    if (middle := values.get(terms.middle_size)) is not None and len(middle):
        found = intervals.contrast_interval([middle.to_numpy()], (1,), level=level)
        yield name, method, terms.middle_size, found, ""
    seeds = sorted(set.intersection(*(set(each.index) for each in values.values())))
    if len(values) > 1 and seeds:
        by_size = [values[size].loc[seeds].to_numpy() for size in sorted(values)]
        found = intervals.slope_interval(by_size, sorted(values), level=level)
        absent = ", ".join(f"{size:g}" for size in terms.sizes if size not in values)
        missing = f"unbalanced: forget size {absent} is missing" if absent else ""
        if shared_weight(sorted(values), terms.middle_size) > MOST_SHARED:
            missing = missing or "the one draw of the middle size weighs in it: put sizes around it"
        yield f"slope of {name}", method, np.nan, found, missing
