"""Women beside men, adjusted for what else may differ between them."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.partition import patient_table
from medunlearn.evaluation.measurements import Measurements
from medunlearn.statistics.intervals import (
    Interval,
    contrast_interval,
    regression_interval,
    runs_interval,
)

AGE_BANDS = 3

Floats = NDArray[np.float64]


def covariates(measurements: Measurements, draw: str, part: str) -> pd.DataFrame:
    """What is known of each patient of a part of the cohort.

    Args:
        measurements: Of a study.
        draw: Name of the forget set.
        part: ``retain``, ``forget``, or a partition.

    Returns:
        By patient, ascending, as patient values are: ``sex``, ``rarest`` label, ``age`` (if the
        cohort has one), ``confidence`` (high: easy; NaN if difficulty was not measured).
    """
    subset = measurements.subsets.of(draw, part, "all")
    rows = measurements.cohort[measurements.cohort["sample"].isin(subset.samples)]
    table = patient_table(rows)
    if "age" in rows:
        table["age"] = rows.groupby("patient")["age"].mean()
    table["confidence"] = np.nan
    if not measurements.difficulty.empty:
        confidence = measurements.difficulty.set_index("sample")["confidence_out"]
        by_patient = rows["sample"].map(confidence).groupby(rows["patient"]).mean()
        table["confidence"] = by_patient
    return table


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
    return regression_interval(values, design, wanted, level=level), names


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
    return runs_interval(estimates, patients, level=level), each[0][1]


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
    known = table["age"].notna().to_numpy() if "age" in table else np.zeros(len(table), bool)
    if known.sum() < 2 * AGE_BANDS:
        return None
    table, values = table[known], values[:, known]
    bands = pd.qcut(table["age"], AGE_BANDS, labels=False, duplicates="drop").to_numpy()
    groups, weights = [], []
    for band in np.unique(bands):
        for sex, sign in (("F", 1), ("M", -1)):
            groups.append(values[:, (bands == band) & (table["sex"] == sex).to_numpy()])
            weights.append(sign * float((bands == band).mean()))
    if not groups or min(group.shape[1] for group in groups) < 2:
        return None  # also where all are of one age
    return contrast_interval(groups, weights, level=level)


def _of_known_sex(table: pd.DataFrame, values: Floats) -> tuple[pd.DataFrame, Floats]:
    known = table["sex"].isin(["F", "M"]).to_numpy()
    return table[known], values[:, known]
