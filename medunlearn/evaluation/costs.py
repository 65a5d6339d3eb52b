"""What unlearning costs, as a ratio to one retraining on the same device."""

import pandas as pd

REGIONS = ("training", "preparation", "unlearning")
"""A method that needs originals of its own (SISA) pays for their training too."""

INDEX = ["device", "method", "forget_size", "repeat"]


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
