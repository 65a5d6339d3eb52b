"""What unlearning costs, as a ratio to one retraining on the same device."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats

REGIONS = ("training", "preparation", "unlearning", "batchnorm")
"""A method that needs originals of its own (SISA) pays for their training too. ``batchnorm``:
statistics re-estimated after a training as after unlearning, so that both sides pay for it."""

TUNING = [a + b for a in ("tuning", "total", "break_even") for b in ("", "_low", "_high")]
"""Columns of ``add_tuning``."""

INDEX = ["device", "method", "forget_size", "repeat"]

BUSY = 0.9
"""Processor seconds of a second that one thread has to itself, at least."""


def disturbed(costs: pd.DataFrame) -> pd.DataFrame:
    """Regions timed alone on a CPU in which somebody else had the core for a while.

    Nothing in a region waits for a disk or a network, so that one thread alone on its core is busy
    nearly all of the time: processor seconds well below the wall's were spent waiting for a core.
    A lock keeps away what belongs to a study; this finds everything else.

    Args:
        costs: As in ``tables/costs.parquet``; only rows with ``exclusive`` are read.

    Returns:
        The rows in question, with ``busy``, the processor's share of the seconds.
    """
    alone = costs[costs["exclusive"] & (costs["device_type"] == "cpu") & (costs["seconds"] > 0)]
    busy = alone["cpu_seconds"] / alone["seconds"]
    return alone.assign(busy=busy)[busy < BUSY]


def cost_ratios(costs: pd.DataFrame) -> pd.DataFrame:
    """Seconds of the cost pass, summed over regions and divided by those of one retraining.

    Args:
        costs: As in ``tables/costs.parquet``; only rows with ``exclusive`` are read.

    Returns:
        One row for each ``device``, ``method``, ``forget_size`` and ``repeat``: ``seconds`` (all
        regions), the seconds of each region, and ``ratio`` to the median retraining on that
        device. Empty if the cost pass has not run.
    """
    exclusive = costs[costs["exclusive"]]
    wide = exclusive.pivot_table(index=INDEX, columns="region", values="seconds", fill_value=0)
    bills = wide.reindex(columns=sorted(REGIONS), fill_value=0.0).reset_index()
    if bills.empty:
        return pd.DataFrame(columns=[*INDEX, *REGIONS, "seconds", "ratio"])
    bills["seconds"] = bills[list(REGIONS)].sum(axis=1)
    # seconds of one device say nothing about another: without a retraining there is no ratio
    retraining = bills[bills["method"] == "retrain"].groupby("device")["seconds"].median()
    bills["ratio"] = bills["seconds"] / bills["device"].map(retraining)
    return bills[bills["method"] != "retrain"].reset_index(drop=True)


def cost_intervals(costs: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """Ratio to one retraining with its interval, from the repeats of the cost pass.

    Repeats of both are compared on the log scale (Welch's t), so that the ratio is one of
    geometric means. It tells how well the *clock* knows the ratio on this device, and says nothing
    of other devices or seeds.

    Args:
        costs: As in ``tables/costs.parquet``; only rows with ``exclusive`` are read.
        level: Of the interval.

    Returns:
        One row for each ``device``, ``method`` and ``forget_size``: ``estimate``, ``low``,
        ``high`` (NaN with fewer than two repeats), and, of its logarithm, ``standard_error`` and
        ``df``.
    """
    exclusive = costs[costs["exclusive"]]
    totals = exclusive.groupby(INDEX, dropna=False)["seconds"].sum().reset_index()
    rows = []
    for device, here in totals.groupby("device"):
        unit = here.loc[here["method"] == "retrain", "seconds"]
        methods = here[here["method"] != "retrain"]
        for (method, size), repeats in methods.groupby(["method", "forget_size"], sort=False):
            names = {"device": device, "method": method, "forget_size": size}
            rows.append({**names, **_ratio(repeats["seconds"], unit, level)})
    columns = ["device", "method", "forget_size", "estimate", "low", "high", "standard_error", "df"]
    return pd.DataFrame(rows, columns=columns)


def add_tuning(
    ratios: pd.DataFrame, bills: pd.DataFrame, retraining: Sequence[float], level: float = 0.95
) -> pd.DataFrame:
    """What a method costs once its tuning is paid, and after how many requests that is earned.

    The claim that unlearning costs extra is supported where ``total_low`` is above 1: tuning, and
    preparation and unlearning of one request, in retrainings. Who serves many requests tunes once:
    ``break_even`` is the number of requests from which on tuning and unlearning together are
    cheaper than retraining each time, tuning / (1 - ratio); infinite where one request costs as
    much as a retraining. Intervals are by the delta method, with degrees of freedom by Welch and
    Satterthwaite: of the total as it is, of the break-even on the log scale.

    Args:
        ratios: As from ``cost_intervals``.
        bills: ``method``, ``seed``, ``seconds`` of all trials of a method, one row for each seed
            they were run on; the seeds stand for the clock's repeats.
        retraining: Seconds of one retraining on the device that the trials were timed on.
        level: Of the intervals.

    Returns:
        The ratios with ``tuning``, ``total`` and ``break_even``, each with ``_low`` and ``_high``;
        NaN for a method that was not tuned.
    """
    rows = [
        row
        | _tuning(row, bills.loc[bills["method"] == row["method"], "seconds"], retraining, level)
        for row in ratios.to_dict("records")
    ]
    return pd.DataFrame(rows, columns=[*ratios.columns, *TUNING])


def _tuning(
    row: Mapping[Hashable, Any], spent: pd.Series, retraining: Sequence[float], level: float
) -> dict[Hashable, Any]:
    """The columns ``TUNING`` of one row; none of a method that was not tuned."""
    if not len(spent):
        return {}
    tuning, seeds = _ratio(spent, pd.Series(retraining), level), len(spent)
    paid, one = seeds * tuning["estimate"], row["estimate"]
    total, free = paid + one, np.array([tuning["df"], row["df"]])
    # standard errors of logarithms times the values are those of the values
    errors = np.array([paid * tuning["standard_error"], one * row["standard_error"]])
    half = _half_width(errors, free, level)
    paid_limits = seeds * tuning["low"], seeds * tuning["high"]
    # a request may cost less than a retraining, though it is estimated to cost more
    earned = (np.inf, paid / (1 - row["low"]) if row["low"] < 1 else np.inf, np.inf)
    if one < 1:
        number = paid / (1 - one)
        factor = np.exp(_half_width(errors / [paid, 1 - one], free, level))
        earned = (number, number / factor, np.inf if row["high"] >= 1 else number * factor)
    values = (paid, *paid_limits, total, total - half, total + half, *earned)
    return dict(zip(TUNING, values, strict=True))


def _half_width(errors: NDArray[np.float64], df: NDArray[np.float64], level: float) -> float:
    """Half the t interval of a sum of independent parts (Welch-Satterthwaite)."""
    variance = float((errors**2).sum())
    free = variance**2 / float((errors**4 / df).sum())
    return float(stats.t.ppf((1 + level) / 2, free) * np.sqrt(variance))


def _ratio(seconds: pd.Series, unit: pd.Series, level: float) -> dict[str, float]:
    """Ratio of geometric means with its interval (Welch's t on the log scale)."""
    logs, units = np.log(seconds), np.log(unit)
    low = high = df = error = np.nan
    if min(len(logs), len(units)) > 1:
        test = stats.ttest_ind(logs, units, equal_var=False)
        limits = test.confidence_interval(level)
        low, high, df = np.exp(limits.low), np.exp(limits.high), test.df
        error = float(np.sqrt(logs.var(ddof=1) / len(logs) + units.var(ddof=1) / len(units)))
    estimate = float(np.exp(logs.mean() - units.mean()))
    return {"estimate": estimate, "low": low, "high": high, "standard_error": error, "df": df}
