"""Have the retrained models learnt anything? What is below chance carries no question."""

import numpy as np
import pandas as pd

from medunlearn.cohort.partition import TEST
from medunlearn.evaluation.measurements import RETRAINED, Measurements, middle_line_ups

CHANCE = 0.5


def measure_fitness(measurements: Measurements, forget_size: float) -> pd.DataFrame:
    """Accuracy and AUROC of retrained models on the test set, against majority and chance.

    Returns:
        One row for each ``measure``: ``estimate``, ``low``, ``high``, ``baseline`` (share of the
        most frequent class among test patients, or 0.5), its ``name``, and ``fit``: whether the
        lower limit, or the estimate where there is none, lies above it. No row of what is not
        estimable. A study is fit if all rows are.
    """
    line_up = middle_line_ups(measurements.models, forget_size).get(RETRAINED)
    columns = ["measure", "estimate", "low", "high", "name", "baseline", "fit"]
    if line_up is None:
        return pd.DataFrame(columns=columns)
    subset = measurements.subsets.of("", TEST, "all")
    majority = float(np.bincount(subset.labels, subset.weights).max() / subset.weights.sum())
    rows = []
    for measure, name, baseline in (
        ("accuracy", "majority", majority),
        ("auroc", "chance", CHANCE),
    ):
        found = measurements.interval(line_up, TEST, measure, gap=False)
        if np.isnan(found.estimate):  # a class that no test patient has: there is no such area
            continue
        low = found.low if np.isfinite(found.low) else found.estimate
        limits = np.clip([found.low, found.high], 0, 1)
        rows.append((measure, found.estimate, *limits, name, baseline, bool(low > baseline)))
    return pd.DataFrame(rows, columns=columns)
