"""Claim C3: what unlearning changes on the test set, and how that grows with the forget set."""

from collections.abc import Iterator

import numpy as np
import pandas as pd

from medunlearn.evaluation.measurements import (
    FLOOR,
    NOTHING,
    RETRAINED,
    Measurements,
    has_gap,
    line_ups,
)
from medunlearn.statistics.intervals import Interval, contrast_interval, slope_interval
from medunlearn.statistics.verdicts import Terms

Change = tuple[str, str, float, Interval, str]
"""Name, method, forget size (NaN: of a slope), its interval, and what is missing for a verdict."""


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
        found = contrast_interval([middle.to_numpy()], (1,), level=level)
        yield name, method, terms.middle_size, found, ""
    seeds = sorted(set.intersection(*(set(each.index) for each in values.values())))
    if len(values) > 1 and seeds:
        by_size = [values[size].loc[seeds].to_numpy() for size in sorted(values)]
        found = slope_interval(by_size, sorted(values), level=level)
        absent = ", ".join(f"{size:g}" for size in terms.sizes if size not in values)
        missing = f"unbalanced: forget size {absent} is missing" if absent else ""
        yield f"slope of {name}", method, np.nan, found, missing
