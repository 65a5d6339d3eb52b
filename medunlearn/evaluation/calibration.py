"""Calibration of women and of men, with intervals: no mean over patients, so resampled."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.cohort.partition import TEST
from medunlearn.evaluation.measurements import (
    CALIBRATION,
    LineUp,
    Measurements,
    has_gap,
    middle_line_ups,
)
from medunlearn.evaluation.performance import calibration_parts
from medunlearn.randomness import stream

SIDES = {"all": ("all",), "F": ("F",), "M": ("M",), "F - M": ("F", "M")}

RESAMPLES = 500

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Pairs = Sequence[tuple[Floats, Floats]]
"""By seed: what each patient adds to each bin, (patients, bins), of both models."""


def measure_calibration(measurements: Measurements, forget_size: float) -> pd.DataFrame:
    """Calibration error on the test set of each method's models, minus that of the retrained ones.

    Intervals are of a crossed bootstrap over seeds and patients: exploratory, no verdict.

    Returns:
        One row for each ``method`` and ``group`` (all, F, M, F - M): ``level``, the gap
        ``estimate``, and its limits ``low`` and ``high``.
    """
    rows, of = [], measurements.subsets.of
    line_ups = middle_line_ups(measurements.models, forget_size)
    for method, line_up in line_ups.items():
        pairs = _pairs(measurements, line_up) if has_gap(method) else []
        for group, sides in SIDES.items() if pairs else ():
            if measurements.patients(line_up, TEST, sides):
                where = (line_up, TEST, CALIBRATION, sides, (1, -1)[: len(sides)])
                level, gap = (measurements.interval(*where, gap=x).estimate for x in (False, True))
                everyone = of("", TEST, "all").patient_ids
                members = [np.isin(everyone, of("", TEST, side).patient_ids) for side in sides]
                random = stream("bootstrap", CALIBRATION, method, group)
                limits = bootstrap_gap(pairs, members, random, level=measurements.level)
                rows.append((method, group, level, gap, *limits))
    return pd.DataFrame(rows, columns=["method", "group", "level", "estimate", "low", "high"])


def bootstrap_gap(
    pairs: Pairs, members: Sequence[Flags], random: np.random.Generator, *, level: float = 0.95
) -> tuple[float, float]:
    """Percentile interval of a gap, seeds and patients both drawn anew with replacement.

    The pigeonhole bootstrap of Owen (2007, Ann. Appl. Stat. 1:386): every seed of a resample sees
    the same patients. Exploratory: the residual of seed and patient is counted more than once, and
    few seeds spread too little when drawn from themselves, so a 95 % interval covers between .88
    and .999 (simulated, 4 to 16 seeds). A calibration error grows with noise and so lies too high
    in every resample; in a gap to another model this largely cancels.

    Args:
        pairs: Of each seed, the model and the one it is held to.
        members: Which patients are in each group; of two groups, the first minus the second.
        random: Draws the resamples.
        level: Of the interval.

    Returns:
        Lower and upper limit. NaN with fewer than two seeds or patients, whose spread cannot be
        seen, or where any resample has no value.
    """
    seeds, patients = len(pairs), len(members[0])
    if seeds < 2 or patients < 2:
        return np.nan, np.nan
    chosen = random.integers(seeds, size=(RESAMPLES, seeds))
    drawn = random.multinomial(patients, np.full(patients, 1 / patients), size=RESAMPLES)
    times = drawn.astype(np.float64)
    by_seed = np.stack([_error(times, a, members) - _error(times, b, members) for a, b in pairs], 1)
    values = np.take_along_axis(by_seed, chosen, axis=1).mean(axis=1)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])  # NaN if any is
    return float(low), float(high)


def _pairs(measurements: Measurements, line_up: LineUp) -> Pairs:
    """NaN of a model that diverged."""
    subset = measurements.subsets.of("", TEST, "all")

    def parts(row: int) -> Floats:
        if not measurements.is_finite[row]:
            return np.full((len(subset.patient_ids), 1), np.nan)
        return calibration_parts(subset, measurements.predicted(row, subset))

    both = zip(line_up.runs, line_up.base, strict=True)
    return [(parts(ours.row), parts(theirs.row)) for ours, theirs in both]


def _error(times: Floats, parts: Floats, members: Sequence[Flags]) -> Floats:
    """Calibration error of each resample, (resamples,); of the first group minus the second.

    Args:
        times: How often each patient is drawn, (resamples, patients).
        parts: What each patient adds to each bin, (patients, bins).
        members: Of each group, (patients,).
    """
    errors = [
        np.abs(times[:, inside] @ parts[inside]).sum(axis=1) / times[:, inside].sum(axis=1)
        for inside in members
    ]
    difference: Floats = errors[0] - errors[1] if len(errors) > 1 else errors[0]
    return difference
