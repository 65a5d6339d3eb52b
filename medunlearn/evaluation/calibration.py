"""Calibration of women and of men, with intervals: no mean over patients, so resampled."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from medunlearn.evaluation.lineups import LineUp, Run, has_gap, line_ups
from medunlearn.evaluation.measurements import CALIBRATION, Measurements
from medunlearn.evaluation.performance import calibration_parts
from medunlearn.randomness import stream
from medunlearn.statistics.bootstrap import crossed_bootstrap

SIDES = {"all": ("all",), "F": ("F",), "M": ("M",), "F - M": ("F", "M")}

RESAMPLES = 500

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def measure_calibration(measurements: Measurements, forget_size: float) -> pd.DataFrame:
    """Calibration error on the test set of each method's models, minus that of the retrained ones.

    Intervals are of a crossed bootstrap over seeds and patients: exploratory, no verdict.

    Returns:
        One row for each ``method`` and ``group`` (all, F, M, F - M): ``level``, the gap
        ``estimate``, and its limits ``low`` and ``high``.
    """
    rows = [
        row
        for line_up in line_ups(measurements.models)
        if line_up.composition == "random" and line_up.forget_size == forget_size
        if has_gap(line_up.method)
        for row in _rows(measurements, line_up)
    ]
    return pd.DataFrame(rows, columns=["method", "group", "level", "estimate", "low", "high"])


def _rows(measurements: Measurements, line_up: LineUp) -> Iterator[dict[str, object]]:
    whole = measurements.subsets.of("", "test", "all")
    for group, sides in SIDES.items():
        if not measurements.has(line_up, "test", sides):
            continue
        signs = (1, -1)[: len(sides)]
        level, gap = (
            measurements.interval(line_up, "test", CALIBRATION, sides, signs, gap=gap).estimate
            for gap in (False, True)
        )
        members = [
            np.isin(whole.patient_ids, measurements.subsets.of("", "test", side).patient_ids)
            for side in sides
        ]
        pairs = [
            [_parts(measurements, run) for run in (ours, theirs)]
            for ours, theirs in zip(line_up.runs, line_up.base, strict=True)
        ]

        def statistic(
            chosen: Ints,
            times: Floats,
            members: list[NDArray[np.bool_]] = members,
            pairs: list[list[Floats]] = pairs,
        ) -> Floats:
            by_seed = np.stack(
                [_error(times, ours, members) - _error(times, theirs, members)
                 for ours, theirs in pairs], axis=1,
            )  # fmt: skip
            resampled: Floats = np.take_along_axis(by_seed, chosen, axis=1).mean(axis=1)
            return resampled

        low, high = crossed_bootstrap(
            statistic,
            len(pairs),
            len(whole.patient_ids),
            resamples=RESAMPLES,
            level=measurements.level,
            generator=stream("bootstrap", CALIBRATION, line_up.method, group),
        )
        names = {"method": line_up.method, "group": group}
        yield {**names, "level": level, "estimate": gap, "low": low, "high": high}


def _parts(measurements: Measurements, run: Run) -> Floats:
    """What each test patient adds to each bin, (patients, bins); NaN of a blown-up model."""
    subset = measurements.subsets.of("", "test", "all")
    if not np.isfinite(measurements.logits[run.row]).all():
        return np.full((len(subset.patient_ids), 1), np.nan)
    return calibration_parts(subset, measurements.predicted(run, subset))


def _error(times: Floats, parts: Floats, members: list[NDArray[np.bool_]]) -> Floats:
    """Calibration error of each resample, (resamples,); of the first group minus the second."""
    errors = [
        np.abs(times[:, inside] @ parts[inside]).sum(axis=1) / times[:, inside].sum(axis=1)
        for inside in members
    ]
    difference: Floats = errors[0] - errors[1] if len(errors) > 1 else errors[0]
    return difference
