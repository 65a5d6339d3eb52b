"""What unlearning costs, as a ratio to one retraining on the same device."""

import pandas as pd

REGIONS = ("training", "preparation", "unlearning")
"""A method that needs originals of its own (SISA) pays for their training too."""


def cost_ratios(costs: pd.DataFrame) -> pd.DataFrame:
    """Seconds of the cost pass, summed over regions and divided by those of one retraining.

    Args:
        costs: As in ``tables/costs.parquet``; only rows with ``exclusive`` are read.

    Returns:
        One row for each ``method``, ``forget_size`` and ``repeat``: ``seconds`` (all regions),
        the seconds of each region, and ``ratio`` to the median retraining. Empty
        if the cost pass has not run.
    """
    exclusive = costs[costs["exclusive"]]
    bills = exclusive.pivot_table(
        index=["method", "forget_size", "repeat"], columns="region", values="seconds", fill_value=0
    ).reset_index()
    if bills.empty:
        return pd.DataFrame(columns=["method", "forget_size", "repeat", *REGIONS, "ratio"])
    for region in REGIONS:
        if region not in bills:
            bills[region] = 0.0
    bills["seconds"] = bills[list(REGIONS)].sum(axis=1)
    retraining = bills.loc[bills["method"] == "retrain", "seconds"].median()
    bills["ratio"] = bills["seconds"] / retraining
    return bills[bills["method"] != "retrain"].reset_index(drop=True)
