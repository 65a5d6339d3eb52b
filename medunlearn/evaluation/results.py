"""Levels and gaps of every method, by forget set, partition, sex and difficulty, with intervals.

A gap is a model's measure minus that of the model retrained without the same patients, from the
same seed. The retrained models on fresh seeds give the floor, doing nothing gives the ceiling.
"""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from medunlearn.evaluation.lineups import LineUp, has_gap, line_ups
from medunlearn.evaluation.measurements import CALIBRATION, PARTS, Measurements
from medunlearn.evaluation.performance import MEASURES

DIFFERENCE = "F - M"
GROUPS = ("all", "F", "M", DIFFERENCE, "easy", "hard", "hard - easy")
"""Of patients; a difference is that of the means of two groups."""

OF_STRATA = ("accuracy", "brier", "confidence")
"""Measures by difficulty: within a label nearly all patients of a stratum are right, or wrong."""


def measure_results(measurements: Measurements) -> pd.DataFrame:
    """Estimates with intervals.

    Returns:
        One row for each ``composition``, ``forget_size``, ``method``, ``partition``, ``group``
        (``GROUPS``), ``measure`` and ``quantity`` (level or gap): ``estimate``, ``low``, ``high``,
        ``standard_error``, ``df``, ``seeds``, ``patients``, and ``classes`` (how many balanced
        accuracy averages over: rare ones are pooled). A group without a patient has no row; limits
        that cannot be estimated are NaN.
    """
    rows = [
        row
        for line_up in line_ups(measurements.models)
        for part in PARTS
        for group in GROUPS
        for row in _rows(measurements, line_up, part, group)
    ]
    return pd.DataFrame(rows)


def measure_seeds(measurements: Measurements, measure: str) -> pd.DataFrame:
    """Level and gap of every single seed, columns as in ``measure_results`` and ``seed``."""
    rows = []
    for line_up in line_ups(measurements.models):
        for part in PARTS:
            for group in (g for g in GROUPS if " - " not in g):
                if not measurements.has(line_up, part, [group]):
                    continue
                levels = measurements.levels(line_up, part, group, measure)
                gaps = measurements.gaps(line_up, part, group, measure)
                rows += [
                    {
                        "composition": line_up.composition,
                        "forget_size": line_up.forget_size,
                        "method": line_up.method,
                        "partition": part,
                        "group": group,
                        "seed": run.seed,
                        "level": level.mean(),
                        "gap": gap.mean() if has_gap(line_up.method) else np.nan,
                    }
                    for run, level, gap in zip(line_up.runs, levels, gaps, strict=True)
                ]
    return pd.DataFrame(rows)


def _rows(
    measurements: Measurements, line_up: LineUp, part: str, group: str
) -> Iterator[dict[str, object]]:
    sides = group.split(" - ")
    if not measurements.has(line_up, part, sides):
        return
    draw = line_up.runs[0].draw
    classes = len(set(measurements.subsets.of(draw, part, "all").strata))
    for measure in OF_STRATA if "hard" in group or "easy" in group else (*MEASURES, CALIBRATION):
        for quantity in ("level", "gap") if has_gap(line_up.method) else ("level",):
            gap, weights = quantity == "gap", (1, -1)[: len(sides)]
            found = measurements.interval(line_up, part, measure, sides, weights, gap=gap)
            yield {
                "composition": line_up.composition,
                "forget_size": line_up.forget_size,
                "method": line_up.method,
                "partition": part,
                "group": group,
                "measure": measure,
                "quantity": quantity,
                **found.columns,
                "classes": classes,
            }
