"""Levels and gaps of every method, by forget set, partition, sex and difficulty, with intervals.

A gap is a model's measure minus that of the model retrained without the same patients, from the
same seed. The retrained models on fresh seeds give the floor, doing nothing gives the ceiling.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pandas as pd

from medunlearn.cohort.partition import TEST
from medunlearn.evaluation.measurements import PARTS, Measurements
from medunlearn.evaluation.performance import MEASURES
from medunlearn.evaluation.yardsticks import RETRAINED, LineUp, has_gap, line_ups, middle_line_ups
from medunlearn.statistics.intervals import Interval, contrast_interval, no_limits

DIFFERENCE = "F - M"
GROUPS = ("all", "F", "M", DIFFERENCE, "easy", "hard", "hard - easy")
"""Of patients; a difference is that of the means of two groups."""

CELL = ("composition", "forget_size", "method")

CHANCE = 0.5

MOST = {"brier": 2}
"""Largest value, of measures that are not shares."""

OF_STRATA = ("accuracy", "brier", "probability")
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
    rows = []
    for names, line_up, sides in _groups(measurements):
        part, weights = names["partition"], (1, -1)[: len(sides)]
        whole = measurements.subset(line_up.runs[0].draw, part, "all")
        by_stratum, classes = not {"easy", "hard"}.isdisjoint(sides), len(set(whole.strata))
        for measure in OF_STRATA if by_stratum else MEASURES:
            if measure.startswith("balanced") and classes < 2:
                continue  # all classes are rare and pooled: that is no balance
            for quantity in ("level", "gap") if has_gap(line_up.method) else ("level",):
                gap, most = quantity == "gap", MOST.get(measure, 1)
                found = measurements.interval(line_up, part, measure, sides, weights, gap=gap)
                found = possible(found, level=not gap and len(sides) == 1, most=most)
                what = {"measure": measure, "quantity": quantity}
                rows.append({**names, **what, **found.columns, "classes": classes})
    return pd.DataFrame(rows)


def possible(found: Interval, *, level: bool, most: float = 1) -> Interval:
    """An interval without values that cannot be.

    Args:
        found: Of a measure that is 0 to ``most``.
        level: Whether it is of the measure itself: its limits are cut. Else it is a difference:
            limits beyond any difference that there can be tell nothing, and become NaN.
        most: The largest value.
    """
    if level:
        low, high = np.clip([found.low, found.high], 0, most)
        return replace(found, low=float(low), high=float(high))
    if max(abs(found.low), abs(found.high)) > most:
        return replace(found, low=np.nan, high=np.nan)
    return found


def measure_seeds(measurements: Measurements, measure: str) -> pd.DataFrame:
    """Level and gap of every single seed, columns as in ``measure_results`` and ``seed``."""
    rows = []
    for names, line_up, sides in _groups(measurements):
        if len(sides) == 1:
            where = (line_up, names["partition"], *sides, measure)
            levels, gaps = measurements.levels(*where), measurements.gaps(*where)
            for run, level, gap in zip(line_up.runs, levels, gaps, strict=True):
                own = gap.mean() if has_gap(line_up.method) else np.nan
                rows.append({**names, "seed": run.seed, "level": level.mean(), "gap": own})
    return pd.DataFrame(rows)


def measure_relearning(
    measurements: Measurements, relearning: pd.DataFrame, forget_size: float
) -> pd.DataFrame:
    """Accuracy on the forget set while training goes on without it, minus that of retrained models.

    Both go on from the same seed, on the same batches, and the forget set is one draw: the interval
    is over seeds and patients, as of any gap. What is forgotten stays at 0; what was only hidden
    rises above the gap before the first step.

    Args:
        measurements: Of the study; models are found by their ``model_key``.
        relearning: ``model_key``, ``step``, ``patient``, ``accuracy`` and ``confidence``, as from
            ``relearning.relearn``.
        forget_size: Size of the random forget set that models were watched on.

    Returns:
        One row for each ``method`` and ``step`` (updates on the retain set): ``estimate``, its
        limits and spread, ``seeds``, ``patients``, and the method's own accuracy
        ``level_estimate``.
    """
    known = relearning["accuracy"].where(np.isfinite(relearning["confidence"]))  # else: diverged
    table = relearning.assign(accuracy=known).pivot_table(
        "accuracy", index="model_key", columns=["step", "patient"]
    )
    keys, rows = measurements.models["model_key"], []
    cells = middle_line_ups(measurements.models, forget_size).values()
    for line_up, step in product(cells, table.columns.unique("step")):
        if has_gap(line_up.method):
            ours, theirs = (
                table[step].reindex(keys[[run.row for run in runs]]).to_numpy()
                for runs in (line_up.runs, line_up.base)
            )
            found = contrast_interval([ours - theirs], level=measurements.level)
            names = {"method": line_up.method, "step": step}
            limits = possible(found, level=False).columns
            rows.append({**names, **limits, "level_estimate": float(ours.mean())})
    columns = ["method", "step", *no_limits(np.nan, 0, 0).columns, "level_estimate"]
    return pd.DataFrame(rows, columns=columns)


def measure_fitness(measurements: Measurements, forget_size: float) -> pd.DataFrame:
    """Accuracy and AUROC of retrained models on the test set, against majority and chance.

    Returns:
        One row for each ``measure``: ``estimate``, ``low``, ``high``, ``baseline`` (share of the
        most frequent class among test patients, or 0.5), its ``name``, and ``fit``: whether the
        lower limit, or the estimate where there is none, lies above it. No row of what is not
        estimable. Of a row that is not fit a study warns first (`wording.warn`).
    """
    line_up = middle_line_ups(measurements.models, forget_size).get(RETRAINED)
    columns = ["measure", "estimate", "low", "high", "name", "baseline", "fit"]
    if line_up is None:
        return pd.DataFrame(columns=columns)
    subset = measurements.subset("", TEST, "all")
    majority = float(np.bincount(subset.labels, subset.weights).max() / subset.weights.sum())
    rows, baselines = [], (("accuracy", "majority", majority), ("auroc", "chance", CHANCE))
    for measure, name, baseline in baselines:
        found = measurements.interval(line_up, TEST, measure, gap=False)
        if np.isnan(found.estimate):  # a class that no test patient has: there is no such area
            continue
        low = found.low if np.isfinite(found.low) else found.estimate
        limits = np.clip([found.low, found.high], 0, 1)
        rows.append((measure, found.estimate, *limits, name, baseline, bool(low > baseline)))
    return pd.DataFrame(rows, columns=columns)


def _groups(measurements: Measurements) -> Iterator[tuple[dict[str, Any], LineUp, Sequence[str]]]:
    """What every row begins with, for each group that has a patient; its one or two sides."""
    for line_up in line_ups(measurements.models):
        for part, group in product(PARTS, GROUPS):
            sides = group.split(" - ")
            if measurements.patients(line_up, part, sides):
                of = {name: getattr(line_up, name) for name in CELL}
                yield {**of, "partition": part, "group": group}, line_up, sides
