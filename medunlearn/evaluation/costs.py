"""What unlearning costs, as a ratio to one retraining on the same device."""

import numpy as np
import pandas as pd
from scipy import stats

REGIONS = ("training", "preparation", "unlearning")
"""A method that needs originals of its own (SISA) pays for their training too."""

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
    bills = exclusive.pivot_table(
        index=INDEX,
        columns="region",
        values="seconds",
        fill_value=0,
    ).reset_index()
    if bills.empty:
        return pd.DataFrame(columns=[*INDEX, *REGIONS, "seconds", "ratio"])
    for region in REGIONS:
        if region not in bills:
            bills[region] = 0.0
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
        unit = np.log(here.loc[here["method"] == "retrain", "seconds"])
        methods = here[here["method"] != "retrain"]
        for (method, size), repeats in methods.groupby(["method", "forget_size"], sort=False):
            logs = np.log(repeats["seconds"])
            names = {"device": device, "method": method, "forget_size": size}
            log_ratio, error = logs.mean() - unit.mean(), np.nan
            low = high = df = np.nan
            if min(len(logs), len(unit)) > 1:
                test = stats.ttest_ind(logs, unit, equal_var=False)
                limits = test.confidence_interval(level)
                low, high, df = np.exp(limits.low), np.exp(limits.high), test.df
                error = float(np.sqrt(logs.var(ddof=1) / len(logs) + unit.var(ddof=1) / len(unit)))
            estimate = {"estimate": np.exp(log_ratio), "low": low, "high": high}
            rows.append({**names, **estimate, "standard_error": error, "df": df})
    columns = ["device", "method", "forget_size", "estimate", "low", "high", "standard_error", "df"]
    return pd.DataFrame(rows, columns=columns)
